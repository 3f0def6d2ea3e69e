package provider

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	k8slabels "k8s.io/apimachinery/pkg/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// TestBuiltinRulesFollowTheType: the page says what a family is. A name alone never makes a rate of a gauge, or a value of
// a counter.
func TestBuiltinRulesFollowTheType(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		metric string
		page   string   // of both pods: FAMILY TYPE VALUE, …
		want   []string // of the pods, of their Deployment
	}{
		"counter": {"jobs_per_second", "jobs_total counter 5", []string{"a=5 b=5", "10"}},
		"counter without _total": {
			"gateway_requests_per_second", "gateway_requests counter 5", []string{"a=5 b=5", "10"},
		},
		"counter by its own name": {
			"gateway_requests", "gateway_requests counter 5",
			[]string{"gateway_requests is a counter: ask for gateway_requests_per_second", "gateway_requests is a counter: ask for gateway_requests_per_second"},
		},
		"counter with _total by its own name": {
			"jobs_total", "jobs_total counter 5", []string{"jobs_total is a counter: ask for jobs_per_second", "jobs_total is a counter: ask for jobs_per_second"},
		},
		"rate of a gauge": {
			"connections_per_second", "connections_total gauge 5",
			[]string{"connections_total is a gauge: ask for connections_total", "connections_total is a gauge: ask for connections_total"},
		},
		"gauge named like a rate":        {"jobs_per_second", "jobs_per_second gauge 5", []string{"a=5 b=5", "10"}},
		"gauge named like a rate, twice": {"jobs_per_second", "jobs gauge 7,jobs_per_second gauge 5", []string{"a=5 b=5", "10"}},
		"gauge named like a quantile": {
			"request_latency_p99", "request_latency_p99 gauge 5",
			[]string{"a=5 b=5", "values of request_latency_p99 do not add up over pods: write a rule with aggregate: max or avg"},
		},
		"gauge named like a count": {"threadpool_timer_count", "threadpool_timer_count gauge 5", []string{"a=5 b=5", "10"}},
		"gauge that does not add up": {
			"worker_utilization_ratio", "worker_utilization_ratio gauge 0.5",
			[]string{"a=500m b=500m", "values of worker_utilization_ratio do not add up over pods: write a rule with aggregate: max or avg"},
		},
		"histogram by its own name": {
			"latency", "latency histogram 5", []string{"latency is a histogram: ask for latency_p95", "latency is a histogram: ask for latency_p95"},
		},
		"quantile of a gauge histogram": {
			"sizes_p95", "sizes gaugehistogram 5", []string{"sizes is a gauge histogram: write a rule for it", "sizes is a gauge histogram: write a rule for it"},
		},
		"rate of a histogram's count": {"latency_count_per_second", "latency histogram 5,latency_count histogram 5", []string{"a=5 b=5", "10"}},
		"count of a histogram by its own name": {
			"latency_count", "latency histogram 5,latency_count histogram 5",
			[]string{"latency_count is a counter: ask for latency_count_per_second", "latency_count is a counter: ask for latency_count_per_second"},
		},
		"rate of a histogram's buckets": {
			"latency_bucket_per_second", "latency histogram 5",
			[]string{"latency is a histogram: ask for latency_p95", "latency is a histogram: ask for latency_p95"},
		},
		"buckets of a gauge histogram": {
			"sizes_bucket", "sizes gaugehistogram 5", []string{"sizes is a gauge histogram: write a rule for it", "sizes is a gauge histogram: write a rule for it"},
		},
		"rate of a family without a type": {
			"things_per_second", "things unknown 5",
			[]string{"things has no type on its page, so it may be no counter: write a rule for it", "things has no type on its page, so it may be no counter: write a rule for it"},
		},
		"quantile of a gauge": {
			"level_p95", "level gauge 5", []string{"level is a gauge: ask for level", "level is a gauge: ask for level"},
		},
		"summary by its own name": {
			"rpc_duration", "rpc_duration summary 5", []string{"rpc_duration is a summary: write a rule for it", "rpc_duration is a summary: write a rule for it"},
		},
		"dotted name": {"http.server.active_requests", "http.server.active_requests gauge 5", []string{"a=5 b=5", "10"}},
		"no family": {
			"jobs_per_second", "", []string{"2 pods: 2 absent (no jobs_total on its page)", "2 pods: 2 absent (no jobs_total on its page)"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newBuiltinWorld(t, tc.page, tc.metric)
			got := make([]string, 2)
			list, err := w.listMetricsOfSelector(t.Context(), "shop", mustParse(t, "app=web"), pods(tc.metric), k8slabels.Everything())
			if err != nil {
				got[0] = err.Error()
			} else {
				got[0] = formatValueList(list)
			}
			object, err := w.getMetricOfNamedObject(t.Context(), newNamespacedName("shop", "web"), newResourceMetricInfo("deployments.apps", tc.metric), nil)
			if err != nil {
				got[1] = err.Error()
			} else {
				got[1] = object.Value.String()
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// newBuiltinWorld has two pods with the same page, under the built-in rules.
func newBuiltinWorld(t *testing.T, page, demanded string) *world {
	t.Helper()
	w := newWorld(t, livePod("a"), livePod("b"))
	w.demandEverything(demanded)
	cfg := config.Default()
	set, err := rule.Compile(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.Rules = func() Rules { return set }
	families := pageBackend{map[string]string{}, w.types}
	for entry := range strings.SplitSeq(page, ",") {
		if f := strings.Fields(entry); len(f) == 3 {
			families.numbers[f[0]] = f[2]
			w.types["a/"+f[0]], w.types["b/"+f[0]] = model.MetricType(f[1]), model.MetricType(f[1])
		}
	}
	w.Scrapes = pageOf{scrapeState{w.causes, w.types, nil}}
	w.backends["scrape"] = families
	return w
}

// TestStateOfAStateSet: a selector that chooses a state makes a state set a gauge of 0 or 1, which adds up. Without it the sum is always 1.
func TestStateOfAStateSet(t *testing.T) {
	t.Parallel()
	for selector, want := range map[string]string{
		"door=open": "a=1 b=1", "door in (open,ajar)": "a=1 b=1", "": "door is a stateset: write a rule for it", "door!=open": "door is a stateset: write a rule for it",
		"room=hall": "door is a stateset: write a rule for it",
	} {
		w := newBuiltinWorld(t, "door stateset 1", "door")
		if got := readSelected(t, w, "door", selector); got != want {
			t.Errorf("selector %q: %s, want %s", selector, got, want)
		}
	}
}

// readSelected returns the values of the series that a selector chooses, or the error.
func readSelected(t *testing.T, w *world, name, selector string) string {
	t.Helper()
	list, err := w.listMetricsOfSelector(t.Context(), "shop", mustParse(t, "app=web"), pods(name), mustParse(t, selector))
	if err != nil {
		return err.Error()
	}
	return formatValueList(list)
}

// TestChosenBucket: a selector that chooses buckets by their bounds makes them counters.
func TestChosenBucket(t *testing.T) {
	t.Parallel()
	for selector, want := range map[string]string{
		"le=0.5": "a=5 b=5", "": "latency is a histogram: ask for latency_p95", "route=slow": "latency is a histogram: ask for latency_p95",
	} {
		w := newBuiltinWorld(t, "latency histogram 5", "latency_bucket_per_second")
		if got := readSelected(t, w, "latency_bucket_per_second", selector); got != want {
			t.Errorf("selector %q: %s, want %s", selector, got, want)
		}
	}
}

// TestTypesOfSomePods: a family of an unfit type on one pod makes a sum of the others a wrong number.
func TestTypesOfSomePods(t *testing.T) {
	t.Parallel()
	w := newBuiltinWorld(t, "jobs_total counter 5", "jobs_per_second")
	w.types["b/jobs_total"] = model.MetricTypeGauge
	_, err := w.GetMetricByName(t.Context(), newNamespacedName("shop", "web"), newResourceMetricInfo("deployments.apps", "jobs_per_second"), nil)
	checkStatus(t, err, 400, "jobs_total is a gauge: ask for jobs_total")
}

// TestPodsByDifferentRules: each pod has its value by the first rule that reads its page.
func TestPodsByDifferentRules(t *testing.T) {
	t.Parallel()
	w := newBuiltinWorld(t, "jobs_total counter 5,jobs_per_second gauge 7", "jobs_per_second")
	delete(w.types, "a/jobs_total")
	delete(w.types, "b/jobs_per_second")
	list, err := w.GetMetricBySelector(t.Context(), "shop", mustParse(t, "app=web"), pods("jobs_per_second"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("a=7 b=5", formatValueList(list)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	w = newBuiltinWorld(t, "jobs_total counter 5,jobs_per_second gauge 7", "jobs_per_second")
	delete(w.types, "a/jobs_total")
	w.causes["a"] = metric.Omission{Reason: metric.ReasonScrapeFailed}
	list, err = w.GetMetricBySelector(t.Context(), "shop", mustParse(t, "app=web"), pods("jobs_per_second"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("b=5", formatValueList(list)); diff != "" {
		t.Errorf("a pod whose scrape fails (-want +got):\n%s", diff)
	}
}

// severalProcesses is a scraper that sees several processes behind the port of the pod b.
type severalProcesses struct{ Scrapes }

func (severalProcesses) Decreases(_, pod string, families []string) bool {
	return pod == "b" && slices.Contains(families, "jobs_total")
}

// TestSeveralProcessesHaveNoRate: the counters of several processes behind one port give no rate, neither of the pod nor of a sum.
func TestSeveralProcessesHaveNoRate(t *testing.T) {
	t.Parallel()
	w := newBuiltinWorld(t, "jobs_total counter 5", "jobs_per_second")
	w.Scrapes = severalProcesses{w.Scrapes}
	list, err := w.listMetricsOfSelector(t.Context(), "shop", mustParse(t, "app=web"), pods("jobs_per_second"), k8slabels.Everything())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("a=5", formatValueList(list)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	_, err = w.GetMetricByName(t.Context(), newNamespacedName("shop", "web"), newResourceMetricInfo("deployments.apps", "jobs_per_second"), nil)
	checkStatus(t, err, 503, "1 decreasing (a counter decreases again and again: several processes behind one port?)")
}
