package strict

import "testing"

// TestWholeNumbers: a whole number has digits alone. One that is written as a float comes with its digits in the fault.
func TestWholeNumbers(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"1000": "", "0": "", "010": "", "+5": "", "-3": "",
		"1e3": `must be a whole number, not "1e3"; write 1000`, "1E3": `must be a whole number, not "1E3"; write 1000`, "1e+06": `must be a whole number, not "1e+06"; write 1000000`,
		"10.0": `must be a whole number, not "10.0"; write 10`, "-0.0": `must be a whole number, not "-0.0"; write 0`,
		"5.5": `must be a whole number, not "5.5"`, "1e-3": `must be a whole number, not "1e-3"`, "1e30": `must be a whole number, not "1e30"`, ".inf": `must be a whole number, not ".inf"`,
		"'10'": `must be a whole number, not "10"; remove the quotes`, "'1e3'": `must be a whole number, not "1e3"`, "ten": `must be a whole number, not "ten"`,
		"2000000": "must be from -10 to 1000000, not 2000000",
	} {
		d, n := NewDecoder(), 0
		d.DecodeMapping("", d.ParseDocument([]byte("pods: "+text+"\n")), map[string]FieldDecoder{"pods": d.Integer(&n, -10, 1_000_000)})
		got := ""
		if len(d.Faults) > 0 {
			got = d.Faults[0].Message
		}
		if got != want || len(d.Faults) > 1 {
			t.Errorf("%s: %q; want %q", text, d.Faults, want)
		}
		if want != "" && n != 0 {
			t.Errorf("%s is read as %d", text, n)
		}
	}
}
