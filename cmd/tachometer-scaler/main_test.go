package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tachometer-metrics/tachometer/pkg/golden"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/command"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/controller"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/event"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/event/dedup"
	httpevent "github.com/tachometer-metrics/tachometer/pkg/scaler/event/http"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/event/kafka"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/notify"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/rollout"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/surge"
)

// runProgramWithArgs runs the program, and returns its output and exit code.
func runProgramWithArgs(args ...string) (out string, code int) {
	var b bytes.Buffer
	code = executeProgram(append([]string{}, args...), &b, &b) // for nil cobra takes the arguments of the test
	return b.String(), code
}

// TestVersion checks that --version prints the version alone, like the adapter's, and that no argument prints the help.
func TestVersion(t *testing.T) {
	t.Parallel()
	for _, flag := range []string{"--version", "-v"} {
		if out, code := runProgramWithArgs(flag); out != "dev\n" || code != 0 {
			t.Errorf("%s: exit code %d, %q", flag, code, out)
		}
	}
	if out, code := runProgramWithArgs(); code != 0 || !strings.Contains(out, "raises a workload before the load comes") {
		t.Errorf("without arguments: exit code %d, %q", code, out)
	}
}

// TestWrongUse checks exit code 2 and a message that names the fault.
func TestWrongUse(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "missing")
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"unknown command":     {[]string{"render"}, `unknown command "render"; see tachometer-scaler --help`},
		"misspelt command":    {[]string{"aprove", "deploy/a"}, `unknown command "aprove"; did you mean tachometer-scaler approve?`},
		"misspelt flag":       {[]string{"set", "deploy/a", "--replica", "1"}, "unknown flag: --replica; did you mean --replicas?"},
		"letters exchanged":   {[]string{"pause", "deploy/a", "--fro", "1h"}, "unknown flag: --fro; did you mean --for?"},
		"begun flag":          {[]string{"status", "--all"}, "unknown flag: --all; did you mean --all-namespaces?"},
		"global flag":         {[]string{"run", "--contxt", "x"}, "unknown flag: --contxt; did you mean --context?"},
		"unknown flag":        {[]string{"set", "deploy/a", "--colour"}, "unknown flag: --colour; see tachometer-scaler set --help"},
		"unknown letter":      {[]string{"status", "-j"}, "unknown shorthand flag: 'j' in -j; see tachometer-scaler status --help"},
		"number, exponent":    {[]string{"set", "deploy/a", "--replicas", "1e3"}, `--replicas must be a whole number such as 20, not "1e3"`},
		"no unit":             {[]string{"set", "deploy/a", "--replicas", "3", "--for", "90"}, `--for: "90" is not a duration such as 90s, 1h30m, 1d or 2w`},
		"duration, exponent":  {[]string{"pause", "deploy/a", "--for", "1e3s"}, `--for: "1e3s" is not a duration such as 90s, 1h30m, 1d or 2w`},
		"no mode of dry runs": {[]string{"set", "deploy/a", "--replicas", "3", "--dry-run=servre"}, "--dry-run: must be none, client or server"},
		"no day":              {[]string{"schedule", "preview", "--config", missing, "--from", "24.12.2026"}, `--from must be a day such as 2026-12-24 or a time such as 2026-12-24T08:00:00Z, not "24.12.2026"`},
		"no context":          {[]string{"status", "--context", "nowhere", "--kubeconfig", newKubeconfig(t, "a", "https://a.example", "shop")}, `context "nowhere" does not exist`},
		"unknown shell":       {[]string{"completion", "tcsh"}, `no completion for "tcsh"; shells: bash, fish, powershell, zsh`},
		"format of version":   {[]string{"version", "-o", "wide"}, `--output must be auto, text, json, yaml, not "wide"`},
		"no number":           {[]string{"set", "deploy/a", "--replicas", "50%"}, `--replicas must be a whole number such as 20, not "50%"`},
		"too large a number":  {[]string{"set", "deploy/a", "--replicas", "99999999999"}, `--replicas must be a number closer to 0, not "99999999999"`},
		"too small a number":  {[]string{"set", "deploy/a", "--replicas", "-99999999999"}, `--replicas must be a number closer to 0, not "-99999999999"`},
		"no share":            {[]string{"verify", "deploy/a", "--success", "99%"}, `--success must be a number such as 0.99, not "99%"`},
		"neither":             {[]string{"set", "deploy/a", "--wait=perhaps"}, `--wait must be true or false, not "perhaps"`},
		"no workload":         {[]string{"set", "--replicas", "1"}, "TYPE/NAME"},
		"no replicas":         {[]string{"set", "deploy/a"}, "replicas"},
		"no kubeconfig":       {[]string{"status", "--kubeconfig", missing}, "kubeconfig"},
		"no configuration":    {[]string{"run", "--config", missing}, missing},
		"no schedule command": {[]string{"schedule"}, "preview"},
		"preview, no file":    {[]string{"schedule", "preview"}, "config"},
		"preview, how long":   {[]string{"schedule", "preview", "--config", missing, "--next", "soon"}, "14d"},
		"check, no file":      {[]string{"check"}, "config"},
		"check, no format":    {[]string{"check", "--config", missing, "-o", "name"}, "--output"},
		"arguments of run":    {[]string{"run", "--config", missing, "now"}, "unexpected argument"},
	} {
		if out, code := runProgramWithArgs(c.args...); code != command.ExitUsage || !strings.Contains(out, c.want) {
			t.Errorf("%s: exit code %d, %s; want 2 and %q", name, code, out, c.want)
		}
	}
}

// TestPreview previews the shipped schedules as text and as JSON.
func TestPreview(t *testing.T) {
	t.Parallel()
	args := []string{"schedule", "preview", "--config", "../../manifests/scaler/config.yaml", "--next", "1d", "--from", "2026-11-23T00:00:00+01:00"}
	text, code := runProgramWithArgs(args...) // a table off a terminal too: no progress
	if code != command.ExitDone || !strings.Contains(text, "2026-11-23 08:00 +01:00") || !strings.Contains(text, "office-hours") {
		t.Errorf("exit code %d\n%s", code, text)
	}
	if lines, code := runProgramWithArgs(append(args, "-o", "json")...); code != command.ExitDone || strings.Count(lines, `"minReplicas":8`) != 1 {
		t.Errorf("exit code %d\n%s", code, lines)
	}
}

func TestCheckConfig(t *testing.T) {
	t.Parallel()
	if out, code := runProgramWithArgs("run", "--check-config", "--config", "../../manifests/scaler/config.yaml"); code != command.ExitDone || !strings.Contains(out, "no faults") {
		t.Errorf("exit code %d: %s", code, out)
	}
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte("kind: ScalerConfig\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, code := runProgramWithArgs("run", "--check-config", "--config", bad); code != command.ExitFailed || !strings.Contains(out, "apiVersion") {
		t.Errorf("faults in the file: exit code %d, want %d: %s", code, command.ExitFailed, out)
	}
	if out, code := runProgramWithArgs("run", "--check-config"); code != command.ExitUsage {
		t.Errorf("no file named: exit code %d, want %d: %s", code, command.ExitUsage, out)
	}
}

var describedMetric = regexp.MustCompile(`fqName: "(tachometer_[a-z_]+)", help: ("(?:[^"\\]|\\.)*"),.*variableLabels: \{(.*?)\}`)

// TestMetricsAreListed holds the list that docs/metrics.md links to what the controller registers.
func TestMetricsAreListed(t *testing.T) {
	t.Parallel()
	var list []string
	for d := range describeControllerMetrics() {
		m := describedMetric.FindStringSubmatch(d.String())
		if m == nil {
			continue // of the Go runtime
		}
		help, err := strconv.Unquote(m[2])
		if err != nil {
			t.Fatal(err)
		}
		labels := ""
		if m[3] != "" {
			labels = "{" + m[3] + "}"
		}
		list = append(list, fmt.Sprintf("%s%s\n    %s\n", m[1], labels, help))
	}
	slices.Sort(list)
	golden.Compare(t, "testdata/metrics.golden", strings.Join(list, ""))
}

// describeControllerMetrics registers all metrics of the controller, and sends their descriptions.
func describeControllerMetrics() <-chan *prometheus.Desc {
	reg := prometheus.NewRegistry()
	h := newHealthServer(newElection("a/b"))
	rollout.NewMetrics(reg)
	controller.NewMetrics(reg)
	surge.NewMetrics(reg)
	notify.NewMessageQueue(nil, notify.MessageQueueOptions{Registerer: reg})
	ids := dedup.New(nil, "ids", dedup.Options{Registerer: reg})
	event.NewHandler(nil, controller.New(controller.Options{}), ids, event.Options{Registerer: reg})
	kafka.New(event.KafkaConfig{}, nil, kafka.Options{Registerer: reg})
	httpevent.New(event.HTTPConfig{}, nil, httpevent.Options{Registerer: reg})
	descriptions := make(chan *prometheus.Desc)
	go func() {
		defer close(descriptions)
		reg.Describe(descriptions)
		h.registry.Describe(descriptions)
	}()
	return descriptions
}

// TestErrorsAreHarmlessText: an error repeats the rejected text, without the characters that move a cursor.
func TestErrorsAreHarmlessText(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	code := executeProgram([]string{"status", "--output", "a\x1b[2J\u009b\u202e"}, &out, &errs)
	if code != command.ExitUsage || !strings.Contains(errs.String(), "a") || strings.ContainsAny(errs.String(), "\x1b\u009b\u202e") {
		t.Errorf("exit %d: %q", code, errs.String())
	}
}
