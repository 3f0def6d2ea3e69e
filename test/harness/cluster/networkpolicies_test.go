//go:build unix

package cluster

import (
	"bytes"
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
			cmd := exec.CommandContext(t.Context(), "sh", "-c", `sh -c 'trap "$1" TERM; echo ready > ready; while :; do sleep 0.1; done' - "$1" & exec sleep 600`, "-", tc.onSignal)
			cmd.Dir = t.TempDir()
			var log bytes.Buffer
			if err := startPolicyEngine(cmd, &log); err != nil {
				t.Fatal(err)
			}
			isThere := func(file string) bool { _, err := os.Stat(filepath.Join(cmd.Dir, file)); return err == nil }
			for !isThere("ready") {
				time.Sleep(10 * time.Millisecond)
			}
			if err := stopPolicyEngine(cmd, tc.timeout); err != nil || isThere("ended") != tc.ended {
				t.Errorf("%v; ended by itself: %t, want %t\n%s", err, isThere("ended"), tc.ended, log.String())
			}
		})
	}
}
