package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestVuln runs vuln.sh with a go command that ends as govulncheck does. Only a database out of reach is forgiven.
func TestVuln(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		script  string
		code    int
		skipped bool
	}{
		"nothing found":    {"echo 'No vulnerabilities found.'", 0, false},
		"vulnerable":       {"echo 'Vulnerability #1: GO-2026-0001'; exit 3", 3, false},
		"no database":      {"echo 'govulncheck: fetching vulnerabilities: no such host' >&2; exit 1", 0, true},
		"does not compile": {"echo 'govulncheck: loading packages: syntax error' >&2; exit 1", 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			if err := os.WriteFile(filepath.Join(folder, "go"), []byte("#!/bin/sh\n"+test.script+"\n"), 0o700); err != nil {
				t.Fatal(err)
			}
			check := exec.Command("../vuln.sh")
			check.Env = append(os.Environ(), "PATH="+folder+string(os.PathListSeparator)+os.Getenv("PATH"))
			out, err := check.CombinedOutput()
			var ended *exec.ExitError
			if err != nil && !errors.As(err, &ended) {
				t.Fatal(err)
			}
			if code := check.ProcessState.ExitCode(); code != test.code || strings.Contains(string(out), "SKIPPED") != test.skipped {
				t.Errorf("exit code %d, want %d; skipped is to be %v:\n%s", code, test.code, test.skipped, out)
			}
		})
	}
}
