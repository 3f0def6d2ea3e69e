package command

import (
	"bytes"
	"strings"
	"testing"
)

// TestEventsAreHarmlessText: what others wrote into a hold reaches no terminal as codes, and no reader as a line of its own.
func TestEventsAreHarmlessText(t *testing.T) {
	t.Parallel()
	hostile := "a hold by x\x1b[2J\x1b]0;title\x07\u202etxt.exe\u009b31m\r\n2026-01-01 00:00:00.000  released   everything\tis fine\xff"
	for name, p := range map[string]*outputPrinter{"text": {}, "terminal": {terminal: true}, "JSON": {json: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			p.out = &out
			p.printCommandEvent("replaced\x1b[2J", "id", hostile, nil)
			text := strings.TrimSuffix(out.String(), "\n")
			if strings.ContainsAny(text, "\x1b\x07\r\n\t") || strings.ContainsAny(text, "\u202e\u009b") || !strings.Contains(text, "a hold by x") {
				t.Errorf("printed %q", text)
			}
		})
	}
	var out bytes.Buffer
	p := &outputPrinter{out: &out, terminal: true}
	p.showProgressLine("pods: %s", hostile)
	if text := strings.TrimPrefix(out.String(), "\r\x1b[K"); strings.ContainsAny(text, "\x1b\r\n") || !strings.Contains(text, "pods: a hold by x") {
		t.Errorf("shown %q", text)
	}
}
