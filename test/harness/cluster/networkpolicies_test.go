//go:build unix

package cluster

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestStopPolicyEngine: stop returns after the engine has ended, although the program that started it ends at once, and kills an engine that goes on.
func TestStopPolicyEngine(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		onSignal string
		timeout  time.Duration
		ended    bool // by itself
	}{
		"ends after a while": {"sleep 0.5; echo ended > ended; exit", time.Minute, true},
		"goes on":            {"", 500 * time.Millisecond, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), "sh", "-c", `sh -c 'trap "$1" TERM; echo ready; while :; do sleep 0.1; done' - "$1" & exec sleep 600`, "-", tc.onSignal)
			cmd.Dir = t.TempDir()
			logs, log := io.Pipe()
			if err := startPolicyEngine(cmd, log); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewReader(logs)
			if line, err := lines.ReadString('\n'); line != "ready\n" {
				t.Fatalf("the engine says %q: %v", line, err)
			}
			go func() { _, _ = io.Copy(io.Discard, lines) }()
			err := stopPolicyEngine(cmd, tc.timeout)
			_, missing := os.Stat(filepath.Join(cmd.Dir, "ended"))
			if ended := missing == nil; err != nil || ended != tc.ended {
				t.Errorf("%v; ended by itself: %t, want %t", err, ended, tc.ended)
			}
		})
	}
}
