package strict_test

import (
	"testing"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// TestFaultIsHarmlessText: a key of the file reaches a terminal as text of one line.
func TestFaultIsHarmlessText(t *testing.T) {
	t.Parallel()
	fault := strict.Fault{Path: "rules[0].a\x1b[2J\u202e\nline 9: b", Line: 3, Message: "unknown key\u009b"}
	if got, want := fault.String(), `line 3: rules[0].a\x1b[2J\u202e line 9: b: unknown key\u009b`; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
