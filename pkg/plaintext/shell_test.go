package plaintext

import "testing"

func TestIsShellWord(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]bool{
		"request_per_second": true, "deployment/web": true, "system:serviceaccount:a:b": true,
		"": false, "a b": false, "a;b": false, "$(a)": false, "a'b": false, "-rf": false, "a\n": false,
	} {
		if IsShellWord(in) != want {
			t.Errorf("IsShellWord(%q) = %v", in, !want)
		}
	}
}
