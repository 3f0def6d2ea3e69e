package attack

import (
	"bytes"
	"os"
	"os/exec"
	"testing"
)

// TestListBuildsNothing: a list of the tests neither builds the adapter nor makes a folder: it needs no program and no writable folder.
func TestListBuildsNothing(t *testing.T) {
	t.Parallel()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	list := exec.CommandContext(t.Context(), program, "-test.list", "^TestListBuildsNothing$")
	list.Env = []string{"PATH=", "HOME=/dev/null", "XDG_CACHE_HOME=/dev/null", "TMPDIR=/dev/null"}
	out, err := list.CombinedOutput()
	if want := []byte("TestListBuildsNothing\n"); err != nil || !bytes.Equal(out, want) {
		t.Errorf("%v\n%s", err, out)
	}
}
