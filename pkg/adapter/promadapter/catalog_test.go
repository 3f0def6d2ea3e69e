package promadapter

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

//go:embed testdata/sample.yaml
var sampleConfig string

//go:embed testdata/sample.series
var sampleSeriesText string

var sampleSeries = strings.Split(strings.TrimSuffix(sampleSeriesText, "\n"), "\n")

// startCatalog returns a catalog after its first listing. The cleanup of the test ends it.
func startCatalog(t *testing.T, cfg *Config, s SeriesLister, r ResourceLookup) *Catalog {
	t.Helper()
	c := NewCatalog(cfg, s, r, Options{MaxAge: time.Minute, Seed: 1})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
	return c
}

// servedMetrics returns the metrics as lines of text.
func servedMetrics(s *CatalogSnapshot) []string {
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

func TestDiscovery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		series := newSeriesList(t, sampleSeries...)
		c := startCatalog(t, loadConfig(t, sampleConfig), series, &fakeCluster{})
		want := []string{
			"external queue_depth",
			"jobs.batch http_requests",
			"namespaces cpu_usage (cluster)", "namespaces go_gc (cluster)", "namespaces http_requests (cluster)", "namespaces memory_bytes (cluster)",
			"pods cpu_usage", "pods go_gc", "pods http_requests", "pods memory_bytes",
			"services http_requests",
		}
		if diff := cmp.Diff(want, servedMetrics(c.Rules())); diff != "" {
			t.Errorf("served (-want +got):\n%s", diff)
		}
		// The catalog lists each label for objects once, for any number of rules, names and series.
		listed := []string{
			`names {namespace!="",__name__!~"^container_.*"}`,
			`values {__name__=~"^container_.*",container!="POD",namespace!="",pod!=""}`,
			`values {__name__=~"^queue_.*",name!=""}`,
			`values {namespace!="",__name__!~"^container_.*",job!=""}`,
			`values {namespace!="",__name__!~"^container_.*",pod!=""}`,
			`values {namespace!="",__name__!~"^container_.*",service!=""}`,
			`values {namespace!="",__name__!~"^container_.*"}`,
		}
		if diff := cmp.Diff(listed, series.takeListCalls()); diff != "" {
			t.Errorf("list calls (-want +got):\n%s", diff)
		}
		if notes := c.Rules().Notes(); len(notes) > 0 {
			t.Errorf("notes: %q", notes)
		}
	})
}

// TestNamedSeriesNeedNoListing: a rule with a single series name is served without a request to the server.
func TestNamedSeriesNeedNoListing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		series := newSeriesList(t)
		series.setListError("*", errors.New("down"))
		c := startCatalog(t, loadConfig(t, `
rules:
- seriesQuery: 'http_requests_total{namespace!="",pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {as: requests}
  metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>}[1m])) by (<<.GroupBy>>)
externalRules:
- seriesQuery: '{__name__=~"queue_depth"}'
  metricsQuery: sum(<<.Series>>)
`), series, &fakeCluster{})
		want := []string{"external queue_depth", "namespaces requests (cluster)", "pods requests"}
		if diff := cmp.Diff(want, servedMetrics(c.Rules())); diff != "" {
			t.Errorf("served (-want +got):\n%s", diff)
		}
		if calls := series.takeListCalls(); len(calls) > 0 {
			t.Errorf("list calls: %q", calls)
		}
	})
}

func TestBeforeTheFirstListing(t *testing.T) {
	t.Parallel()
	c := NewCatalog(loadConfig(t, sampleConfig), newSeriesList(t), &fakeCluster{}, Options{})
	_, err := c.Rules().Lookup("pods", "http_requests")
	if metric.KindOf(err) != metric.KindUnavailable || !strings.Contains(err.Error(), "not listed yet") {
		t.Errorf("Lookup: %v", err)
	}
	if _, err = c.Rules().External("queue_depth"); metric.KindOf(err) != metric.KindUnavailable {
		t.Errorf("External: %v", err)
	}
}

func TestNotFoundNamesTheNearest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := startCatalog(t, loadConfig(t, sampleConfig), newSeriesList(t, sampleSeries...), &fakeCluster{}).Rules()
		for _, tc := range []struct{ resource, name, want string }{
			{"pods", "http_request", `no rule has a series for metric "http_request" on pods; nearest: http_requests`},
			{"nodes", "http_requests", `no series of metric "http_requests" has a label for nodes; it is a metric of jobs.batch`},
			{"pods", "queue_depth", `no rule has a series for metric "queue_depth" on pods; it is an external metric`},
			{"", "queue_deep", `no rule has a series for external metric "queue_deep"; nearest: queue_depth`},
			{"", "zzz", `no rule has a series for external metric "zzz"`},
		} {
			_, err := s.External(tc.name)
			if tc.resource != "" {
				_, err = s.Lookup(tc.resource, tc.name)
			}
			if metric.KindOf(err) != metric.KindNotFound || err.Error() != tc.want {
				t.Errorf("%s %s: %v, want %s", tc.resource, tc.name, err, tc.want)
			}
		}
	})
}

// TestOneRuleFailsAlone: a failed listing of a rule leaves the others alone, has its reason, and is retried before the relist.
func TestOneRuleFailsAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		series := newSeriesList(t, sampleSeries...)
		series.setListError(`{namespace!="",__name__!~"^container_.*"}`, errors.New("query too heavy"))
		c := startCatalog(t, loadConfig(t, sampleConfig), series, &fakeCluster{})
		if _, err := c.Rules().Lookup("pods", "cpu_usage"); err != nil {
			t.Error(err)
		}
		_, err := c.Rules().Lookup("pods", "http_requests")
		if metric.KindOf(err) != metric.KindUnavailable || !strings.Contains(err.Error(), "query too heavy") {
			t.Errorf("Lookup: %v", err)
		}
		want := []string{`rules[2] ^(.*)_total$: list series {namespace!="",__name__!~"^container_.*"}: query too heavy`}
		if diff := cmp.Diff(want, c.Rules().Notes()); diff != "" {
			t.Errorf("notes (-want +got):\n%s", diff)
		}
		series.setListError("", nil)
		series.takeListCalls()
		<-time.After(listingBackoff.First)
		synctest.Wait()
		if _, err := c.Rules().Lookup("pods", "http_requests"); err != nil {
			t.Error(err)
		}
		if calls := series.takeListCalls(); len(calls) != 5 {
			t.Errorf("the retry lists more than the failed rule: %q", calls)
		}
	})
}

// panickingSeries panics over the series of a selector.
type panickingSeries struct{ *seriesList }

func (p panickingSeries) LabelValues(ctx context.Context, label string, sel SeriesSelection, each func(string) error) error {
	if strings.Contains(sel.Match[0], "__name__!~") {
		panic("text of a server")
	}
	return p.seriesList.LabelValues(ctx, label, sel, each)
}

// TestPanicFailsOneRule: a listing that panics fails its rule alone, and is counted; a panic in a goroutine of its own would end the program.
func TestPanicFailsOneRule(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := startCatalog(t, loadConfig(t, sampleConfig), panickingSeries{newSeriesList(t, sampleSeries...)}, &fakeCluster{})
		if _, err := c.Rules().Lookup("pods", "cpu_usage"); err != nil {
			t.Error(err)
		}
		_, err := c.Rules().Lookup("pods", "http_requests")
		if metric.KindOf(err) != metric.KindUnavailable || !strings.Contains(err.Error(), "ended in a panic") || strings.Contains(err.Error(), "text of a server") {
			t.Errorf("Lookup: %v", err)
		}
		if testutil.ToFloat64(c.opts.Metrics.panics.Counter()) == 0 {
			t.Error("no panic is counted")
		}
	})
}

func TestUnknownResourceFailsOneRule(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var kube fakeCluster
		c := startCatalog(t, loadConfig(t, `
rules:
- seriesQuery: 'cheddar{sharp="true",brand!=""}'
  resources: {overrides: {brand: {group: cheese.io, resource: brand}}}
  metricsQuery: 'count(cheddar{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
- seriesQuery: 'gouda{node!=""}'
  resources: {overrides: {node: {resource: node}}}
  metricsQuery: 'count(gouda{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
`), newSeriesList(t), &kube)
		want := []string{`rules[0] cheddar: look up the resource of label "brand": the cluster has no resource "brand.cheese.io"`}
		if diff := cmp.Diff(want, c.Rules().Notes()); diff != "" {
			t.Errorf("notes (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"nodes gouda (cluster)"}, servedMetrics(c.Rules())); diff != "" {
			t.Errorf("served (-want +got):\n%s", diff)
		}
		// Later, a cluster-scoped custom resource appears.
		kube.setResources(nil, Resource{"brands.cheese.io", "brand", "cheese.io", false})
		<-time.After(time.Minute)
		if diff := cmp.Diff([]string{"brands.cheese.io cheddar (cluster)", "nodes gouda (cluster)"}, servedMetrics(c.Rules())); diff != "" {
			t.Errorf("served later (-want +got):\n%s", diff)
		}
	})
}

func TestNamesOnceSeenStay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		series := newSeriesList(t, sampleSeries...)
		c := startCatalog(t, loadConfig(t, sampleConfig), series, &fakeCluster{})
		before := c.Rules()
		series.setSeries(t)
		<-time.After(time.Hour)
		if c.Rules() != before {
			t.Errorf("the rules changed: %q", servedMetrics(c.Rules()))
		}
		if len(series.takeListCalls()) == 0 {
			t.Error("no list call in an hour")
		}
	})
}

// TestTwoRulesForOneMetric: of the rules with series the last wins, and a note says so.
func TestTwoRulesForOneMetric(t *testing.T) {
	t.Parallel()
	cfg := `
externalRules:
- {seriesQuery: 'new_depth', name: {as: depth}, metricsQuery: 'sum(<<.Series>>)', resources: {namespaced: false}}
- {seriesQuery: 'old_depth', name: {as: depth}, metricsQuery: 'sum(<<.Series>>)', resources: {namespaced: false}}
`
	for name, tc := range map[string]struct {
		series []string
		want   string
		note   string
	}{
		"both":    {[]string{"new_depth{a=\"b\"}", "old_depth{a=\"b\"}"}, "sum(old_depth)", "the last rule wins"},
		"first":   {[]string{"new_depth{a=\"b\"}"}, "sum(new_depth)", "the other rule has no series now"},
		"last":    {[]string{"old_depth{a=\"b\"}"}, "sum(old_depth)", "the other rule has no series now"},
		"neither": {nil, "sum(old_depth)", "the last rule wins"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := startCatalog(t, loadConfig(t, cfg), newSeriesList(t, tc.series...), &fakeCluster{})
				r, err := c.Rules().External("depth")
				if err != nil {
					t.Fatal(err)
				}
				if got := ruleQueryText(t, r, "", nil, nil); got != tc.want {
					t.Errorf("query %s, want %s", got, tc.want)
				}
				if notes := c.Rules().Notes(); len(notes) != 1 || !strings.HasSuffix(notes[0], tc.note) {
					t.Errorf("notes %q, want %q", notes, tc.note)
				}
			})
		})
	}
}

// TestClusterDown: a failed lookup of a resource never means that the cluster lacks the resource.
func TestClusterDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var kube fakeCluster
		kube.setResources(errors.New("connection refused"))
		reg := prometheus.NewPedanticRegistry()
		cfg := loadConfig(t, sampleConfig)
		c := NewCatalog(cfg, newSeriesList(t, sampleSeries...), &kube, Options{Metrics: NewMetrics(reg)})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()
		synctest.Wait()
		_, err := c.Rules().Lookup("pods", "http_requests")
		if metric.KindOf(err) != metric.KindUnavailable || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("Lookup: %v", err)
		}
		if n := len(c.Rules().Notes()); n != 3 {
			t.Errorf("notes: %q", c.Rules().Notes())
		}
		want := `
# HELP tachometer_promadapter_known_metrics Metrics that prometheus-adapter's rules serve.
# TYPE tachometer_promadapter_known_metrics gauge
tachometer_promadapter_known_metrics 1
# HELP tachometer_promadapter_listings_total Listings of a rule's series (success or error).
# TYPE tachometer_promadapter_listings_total counter
tachometer_promadapter_listings_total{outcome="error"} 3
tachometer_promadapter_listings_total{outcome="success"} 1
# HELP tachometer_promadapter_panics_total Listings of a rule's series that panicked: each a bug in the adapter.
# TYPE tachometer_promadapter_panics_total counter
tachometer_promadapter_panics_total 0
# HELP tachometer_promadapter_rejected_names Series names left out because they are no metric names.
# TYPE tachometer_promadapter_rejected_names gauge
tachometer_promadapter_rejected_names 0
# HELP tachometer_promadapter_rule_failing Whether a rule of prometheus-adapter fails (1) or works (0).
# TYPE tachometer_promadapter_rule_failing gauge
tachometer_promadapter_rule_failing{rule="externalRules[0]"} 0
tachometer_promadapter_rule_failing{rule="rules[0]"} 1
tachometer_promadapter_rule_failing{rule="rules[1]"} 1
tachometer_promadapter_rule_failing{rule="rules[2]"} 1
`
		if err := testutil.GatherAndCompare(reg, strings.NewReader(want)); err != nil {
			t.Error(err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// nameCount is a server with this number of names, and a few labels for objects.
type nameCount int

func (n nameCount) LabelValues(_ context.Context, _ string, _ SeriesSelection, each func(string) error) error {
	for i := range int(n) {
		if err := each(fmt.Sprintf("app_metric_%d_total", i)); err != nil {
			return err
		}
	}
	return nil
}

func (nameCount) LabelNames(_ context.Context, _ SeriesSelection, each func(string) error) error {
	for _, l := range []string{"__name__", "namespace", "pod", "service", "node", "instance", "code", "le"} {
		if err := each(l); err != nil {
			return err
		}
	}
	return nil
}

// TestListingIsCheap: the cost of a listing grows with the names (2,000 for 200,000 series), not with the series.
func TestListingIsCheap(t *testing.T) {
	c := NewCatalog(loadConfig(t, sampleConfig), nameCount(2000), &fakeCluster{}, Options{})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	began := time.Now()
	c.relistSeriesRules(t.Context(), began, c.rules)
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	allocated := after.TotalAlloc - before.TotalAlloc // far less without the race detector
	runtime.GC()
	runtime.ReadMemStats(&after)
	kept := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	t.Logf("%d metrics: %v, %d KiB allocated, %d KiB kept", len(c.Rules().Metrics()), took, allocated>>10, kept>>10)
	if n := len(c.Rules().Metrics()); n != 8000 {
		t.Errorf("%d metrics, want 8000", n)
	}
	if kept > 30<<20 || allocated > 1<<30 {
		t.Errorf("%d bytes allocated, %d kept", allocated, kept)
	}
}
