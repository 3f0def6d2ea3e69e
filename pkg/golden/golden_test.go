package golden

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// recorded is a test that notes its failure and goes on.
type recorded struct {
	testing.TB
	failure string
}

func (r *recorded) Helper() {}

func (r *recorded) Errorf(format string, args ...any) { r.failure = fmt.Sprintf(format, args...) }

func (r *recorded) Fatalf(format string, args ...any) {
	r.failure = fmt.Sprintf(format, args...)
	panic(r)
}

// failureOf returns the failure of a comparison; empty if it passes.
func failureOf(t *testing.T, file, got string) string {
	t.Helper()
	r := &recorded{TB: t}
	func() {
		defer func() {
			if cause := recover(); cause != nil && cause != any(r) {
				panic(cause)
			}
		}()
		Compare(r, file, got)
	}()
	return r.failure
}

func TestCompare(t *testing.T) { // not parallel: it sets the flag
	file := filepath.Join(t.TempDir(), "new", "page.golden")
	if Updates() {
		t.Skip("SKIPPED: this run has -update")
	}
	if got := failureOf(t, file, "a\n"); !strings.Contains(got, "make update") {
		t.Errorf("without a file: %q", got)
	}
	*update = true
	got := failureOf(t, file, "a\n")
	*update = false
	if written, err := os.ReadFile(file); err != nil || string(written) != "a\n" || got != "" {
		t.Errorf("with -update: %q, %v, %q", written, err, got)
	}
	if got := failureOf(t, file, "a\n"); got != "" {
		t.Errorf("an equal file: %q", got)
	}
	if got := failureOf(t, file, "b\n"); !strings.Contains(got, file) || !strings.Contains(got, "b") {
		t.Errorf("another text: %q", got)
	}
}
