package stack

import (
	"os/exec"
	"testing"
)

// TestDescribeVersion: the images of demo and tests are stamped with the version of their commit.
func TestDescribeVersion(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	if got := describeVersion(t.Context(), folder); got != "dev" {
		t.Errorf("version %q outside of a repository, want dev", got)
	}
	for _, args := range [][]string{{"init", "-q"}, {"-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "one"}, {"tag", "v1.2.3"}} {
		if out, err := exec.CommandContext(t.Context(), "git", append([]string{"-C", folder}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	if got := describeVersion(t.Context(), folder); got != "v1.2.3" {
		t.Errorf("version %q, want v1.2.3", got)
	}
}
