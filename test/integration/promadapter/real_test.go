// Package promadapter_test runs configurations of prometheus-adapter against real servers. It checks the discovered series, the
// values, and the cost of a listing.
package promadapter_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/promadapter"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/remote"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
	"github.com/tachometer-metrics/tachometer/test/harness/servers"
)

// backendSeries lists the series of a backend.
type backendSeries struct{ *remote.Backend }

func (s backendSeries) LabelValues(ctx context.Context, label string, sel promadapter.SeriesSelection, each func(string) error) error {
	return s.Backend.LabelValues(ctx, label, remote.SeriesSelection(sel), each)
}

func (s backendSeries) LabelNames(ctx context.Context, sel promadapter.SeriesSelection, each func(string) error) error {
	return s.Backend.LabelNames(ctx, remote.SeriesSelection(sel), each)
}

// resourceTable looks up resources in a list.
type resourceTable []promadapter.Resource

// usualResources are the resources of a usual cluster.
var usualResources = resourceTable{
	{Name: "pods", Singular: "pod", Namespaced: true}, {Name: "namespaces", Singular: "namespace"}, {Name: "nodes", Singular: "node"},
	{Name: "services", Singular: "service", Namespaced: true}, {Name: "jobs.batch", Singular: "job", Group: "batch", Namespaced: true},
}

func (r resourceTable) LookupResource(name string) (promadapter.Resource, error) {
	for _, res := range r {
		plural, _, _ := strings.Cut(res.Name, ".")
		if name == res.Name || name == plural || name == res.Singular {
			return res, nil
		}
	}
	return promadapter.Resource{}, metric.Errorf(metric.KindNotFound, "the cluster has no resource %q", name)
}

func loadConfig(t testing.TB, text string) *promadapter.Config {
	t.Helper()
	c, err := promadapter.Load([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// relistCatalog lists the series once, like the start of Run.
func relistCatalog(t testing.TB, c *promadapter.Catalog) {
	t.Helper()
	c.Relist(t.Context(), time.Now())
}

func newBackend(t testing.TB, url string) backendSeries {
	t.Helper()
	b := config.Backend{Name: "prometheus", URL: url}
	b.SetDefaults()
	p, err := remote.New(b, remote.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return backendSeries{p}
}

// TestRealServers discovers the series of real servers and evaluates a rule on them.
func TestRealServers(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(testing.TB, servers.Options) *servers.Server{
		"Prometheus": servers.Prometheus, "VictoriaMetrics": servers.VictoriaMetrics,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now := time.Now()
			b := newBackend(t, start(t, newCounterSeries(t, now, strings.Split(strings.TrimSpace(readSample(t, "sample.series")), "\n")...)).URL)
			c := promadapter.NewCatalog(loadConfig(t, readSample(t, "sample.yaml")), b, usualResources, promadapter.Options{MaxAge: time.Minute})
			relistCatalog(t, c)
			want := []string{
				"external queue_depth", "jobs.batch http_requests",
				"namespaces cpu_usage (cluster)", "namespaces go_gc (cluster)", "namespaces http_requests (cluster)", "namespaces memory_bytes (cluster)",
				"pods cpu_usage", "pods go_gc", "pods http_requests", "pods memory_bytes", "services http_requests",
			}
			if diff := cmp.Diff(want, servedMetrics(c.Rules())); diff != "" {
				t.Errorf("served (-want +got):\n%s", diff)
			}
			r, err := c.Rules().Lookup("pods", "cpu_usage")
			if err != nil {
				t.Fatal(err)
			}
			values, err := b.Evaluate(t.Context(), rule.Query{Rule: r, Namespace: "default", Objects: []string{"a", "b"}}, time.Now())
			if err != nil || len(values) != 1 || values[0].Object.Name != "a" || values[0].Value < 1 || values[0].Value > 3 {
				t.Errorf("Evaluate: %+v, %v", values, err)
			}
		})
	}
}

// newCounterSeries returns series for a real server. Each rises by 2 a second.
func newCounterSeries(t *testing.T, now time.Time, texts ...string) servers.Options {
	t.Helper()
	var o servers.Options
	for _, text := range texts {
		l, err := parser.NewParser(parser.Options{}).ParseMetric(text)
		if err != nil {
			t.Fatal(err)
		}
		s := servers.Series{Labels: l}
		for i := range 5 {
			at := now.Add(time.Duration(i-4) * 15 * time.Second)
			s.Samples = append(s.Samples, servers.Sample{T: at.UnixMilli(), V: float64(30 * i)})
		}
		o.Series = append(o.Series, s)
	}
	return o
}

// TestImportedRulesGiveTheSame: an imported configuration gives the values of the original.
func TestImportedRulesGiveTheSame(t *testing.T) {
	t.Parallel()
	now := time.Now()
	b := newBackend(t, servers.Prometheus(t, newCounterSeries(t, now,
		`http_requests_total{namespace="default",pod="a",code="200",service="web"}`,
		`http_requests_total{namespace="default",pod="a",code="500",service="web"}`,
		`http_requests_total{namespace="default",pod="b",code="200",service="web"}`,
		`http_requests_total{namespace="other",pod="a",code="200",service="web"}`,
		`app_bytes_total{namespace="default",pod="a"}`, `app_bytes_total{namespace="other",pod="a"}`,
		`app_debug_total{namespace="default",pod="a"}`,
		`queue_depth{namespace="default",topic="mail"}`, `queue_depth{namespace="other",topic="mail"}`,
	)).URL)
	cfg := loadConfig(t, `
rules:
- seriesQuery: 'http_requests_total{namespace!="",pod!="",service!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}, service: {resource: service}}}
  name: {matches: "^(.*)_total$", as: "${1}_per_second"}
  metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)'
- seriesQuery: 'http_requests_total{namespace!="",pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {as: errors_ratio}
  metricsQuery: >-
    sum by (<<.GroupBy>>) (rate(<<.Series>>{<<.LabelMatchers>>,code=~"5.."}[2m]))
    / on(<<.GroupBy>>) sum by (<<.GroupBy>>) (rate(<<.Series>>{<<.LabelMatchers>>}[2m]))
- seriesQuery: '{__name__=~"^app_.*_total$",namespace!="",pod!=""}'
  seriesFilters: [{isNot: "^app_debug_"}]
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {matches: "^app_(.*)_total$", as: "${1}_speed"}
  metricsQuery: 'rate(<<.Series>>{<<.LabelMatchers>>}[1m])'
externalRules:
- seriesQuery: 'queue_depth{topic!=""}'
  resources: {overrides: {namespace: {resource: namespace}}}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (topic)'
- seriesQuery: 'queue_depth{topic!=""}'
  name: {as: all_queues}
  resources: {namespaced: false}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>})'
`)
	c := promadapter.NewCatalog(cfg, b, usualResources, promadapter.Options{MaxAge: time.Minute})
	relistCatalog(t, c)
	native, notes, err := promadapter.Import(cfg, "")
	if err != nil {
		t.Fatal(err, notes)
	}
	_, imported, err := rule.Load(native)
	if err != nil {
		t.Fatal(err)
	}
	objects := map[string][]string{"pods": {"a", "b"}, "services": {"web"}, "namespaces": {"default"}}
	compared := 0
	for _, i := range c.Rules().Metrics() {
		theirs, err1 := lookupRule(c.Rules(), i)
		ours, err2 := lookupRule(imported, i)
		if err1 != nil || err2 != nil || theirs.Namespaced != ours.Namespaced || theirs.ObjectLabel != ours.ObjectLabel {
			t.Errorf("%+v: %v, %v: %+v and %+v", i, err1, err2, theirs, ours)
			continue
		}
		q := rule.Query{Objects: objects[i.Resource]}
		if theirs.Namespaced {
			q.Namespace = "default"
		}
		want, got := evaluateValues(t, b, q, theirs, now), evaluateValues(t, b, q, ours, now)
		if diff := cmp.Diff(want, got); diff != "" || len(want) == 0 {
			t.Errorf("%s %s (-prometheus-adapter +imported):\n%s", i.Resource, i.Metric, diff)
		}
		compared++
	}
	if compared != 9 {
		t.Errorf("%d metrics compared: %q", compared, servedMetrics(c.Rules()))
	}
}

func lookupRule(s interface {
	Lookup(resource, metric string) (*rule.Rule, error)
	External(metric string) (*rule.Rule, error)
}, i rule.MetricInfo,
) (*rule.Rule, error) {
	if i.External {
		return s.External(i.Metric)
	}
	return s.Lookup(i.Resource, i.Metric)
}

// evaluateValues returns the values of a rule by object, or by series if external.
func evaluateValues(t *testing.T, b backendSeries, q rule.Query, r *rule.Rule, now time.Time) map[string]float64 {
	t.Helper()
	q.Rule = r
	found, err := b.Evaluate(t.Context(), q, now)
	if err != nil {
		t.Errorf("%s: %v", r.Name, err)
	}
	out := map[string]float64{}
	for _, v := range found {
		name := v.Object.Name
		if r.External {
			name = fmt.Sprint(v.Labels)
		}
		out[name] = v.Value
	}
	return out
}

// TestRelistOverHTTP: a relist of a server with 200,000 series of 2,000 names stays far below 2 s of CPU and 100 MB, with HTTP.
func TestRelistOverHTTP(t *testing.T) {
	names := make([]string, 2000)
	for i := range names {
		names[i] = fmt.Sprintf("app_metric_%d_total", i)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data := []string{"__name__", "namespace", "pod", "service", "node", "instance", "code", "le"}
		if r.URL.Path != "/api/v1/labels" {
			data = names
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": data})
	}))
	defer server.Close()
	c := promadapter.NewCatalog(loadConfig(t, readSample(t, "sample.yaml")), newBackend(t, server.URL), usualResources, promadapter.Options{})
	relistCatalog(t, c) // excludes the memory that the catalog keeps

	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu := processCPUTime(t)
	relistCatalog(t, c)
	cpu = processCPUTime(t) - cpu
	runtime.ReadMemStats(&after)
	allocated := after.TotalAlloc - before.TotalAlloc
	t.Logf("%d metrics: %v of CPU with the server's, %d KiB allocated", len(c.Rules().Metrics()), cpu, allocated>>10)
	if n := len(c.Rules().Metrics()); n != 8000 {
		t.Errorf("%d metrics, want 8000: %q", n, c.Rules().Notes())
	}
	if cpu > 10*time.Second || allocated > 1<<30 { // ten times the limit, for the race detector
		t.Errorf("%v of CPU, %d bytes allocated", cpu, allocated)
	}
}

func processCPUTime(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkRelist lists 200,000 series of 2,000 names on a real Prometheus; cpu-ms is the CPU time of this process.
func BenchmarkRelist(b *testing.B) {
	now := time.Now()
	var o servers.Options
	for i := range 200_000 {
		o.Series = append(o.Series, servers.Series{
			Labels: labels.FromStrings("__name__", fmt.Sprintf("app_metric_%d_total", i%2000), "namespace", "default",
				"pod", fmt.Sprintf("pod-%d", i/2000), "service", "web", "code", "200"),
			Samples: []servers.Sample{{T: now.UnixMilli(), V: 1}},
		})
	}
	c := promadapter.NewCatalog(loadConfig(b, readSample(b, "sample.yaml")), newBackend(b, servers.Prometheus(b, o).URL), usualResources, promadapter.Options{})
	b.ReportAllocs()
	cpu := processCPUTime(b)
	for b.Loop() {
		relistCatalog(b, c)
	}
	b.ReportMetric(float64((processCPUTime(b)-cpu).Milliseconds())/float64(b.N), "cpu-ms/op")
	if n := len(c.Rules().Metrics()); n != 6000 {
		b.Errorf("%d metrics, want 6000: %q", n, c.Rules().Notes())
	}
}

// readSample returns a file of package promadapter's own sample.
func readSample(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../../../pkg/adapter/promadapter/testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// servedMetrics returns the metrics as lines of text.
func servedMetrics(s *promadapter.CatalogSnapshot) []string {
	var out []string
	for _, i := range s.Metrics() {
		text := i.Resource + " " + i.Metric
		if i.External {
			text = "external " + i.Metric
		}
		if !i.Namespaced {
			text += " (cluster)"
		}
		out = append(out, text)
	}
	return out
}
