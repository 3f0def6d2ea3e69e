// Package listing tests that a suite lists its tests without its set-up.
package listing

import (
	"bytes"
	"os"
	"os/exec"
	"testing"
)

// ExpectNoSetUp lists the test t of its own program without programs to run and without a writable folder: a list starts no cluster, builds nothing
// and makes no folder.
func ExpectNoSetUp(t *testing.T) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	list := exec.CommandContext(t.Context(), program, "-test.list", "^"+t.Name()+"$")
	list.Env = []string{"PATH=", "HOME=/dev/null", "XDG_CACHE_HOME=/dev/null", "TMPDIR=/dev/null"}
	out, err := list.CombinedOutput()
	if want := []byte(t.Name() + "\n"); err != nil || !bytes.Equal(out, want) {
		t.Errorf("%v\n%s", err, out)
	}
}
