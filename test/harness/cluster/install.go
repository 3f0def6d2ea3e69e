//go:build unix

// The Debian packages of missing system programs.

package cluster

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// installTools installs the Debian packages of missing tools if run as root on Debian. Otherwise it returns nil:
// the caller reports missing tools.
func installTools(ctx context.Context, log io.Writer, tools []nodeTool) error {
	_, missing := findNodeTools(tools)
	apt, err := exec.LookPath("apt-get")
	if len(missing) == 0 || err != nil || os.Geteuid() != 0 {
		return nil
	}
	fmt.Fprintf(log, "installing Debian packages: %s\n", strings.Join(missing, " "))
	for _, args := range [][]string{{"update"}, append([]string{"install", "-y", "--no-install-recommends"}, missing...)} {
		cmd := exec.CommandContext(ctx, apt, args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}

// installHint returns a one-line command that installs the missing packages.
func installHint(missing []string) string {
	return "as root: apt-get install " + strings.Join(missing, " ")
}
