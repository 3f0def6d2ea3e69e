// The origin of figures: the machine, its load, and the versions of the compared programs.

package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/tachometer-metrics/tachometer/test/harness/host"
)

// describeBenchMachine returns the origin of figures in one paragraph.
func describeBenchMachine(now time.Time, load float64, versions ...string) string {
	return host.Describe(now, load, versions...)
}

// benchPrometheusVersion returns the version that a program prints.
func benchPrometheusVersion(ctx context.Context, program string) (string, error) {
	out, err := exec.CommandContext(ctx, program, "--version").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("ask %s for its version: %w", program, err)
	}
	words := strings.Fields(string(bytes.TrimSpace(out))) // prometheus, version 2.42.0+ds (branch: …
	if len(words) < 3 {
		return "", fmt.Errorf("ask %s for its version: %q", program, out)
	}
	version := "Prometheus " + words[2]
	for line := range strings.Lines(string(out)) {
		if built, ok := strings.CutPrefix(strings.TrimSpace(line), "go version:"); ok {
			version += " (built with " + strings.TrimSpace(built) + ")"
		}
	}
	return version, nil
}
