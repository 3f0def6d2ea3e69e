package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tachometer-metrics/tachometer/pkg/golden"
)

// compareGolden compares got with the file at path, or rewrites the file.
func compareGolden(t *testing.T, path, got string) {
	t.Helper()
	golden.Compare(t, path, got)
}

// runCommandWithArgs runs the command line and returns its output.
func runCommandWithArgs(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd := newAdapterCommandLine(&out)
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func TestHelp(t *testing.T) {
	t.Parallel()
	help, err := runCommandWithArgs(t, "--help")
	if err != nil {
		t.Fatal(err)
	}
	compareGolden(t, "testdata/help.golden", help)
}

func TestVersion(t *testing.T) {
	t.Parallel()
	if out, err := runCommandWithArgs(t, "--version"); err != nil || out != "dev\n" {
		t.Errorf("--version = %q, %v", out, err)
	}
}

func TestCheckConfig(t *testing.T) {
	t.Parallel()
	write := func(text string) string {
		path := filepath.Join(t.TempDir(), "config.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const head = "apiVersion: config.tachometer.dev/v1alpha1\nkind: AdapterConfig\n"
	for name, tc := range map[string]struct {
		path string
		want []string // of the error; nil: no faults
	}{
		"good":         {write(head + "scrape: {interval: 5s}\n"), nil},
		"shipped":      {"../../manifests/adapter/config.yaml", nil},
		"a queue":      {"../../manifests/examples/external-config.yaml", nil},
		"a server":     {"../../manifests/examples/backend-config.yaml", nil},
		"drop-in":      {"../../manifests/examples/prometheus-adapter-config.yaml", nil},
		"all at once":  {write(head + "scrap: {}\nrules:\n- metric: a\n  query: sum(\n"), []string{"line 3: scrap", "rules[0].query"}},
		"no such file": {filepath.Join(t.TempDir(), "none.yaml"), []string{"none.yaml"}},
		"legacy":       {write(legacyRules), nil},
		"legacy that cannot work": {
			write(legacyRules + "externalRules:\n- seriesQuery: depth\n  metricsQuery: avg(depth)\n"),
			[]string{"config.yaml:\nline 13: externalRules[0].resources: no label names the namespace"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := runCommandWithArgs(t, "--check-config", "--config", tc.path)
			if tc.want == nil {
				if err != nil || !strings.Contains(out, "no faults") {
					t.Errorf("%q, %v", out, err)
				}
				return
			}
			for _, want := range tc.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v does not say %q", err, want)
				}
			}
		})
	}
}

func TestFlagFaults(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		args []string
		want []string
	}{
		"unknown":        {[]string{"--prometheus=http://x"}, []string{"prometheus"}},
		"argument":       {[]string{"serve"}, []string{"serve"}},
		"without a file": {[]string{"--prometheus-url=http://x"}, []string{"--prometheus-url without --config would have no effect"}},
		"of the server": {
			[]string{"--prometheus-url=x", "--prometheus-verb=PUT", "--prometheus-header=a", "--metrics-relist-interval=1m", "--metrics-max-age=1s"},
			[]string{"--prometheus-url must", `--prometheus-verb is "PUT"`, "is not NAME=VALUE", "shorter than --metrics-relist-interval"},
		},
		"a path of the API": {
			[]string{"--prometheus-url=http://x/select/0/prometheus/api/v1/query", "--config=x"},
			[]string{"--prometheus-url must be the base address; remove /api/v1/query, which each request adds"},
		},
		"check of nothing": {[]string{"--check-config"}, []string{"--check-config needs --config"}},
		"several at once": {
			[]string{"--discovery-interval=0s", "--namespace=A_b", "--request-timeout=-1s"},
			[]string{"--discovery-interval", `--namespace "A_b"`, "--request-timeout"},
		},
		"size of the record": {[]string{"--record-size=64"}, []string{"--record-size is not between 1Mi and 1Gi: 64"}},
		"half a pair":        {[]string{"--tls-cert-file=a"}, []string{"--tls-private-key-file"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := runCommandWithArgs(t, tc.args...)
			for _, want := range tc.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v does not say %q", err, want)
				}
			}
		})
	}
}

func TestNoCluster(t *testing.T) {
	t.Parallel()
	if _, err := loadClusterConfig("/none/such"); err == nil || !strings.Contains(err.Error(), "/none/such") {
		t.Errorf("error %v does not name the file", err)
	}
}

// TestCheckConfigWarns: a warning leaves the file without faults.
func TestCheckConfigWarns(t *testing.T) {
	t.Parallel()
	path := writeFile(t, strings.Replace(legacyRules, "(rate(<<.Series>>{<<.LabelMatchers>>}[2m]))", "(rate(<<.Series>>{<<.LabelMatchers>>}))", 1))
	out, err := runCommandWithArgs(t, "--check-config", "--config", path)
	for _, want := range []string{path + ": warning: line 11: rules[0].metricsQuery: is MetricsQL and not PromQL", path + ": no faults"} {
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("%q, %v; want %s", out, err, want)
		}
	}
}

// TestImport translates a configuration, and finds the translation without faults.
func TestImport(t *testing.T) {
	t.Parallel()
	out, err := runCommandWithArgs(t, "import", "--from=prometheus-adapter", "--url=http://prometheus:9090", writeFile(t, legacyRules))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"kind: AdapterConfig", "url: http://prometheus:9090", "metric: http_requests_per_second"} {
		if !strings.Contains(out, want) {
			t.Errorf("%s\nlacks %s", out, want)
		}
	}
	if out, err := runCommandWithArgs(t, "--check-config", "--config", writeFile(t, out)); err != nil {
		t.Errorf("%s: %v", out, err)
	}
	// Without any counterpart the reasons are printed all the same.
	out, err = runCommandWithArgs(t, "import", "--from=prometheus-adapter", writeFile(t, strings.ReplaceAll(legacyRules, "{<<.LabelMatchers>>}", "")))
	if err == nil || !strings.Contains(err.Error(), "no rule has a counterpart") || !strings.Contains(out, "# rules[0] for pods: metricsQuery: the native format adds matchers") {
		t.Errorf("import without a counterpart: %q, %v", out, err)
	}
	for name, args := range map[string][]string{
		"--from is":      {"import", writeFile(t, legacyRules)},
		"accepts 1 arg":  {"import", "--from=prometheus-adapter"},
		"must be a list": {"import", "--from=prometheus-adapter", writeFile(t, "rules: 1")},
		"none.yaml":      {"import", "--from=prometheus-adapter", "none.yaml"},
		"rules[0].serie": {"import", "--from=prometheus-adapter", writeFile(t, "rules: [{serieQuery: a}]")},
	} {
		if _, err := runCommandWithArgs(t, args...); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("import %q: %v", args[1:], err)
		}
	}
	if help, err := runCommandWithArgs(t, "import", "--help"); err != nil || !strings.Contains(help, "--url url") || strings.Contains(help, "secure-port") {
		t.Errorf("help: %s, %v", help, err)
	}
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	faulty := filepath.Join(t.TempDir(), "faulty.yaml")
	if err := os.WriteFile(faulty, []byte("rules: many\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		args []string
		want int
	}{
		"no faults":                {[]string{"--check-config", "--config", "../../manifests/adapter/config.yaml"}, 0},
		"faults in the file":       {[]string{"--check-config", "--config", faulty}, 1},
		"no such file":             {[]string{"--check-config", "--config", faulty + ".gone"}, 2},
		"no file named":            {[]string{"--check-config"}, 2},
		"unknown flag":             {[]string{"--check"}, 2},
		"unexpected argument":      {[]string{"check"}, 2},
		"flag out of its range":    {[]string{"--discovery-interval=0s"}, 2},
		"import of nothing":        {[]string{"import"}, 2},
		"import of another format": {[]string{"import", "--from", "keda", faulty}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := newAdapterCommandLine(io.Discard)
			cmd.SetArgs(tc.args)
			err := cmd.ExecuteContext(t.Context())
			got := 0
			if err != nil {
				got = getExitCodeOfError(err)
			}
			if got != tc.want {
				t.Errorf("exit code %d, want %d: %v", got, tc.want, err)
			}
		})
	}
}
