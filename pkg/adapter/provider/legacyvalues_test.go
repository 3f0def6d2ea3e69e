package provider

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/promadapter"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/remote"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/resourcemetrics"
)

// legacySamples are the samples of a server, one each 15 s for 1500 s. A counter 0+15x100 rises by 1 a second.
const legacySamples = `load 15s
  requests_total{namespace="shop",pod="web-1",service="web",path="/"} 0+10x100
  requests_total{namespace="shop",pod="web-1",service="web",path="/a"} 0+5x100
  requests_total{namespace="shop",pod="web-2",service="web",path="/"} 0+30x100
  requests_total{namespace="bank",pod="web-1",service="web",path="/"} 0+150x100
  errors_total{namespace="shop",pod="web-1",service="web"} 0+5x100
  errors_total{namespace="shop",pod="web-2",service="web"} 0+20x100
  latency_bucket{namespace="shop",pod="web-1",le="0.1"} 0+8x100
  latency_bucket{namespace="shop",pod="web-1",le="1"} 0+10x100
  latency_bucket{namespace="shop",pod="web-1",le="+Inf"} 0+10x100
  busy{namespace="shop",pod="web-1",node="n1"} 0+1x100
  busy{namespace="bank",pod="web-1",node="n1"} 7x100
  jobs{namespace="mq",queue="mail"} 7x100
  jobs{namespace="shop",queue="orders"} 9x100
  cpu_total{namespace="shop",pod="web-1",container="a",node="n1"} 0+3x100
  cpu_total{namespace="shop",pod="web-1",container="b",node="n1"} 0+6x100
  cpu_total{namespace="bank",pod="web-1",container="a",node="n1"} 0+15x100
  memory{namespace="shop",pod="web-1",container="a",node="n1"} 100x100
  memory{namespace="shop",pod="web-1",container="b",node="n1"} 300x100
`

var legacyNow = time.Unix(1500, 0)

// legacyRules have the shapes of queries that people write for prometheus-adapter.
const legacyRules = `
rules:
- seriesQuery: '{__name__=~"^(requests|errors)_total$",namespace!=""}'
  seriesFilters: [{isNot: ^err}]
  resources: {template: "<<.Resource>>"}
  name: {matches: ^(.+)_total$, as: "${1}_rate"}
  metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)
- seriesQuery: latency_bucket{namespace!="",pod!=""}
  resources: &pods {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {matches: _bucket$, as: latency_p90}
  metricsQuery: histogram_quantile(0.9, sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (le, <<.GroupBy>>))
- seriesQuery: busy{namespace!="",pod!=""}
  resources: *pods
  name: {as: busy_average}
  metricsQuery: avg_over_time(<<.Series>>{<<.LabelMatchers>>}[1m])
- seriesQuery: errors_total{namespace!="",pod!=""}
  resources: *pods
  name: {as: error_ratio}
  metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>) / sum(rate(requests_total{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)
- seriesQuery: requests_total{namespace!="",service!=""}
  resources: {overrides: {namespace: {resource: namespace}, service: {resource: service}}}
  name: {as: of_pod_names}
  metricsQuery: sum(label_replace(rate(<<.Series>>{namespace="<<index .LabelValuesByName "namespace">>"}[2m]), "service", "$1", "pod", "(.*)-.*")) by (<<.GroupBy>>)
- seriesQuery: requests_total{namespace!="",pod!=""}
  resources: *pods
  name: {as: busiest}
  metricsQuery: topk(1, sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>))
- seriesQuery: busy{node!=""}
  resources: {overrides: {node: {resource: node}}}
  name: {as: node_busy}
  metricsQuery: max(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
externalRules:
- seriesQuery: jobs{queue!=""}
  resources: {namespaced: false}
  name: {as: all_jobs}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (queue)
- seriesQuery: jobs{queue!=""}
  resources: {template: "<<.Resource>>"}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>})
resourceRules:
  cpu:
    containerQuery: sum(rate(cpu_total{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)
    nodeQuery: sum(rate(cpu_total{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)
    resources: &usage {overrides: {namespace: {resource: namespace}, pod: {resource: pod}, node: {resource: node}}}
    containerLabel: container
  memory:
    containerQuery: sum(memory{<<.LabelMatchers>>}) by (<<.GroupBy>>)
    nodeQuery: sum(memory{<<.LabelMatchers>>}) by (<<.GroupBy>>)
    resources: *usage
    containerLabel: container
  window: 2m
`

// TestLegacyValues reads rules of prometheus-adapter through catalog, provider and backend, from a server that evaluates PromQL. The
// values are worked out by hand.
func TestLegacyValues(t *testing.T) {
	t.Parallel()
	w, _ := newLegacyWorld(t)
	for path, want := range map[string]string{
		"pods/*/requests_rate":          "web-1=1@0s/120s web-2=2@0s/120s",
		"services/web/requests_rate":    "web=3@0s/120s",
		"namespaces/bank/requests_rate": "bank=10@0s/120s",
		"pods/*/errors_rate":            `404 no rule has a series for metric "errors_rate" on pods; nearest: error_ratio`,
		"pods/web-1/latency_p90":        "web-1=550m@0s/120s", // 0.1 + 0.9 × (9-8)/(10-8)
		"pods/*/latency_p90":            "web-1=550m@0s/120s",
		"pods/web-1/busy_average":       "web-1=98500m@0s/60s", // of 97, 98, 99, 100
		"pods/*/error_ratio":            "web-1=333m@0s/120s web-2=667m@0s/120s",
		"services/web/of_pod_names":     "web=3@0s/120s",
		"pods/*/busiest":                "web-2=2@0s/120s",
		"nodes/n1/node_busy":            "n1=100@0s",
		"external/all_jobs":             `{queue="mail"}=7@0s {queue="orders"}=9@0s`,
		"external/jobs":                 "{}=9@0s",
	} {
		if got := w.read(path, ""); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

// TestLegacyUsages reads resourceRules of prometheus-adapter for a pod and a node.
func TestLegacyUsages(t *testing.T) {
	t.Parallel()
	w, catalog := newLegacyWorld(t)
	synctest.Test(t, func(t *testing.T) { // Run resolves the labels of resourceRules
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() {
			if err := catalog.Run(ctx); err != nil {
				t.Errorf("Run: %v", err)
			}
		})
		synctest.Wait()
		stop()
		running.Wait()
	})
	source := resourcemetrics.NewRuleSource(catalog.UsageRules, w.servers["prometheus"])
	pods, _, err := source.GetPodUsages(t.Context(), []resourcemetrics.Pod{{Object: metric.Object{Namespace: "shop", Name: "web-1"}}}, legacyNow)
	if err != nil {
		t.Fatal(err)
	}
	nodes, _, err := source.GetNodeUsages(t.Context(), []string{"n1"}, legacyNow)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range pods {
		for _, c := range p.Containers {
			got = append(got, fmt.Sprintf("%s/%s cpu=%.3f memory=%v @%v/%v", p.Object, c.Name, c.CPU, c.Memory, legacyNow.Sub(p.Time), p.Window))
		}
	}
	for _, n := range nodes {
		got = append(got, fmt.Sprintf("%s cpu=%.3f memory=%v @%v/%v", n.Name, n.CPU, n.Memory, legacyNow.Sub(n.Time), n.Window))
	}
	want := []string{"shop/web-1/a cpu=0.200 memory=100 @0s/2m0s", "shop/web-1/b cpu=0.400 memory=300 @0s/2m0s", "n1 cpu=1.600 memory=400 @0s/2m0s"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// newLegacyWorld returns a world with legacyRules on a server with legacySamples, at legacyNow.
func newLegacyWorld(t *testing.T) (*remoteWorld, *promadapter.Catalog) {
	t.Helper()
	s := newPromQLServer(t, legacySamples)
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	backend, err := remote.New(config.Backend{Name: "prometheus", URL: server.URL}, remote.Options{})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := promadapter.Load([]byte(legacyRules))
	if err != nil {
		t.Fatal(err)
	}
	catalog := promadapter.NewCatalog(cfg, s, legacyResources{}, promadapter.Options{MaxAge: time.Minute, Seed: 1})
	catalog.Relist(t.Context(), legacyNow)
	w := &remoteWorld{
		t: t, servers: map[string]*remote.Backend{"prometheus": backend},
		world: &world{backends: map[string]Backend{"prometheus": backend}, demands: &demandLog{}, registry: prometheus.NewRegistry()},
	}
	w.Provider = New(Deps{
		Rules: func() Rules { return catalog.Rules() }, Backend: byName(w.backends), Pods: podList{livePod("web-1"), livePod("web-2")},
		Targets: causeOf{}, Demands: w.demands, Scrapes: scrapeState{}, Mapper: newMapper(), Now: func() time.Time { return legacyNow },
	}, Options{Registerer: w.registry})
	return w, catalog
}

// legacyResources are the resources of a small cluster.
type legacyResources struct{}

func (legacyResources) LookupResource(name string) (promadapter.Resource, error) {
	singular := strings.TrimSuffix(name, "s")
	if !slices.Contains([]string{"namespace", "node", "pod", "service"}, singular) {
		return promadapter.Resource{}, metric.Errorf(metric.KindNotFound, "the cluster has no resource %q", name)
	}
	return promadapter.Resource{Name: singular + "s", Singular: singular, Namespaced: singular == "pod" || singular == "service"}, nil
}

// promQLServer answers queries at legacyNow with Prometheus's own engine, and lists the labels of its series.
type promQLServer struct {
	engine  *promql.Engine
	storage storage.Queryable
}

func newPromQLServer(t *testing.T, samples string) *promQLServer {
	t.Helper()
	return &promQLServer{
		engine:  promqltest.NewTestEngineWithOpts(t, promql.EngineOpts{MaxSamples: 1e6, Timeout: time.Minute, Parser: parser.NewParser(parser.Options{})}),
		storage: promqltest.LoadedStorage(t, samples),
	}
}

func (s *promQLServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query, err := s.engine.NewInstantQuery(r.Context(), s.storage, nil, r.FormValue("query"), legacyNow)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	defer query.Close()
	vector, err := query.Exec(r.Context()).Vector()
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	results := []any{}
	for _, sample := range vector {
		results = append(results, map[string]any{"metric": sample.Metric, "value": []any{legacyNow.Unix(), strconv.FormatFloat(sample.F, 'g', -1, 64)}})
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": map[string]any{"resultType": "vector", "result": results}})
}

// LabelValues lists the values of a label.
func (s *promQLServer) LabelValues(ctx context.Context, label string, selection promadapter.SeriesSelection, each func(string) error) error {
	return s.listLabels(ctx, selection, each, func(q storage.LabelQuerier, m ...*labels.Matcher) ([]string, error) {
		values, _, err := q.LabelValues(ctx, label, nil, m...)
		return values, err
	})
}

// LabelNames lists the names of labels.
func (s *promQLServer) LabelNames(ctx context.Context, selection promadapter.SeriesSelection, each func(string) error) error {
	return s.listLabels(ctx, selection, each, func(q storage.LabelQuerier, m ...*labels.Matcher) ([]string, error) {
		names, _, err := q.LabelNames(ctx, nil, m...)
		return names, err
	})
}

func (s *promQLServer) listLabels(_ context.Context, selection promadapter.SeriesSelection, each func(string) error,
	list func(storage.LabelQuerier, ...*labels.Matcher) ([]string, error),
) error {
	q, err := s.storage.Querier(0, legacyNow.UnixMilli())
	if err != nil {
		return err
	}
	defer q.Close()
	for _, text := range selection.Match {
		matchers, err := parser.NewParser(parser.Options{}).ParseMetricSelector(text)
		if err != nil {
			return err
		}
		found, err := list(q, matchers...)
		if err != nil {
			return err
		}
		for _, v := range found {
			if err := each(v); err != nil {
				return err
			}
		}
	}
	return nil
}
