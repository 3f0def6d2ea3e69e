package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// asProgram is set for a process that is the program instead of its tests: logging is set up once in a process.
const asProgram = "TACHOMETER_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(executeAdapterCommandLine()) //nolint:forbidigo // here the process is the program
	}
	m.Run()
}

// TestLogLine starts the program without a cluster: its first line has the keys of all programs, and its exit code is 1.
func TestLogLine(t *testing.T) {
	t.Parallel()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "--kubeconfig="+filepath.Join(t.TempDir(), "none"))
	cmd.Env = append(os.Environ(), asProgram+"=1")
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Run(); cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("%v, want exit code 1", err)
	}
	first, _, _ := strings.Cut(log.String(), "\n")
	var line map[string]any
	if err := json.Unmarshal([]byte(first), &line); err != nil {
		t.Fatalf("%v: %s", err, &log)
	}
	if ts, _ := line["ts"].(string); !regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`).MatchString(ts) {
		t.Errorf("ts %q is not RFC 3339 in UTC with milliseconds", ts)
	}
	if line["level"] != "info" || line["service"] != "tachometer-adapter" || line["msg"] != "Adapter starts" {
		t.Errorf("line %v", line)
	}
}
