package monitoring

import (
	"errors"
	"flag"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

const (
	folder   = "../../manifests/monitoring"
	docs     = "../../docs"
	runbooks = "../../docs/runbooks"
)

var update = flag.Bool("update", false, "rewrite the dashboards")

// TestDashboards is not parallel: with -update it writes what TestChartFiles copies.
func TestDashboards(t *testing.T) {
	for name, b := range boards {
		got, err := buildDashboard(b)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(folder, "dashboards", name)
		if *update {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s (run `make update`; -file +now):\n%s", file, diff)
		}
	}
}

// TestDashboardSchema reads the shipped dashboards by Grafana's published schema, of which the library is generated: no field that Grafana does
// not know, no value that it rejects.
func TestDashboardSchema(t *testing.T) {
	t.Parallel()
	plugins.RegisterDefaultPlugins()
	for name := range boards {
		text, err := os.ReadFile(filepath.Join(folder, "dashboards", name))
		if err != nil {
			t.Fatal(err)
		}
		var read dashboard.Dashboard //nolint:staticcheck // the schema of Grafana before 12, as in panels.go
		var faults cog.BuildErrors   // the library returns a list of faults, also an empty one
		if err := read.UnmarshalJSONStrict(text); err != nil && !errors.As(err, &faults) || len(faults) > 0 {
			t.Errorf("%s: %v", name, err)
		}
		if err := read.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// expressions returns all PromQL of the dashboards and alerts, by its place.
func expressions(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for name, b := range boards {
		for _, r := range b.rows {
			for _, p := range r.panels {
				for _, q := range p.queries {
					all[name+": "+p.title+" "+q.legend] = q.expr
				}
			}
		}
	}
	for _, a := range readAlerts(t) {
		all["alert "+a.Alert] = a.Expr
	}
	return all
}

// TestExpressions parses every expression, and expects of each metric that the adapter, the scaler or kube-state-metrics has it.
func TestExpressions(t *testing.T) {
	t.Parallel()
	listed := readDocument(t, "../cmd/tachometer-adapter/testdata/metrics.golden") + readDocument(t, "../cmd/tachometer-scaler/testdata/metrics.golden")
	for place, text := range expressions(t) {
		expr, err := parser.NewParser(parser.Options{}).ParseExpr(chosenValues.Replace(text))
		if err != nil {
			t.Errorf("%s: %v", place, err)
			continue
		}
		parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
			if selector, ok := node.(*parser.VectorSelector); ok && !knownMetric(listed, selector.Name) {
				t.Errorf("%s: nobody has the metric %s", place, selector.Name)
			}
			return nil
		})
	}
}

func readDocument(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(docs, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// foreign are the metrics of others: Prometheus's Go client, and kube-state-metrics.
var foreign = regexp.MustCompile(`^(process_(cpu_seconds_total|resident_memory_bytes)|up|` +
	`kube_(deployment|statefulset)_status_replicas_ready|` +
	`kube_horizontalpodautoscaler_(info|status_(desired|current)_replicas|spec_(min|max)_replicas|(status|spec)_target_metric|status_condition))$`)

// knownMetric reports whether a program's list has a metric: a line NAME{LABELS} KIND; the scaler's has no kinds.
func knownMetric(listed, name string) bool {
	base := name
	for _, suffix := range []string{"_bucket", "_count", "_sum"} {
		base = strings.TrimSuffix(base, suffix)
	}
	line := regexp.MustCompile(`(?m)^(` + name + `(\{[a-z,]+\})?( counter| gauge)?|` + base + `(\{[a-z,]+\})? histogram)$`)
	return line.MatchString(listed) || foreign.MatchString(name)
}

type alert struct {
	Alert       string
	Expr        string
	For         string
	Labels      map[string]string
	Annotations map[string]string
}

// alertFiles are the files of alerts. The Helm charts ship one each, and testdata has its tests.
var alertFiles = []string{"alerts", "scaler-alerts"}

func readAlerts(t *testing.T) []alert {
	t.Helper()
	var alerts []alert
	for _, name := range alertFiles {
		text, err := os.ReadFile(filepath.Join(folder, name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		var file struct {
			Groups []struct {
				Name  string
				Rules []alert
			}
		}
		if err := yaml.Unmarshal(text, &file); err != nil {
			t.Fatal(err)
		}
		for _, group := range file.Groups {
			alerts = append(alerts, group.Rules...)
		}
	}
	return alerts
}

// TestAlerts holds the alerts to the conventions of monitoring mixins, and each to its runbook and its link in docs/operations.md.
func TestAlerts(t *testing.T) {
	t.Parallel()
	var want []string
	operations := readDocument(t, "operations.md")
	for _, a := range readAlerts(t) {
		if !strings.HasPrefix(a.Alert, "Tachometer") {
			t.Errorf("%s: the names of alerts begin with Tachometer", a.Alert)
		}
		if !slices.Contains([]string{"critical", "warning", "info"}, a.Labels["severity"]) {
			t.Errorf("%s: severity %q", a.Alert, a.Labels["severity"])
		}
		if s := a.Annotations["summary"]; !strings.HasSuffix(s, ".") || strings.Contains(s, "{{") {
			t.Errorf("%s: the summary is a constant sentence, not %q", a.Alert, s)
		}
		if a.Annotations["description"] == "" || !strings.HasSuffix(a.Annotations["runbook_url"], "/docs/runbooks/"+a.Alert+".md") {
			t.Errorf("%s: description %q, runbook_url %q", a.Alert, a.Annotations["description"], a.Annotations["runbook_url"])
		}
		page := filepath.Join("runbooks", a.Alert+".md")
		if row := "\n| " + a.Labels["severity"] + " | [" + a.Alert + "](" + page + ") | " + a.Annotations["summary"] + " |\n"; !strings.Contains(operations, row) {
			t.Errorf("%s: docs/operations.md has no row %q", a.Alert, row)
		}
		text := readDocument(t, page)
		if head := a.Annotations["summary"] + " Severity: " + a.Labels["severity"]; !strings.Contains(text, head) {
			t.Errorf("%s: the runbook does not say %q", a.Alert, head)
		}
		want = append(want, a.Alert+".md")
	}
	slices.Sort(want)
	files, err := filepath.Glob(filepath.Join(runbooks, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, file := range files {
		got[filepath.Base(file)] = true
	}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(got))); diff != "" {
		t.Errorf("runbooks (-alerts +files):\n%s", diff)
	}
}

// TestPromtool checks the alerts with Prometheus's own tool, and lets each fire and not fire.
func TestPromtool(t *testing.T) {
	t.Parallel()
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skipf("SKIPPED: %v: it comes with Debian's package prometheus", err)
	}
	var tested []byte
	for _, name := range alertFiles {
		tests := "testdata/" + name + "_test.yaml"
		for _, args := range [][]string{{"check", "rules", filepath.Join(folder, name+".yaml")}, {"test", "rules", tests}} {
			if out, err := exec.Command(promtool, args...).CombinedOutput(); err != nil {
				t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
			}
		}
		text, err := os.ReadFile(tests)
		if err != nil {
			t.Fatal(err)
		}
		tested = append(tested, text...)
	}
	for _, a := range readAlerts(t) {
		if strings.Count(string(tested), "ALERTS{alertname=\""+a.Alert+"\"") < 2 {
			t.Errorf("%s: testdata has no test that it fires, or none that it does not", a.Alert)
		}
	}
}

// TestChartFiles compares the copies in the Helm charts, which can read no file outside of themselves.
func TestChartFiles(t *testing.T) {
	t.Parallel()
	for source, target := range map[string]string{
		"alerts.yaml": "tachometer-adapter/files/alerts.yaml", "scaler-alerts.yaml": "tachometer-scaler/files/alerts.yaml",
		"dashboards/adapter.json": "tachometer-adapter/files/adapter.json", "dashboards/hpa.json": "tachometer-adapter/files/hpa.json",
		"../scaler/crd/crd.yaml": "tachometer-scaler/files/crd.yaml",
	} {
		want, err := os.ReadFile(filepath.Join(folder, source))
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("../../manifests/helm", target)
		if *update {
			if err := os.WriteFile(file, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != string(want) {
			t.Errorf("%s is not %s: run `make update` (%v)", file, source, err)
		}
	}
}
