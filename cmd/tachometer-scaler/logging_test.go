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
		runScalerProgram()
	}
	m.Run()
}

// TestLogLine starts the controller with an address that it cannot listen at: its first line has the keys of all programs.
func TestLogLine(t *testing.T) {
	t.Parallel()
	_, log := runWithoutCluster(t, "run", "--config=../../manifests/scaler/config.yaml", "--lease-namespace=default", "--health-address=127.0.0.1:-1")
	first, _, _ := strings.Cut(log, "\n")
	var line map[string]any
	if err := json.Unmarshal([]byte(first), &line); err != nil {
		t.Fatalf("%v: %s", err, log)
	}
	if ts, _ := line["ts"].(string); !regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`).MatchString(ts) {
		t.Errorf("ts %q is not RFC 3339 in UTC with milliseconds", ts)
	}
	if line["level"] != "info" || line["service"] != "tachometer-scaler" || line["msg"] != "Scaler started" {
		t.Errorf("line %v", line)
	}
}

// runWithoutCluster runs the program, which fails, with a cluster that does not answer.
func runWithoutCluster(t *testing.T, args ...string) (out, errs string) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	const unreachable = "{clusters: [{name: a, cluster: {server: 'https://127.0.0.1:1'}}], contexts: [{name: a, context: {cluster: a}}], current-context: a}"
	if err := os.WriteFile(kubeconfig, []byte(unreachable), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, append(args, "--kubeconfig="+kubeconfig)...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("%v, want exit code 1: %s", err, &stderr)
	}
	return stdout.String(), stderr.String()
}

// TestCheckWithoutCluster: the error of a cluster that does not answer is printed once, with the way out, and without a log line.
func TestCheckWithoutCluster(t *testing.T) {
	t.Parallel()
	out, errs := runWithoutCluster(t, "check", "--config=../../manifests/scaler/config.yaml")
	if strings.Count(out+errs, "connection refused") != 1 || !strings.Contains(out, "kubectl version") {
		t.Errorf("prints\n%s", out)
	}
	if !strings.HasPrefix(errs, "tachometer-scaler: ") || strings.Count(errs, "\n") != 1 {
		t.Errorf("errors\n%s", errs)
	}
	if _, errs = runWithoutCluster(t, "set", "rollout/web", "--replicas=3"); !strings.HasPrefix(errs, "tachometer-scaler: ") || strings.Count(errs, "\n") != 1 {
		t.Errorf("errors of set\n%s", errs)
	}
}
