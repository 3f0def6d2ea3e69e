package integration

import (
	"bytes"
	"os"
	"os/exec"
	"testing"
)

// TestListStartsNoCluster: a list of the tests neither starts a cluster nor looks for one: it needs no program and no writable folder.
func TestListStartsNoCluster(t *testing.T) {
	t.Parallel()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	list := exec.CommandContext(t.Context(), program, "-test.list", "^TestListStartsNoCluster$")
	list.Env = []string{"PATH=", "HOME=/dev/null", "XDG_CACHE_HOME=/dev/null"}
	out, err := list.CombinedOutput()
	if want := []byte("TestListStartsNoCluster\n"); err != nil || !bytes.Equal(out, want) {
		t.Errorf("%v\n%s", err, out)
	}
}
