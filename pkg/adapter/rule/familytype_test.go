package rule

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
)

// TestNextRules: the built-in patterns that serve a name, in their order, and the families that they need.
func TestNextRules(t *testing.T) {
	t.Parallel()
	s := builtinSet(t)
	for name, want := range map[string]struct {
		rules, families []string
	}{
		"jobs_per_second": {
			[]string{"^(.+)_per_second$", "^(?P<counter>.+)_per_second$", "^(.+)$"},
			[]string{"jobs", "jobs_per_second", "jobs_total"},
		},
		"request_latency_p99":         {[]string{"^(.+)_p(50|90|95|99)$", "^(.+)$"}, []string{"request_latency", "request_latency_p99"}},
		"threadpool_timer_count":      {[]string{"^(.+)$"}, []string{"threadpool_timer", "threadpool_timer_count"}},
		"http.server.active_requests": {[]string{"^(.+)$"}, []string{"http.server.active_requests"}},
		"request_per_second":          {[]string{"request_per_second"}, []string{"http_requests_total"}},
	} {
		for range 2 { // the second result comes from the cache
			r, err := s.Lookup("pods", name)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want.families, r.Families()); diff != "" {
				t.Errorf("%s: families (-want +got):\n%s", name, diff)
			}
			var names []string
			for ; r != nil; r = r.Next() {
				names = append(names, r.Name)
			}
			if diff := cmp.Diff(want.rules, names); diff != "" {
				t.Errorf("%s: rules (-want +got):\n%s", name, diff)
			}
		}
	}
}

func TestNextRuleIsOnTheEmbeddedBackend(t *testing.T) {
	t.Parallel()
	s := loadTestSet(t, `
backends:
- {name: prometheus, url: 'http://prometheus'}
rules:
- {match: ^(.+)_a$, query: 'sum by (namespace, pod) ({__name__="${1}"})'}
- {match: ^(.+)$, backend: prometheus, query: 'sum by (namespace, pod) ({__name__="${1}"})'}
`)
	r, err := s.Lookup("pods", "x_a")
	if err != nil {
		t.Fatal(err)
	}
	if r.Next() != nil {
		t.Errorf("next is %q on backend %s", r.Next().Name, r.Next().Backend)
	}
}

func TestFindTypeConflict(t *testing.T) {
	t.Parallel()
	s := builtinSet(t)
	for name, tc := range map[string]struct {
		metric string
		page   string // FAMILY TYPE, …
		want   []string
	}{
		"rate of a counter":                      {"jobs_per_second", "jobs_total counter", []string{"", "", ""}},
		"rate of an untyped counter by its name": {"jobs_per_second", "jobs_total unknown", []string{"", "", ""}},
		"rate of a gauge":                        {"connections_per_second", "connections_total gauge", []string{"connections_total is a gauge", "", ""}},
		"rate of a gauge with a plain name":      {"jobs_per_second", "jobs gauge,jobs_per_second gauge", []string{"", "jobs is a gauge", ""}},
		"rate of a family without a type": {
			"jobs_per_second", "jobs unknown",
			[]string{"", "jobs has no type on its page, so it may be no counter", ""},
		},
		"rate of a counter with a plain name":    {"gateway_requests_per_second", "gateway_requests counter", []string{"", "", ""}},
		"plain counter":                          {"gateway_requests", "gateway_requests counter", []string{"gateway_requests is a counter"}},
		"plain counter by its name":              {"http_requests_total", "http_requests_total unknown", []string{"http_requests_total is a counter"}},
		"plain gauge named like a counter":       {"connections_total", "connections_total gauge", []string{""}},
		"plain gauge named like a count":         {"threadpool_timer_count", "threadpool_timer_count gauge", []string{""}},
		"count of a histogram":                   {"latency_count", "latency histogram", []string{"latency is a histogram"}},
		"count of a histogram, both demanded":    {"latency_count", "latency histogram,latency_count histogram", []string{"latency_count is a counter"}},
		"rate of a histogram's count":            {"latency_count_per_second", "latency histogram,latency_count histogram", []string{"", "", ""}},
		"rate of a histogram's sum":              {"latency_sum_per_second", "latency histogram,latency_sum histogram", []string{"", "", ""}},
		"rate of a summary's count":              {"latency_count_per_second", "latency summary,latency_count summary", []string{"", "", ""}},
		"rate of a gauge named like a count":     {"timer_count_per_second", "timer_count gauge", []string{"", "timer_count is a gauge", ""}},
		"rate of a gauge named like a bucket":    {"token_bucket_per_second", "token gauge", []string{"", "token is a gauge", ""}},
		"rate of a histogram's buckets":          {"latency_bucket_per_second", "latency histogram", []string{"", "latency is a histogram", ""}},
		"buckets of a gauge histogram":           {"sizes_bucket", "sizes gaugehistogram", []string{"sizes is a gauge histogram"}},
		"plain gauge named like a bucket":        {"token_bucket", "token gauge", []string{""}},
		"plain histogram":                        {"latency", "latency histogram", []string{"latency is a histogram"}},
		"plain summary":                          {"rpc_duration_seconds", "rpc_duration_seconds summary", []string{"rpc_duration_seconds is a summary"}},
		"plain gauge histogram":                  {"sizes", "sizes gaugehistogram", []string{"sizes is a gauge histogram"}},
		"count of a gauge histogram":             {"sizes_gcount", "sizes_gcount unknown", []string{""}},
		"quantile of a histogram":                {"latency_p95", "latency histogram", []string{"", ""}},
		"quantile of a summary":                  {"latency_p95", "latency summary", []string{"latency is a summary", ""}},
		"gauge named like a quantile":            {"latency_p99", "latency_p99 gauge", []string{"", ""}},
		"quantile of what is no histogram":       {"latency_p95", "latency gauge", []string{"latency is a gauge", ""}},
		"the built-in rule's counter is a gauge": {"request_per_second", "http_requests_total gauge", []string{"http_requests_total is a gauge"}},
		"plain state set":                        {"door", "door stateset", []string{"door is a stateset"}},
		"no such family":                         {"jobs_per_second", "", []string{"", "", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			types := map[string]model.MetricType{}
			for entry := range strings.SplitSeq(tc.page, ",") {
				family, kind, _ := strings.Cut(entry, " ")
				types[family] = model.MetricType(kind)
			}
			r, err := s.Lookup("pods", tc.metric)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for ; r != nil; r = r.Next() {
				text := ""
				if c, ok := r.FindTypeConflict(func(f string) (model.MetricType, bool) { kind, ok := types[f]; return kind, ok }); ok {
					text = c.String()
				}
				got = append(got, text)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestSeriesThatDoNotAddUp: a pattern's sum of values that do not add up is left out, so that several series of a pod are an error.
func TestSeriesThatDoNotAddUp(t *testing.T) {
	t.Parallel()
	s := loadTestSet(t, `
rules:
- {match: ^(.+)_milli$, query: '1000 * (sum(avg_over_time({__name__="${1}"}[30s])) by (pod, namespace))'}
- {match: ^(.+)_worst$, query: 'sum by (namespace, pod) (sum by (namespace, pod) ({__name__="${1}"}))', aggregate: max}
- {match: ^(.+)$, query: 'sum by (namespace, pod) ({__name__="${1}"})'}
`)
	for name, want := range map[string]string{
		"queue_length": `sum by (namespace, pod) ({__name__="queue_length"})`,
		"cpu_ratio":    `{__name__="cpu_ratio"}`, "cpu_ratio_milli": `1000 * (avg_over_time({__name__="cpu_ratio"}[30s]))`,
		"cpu_ratio_worst": `sum by (namespace, pod) (sum by (namespace, pod) ({__name__="cpu_ratio"}))`,
	} {
		r, err := s.Lookup("pods", name)
		if err != nil {
			t.Fatal(err)
		}
		if got := (Query{Rule: r}).Expr(time.Minute, nil); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// TestAuthorsChooseFamilies: a rule that names its metric is not judged by types, and gauges of a pattern do not add up
// where their name says so.
func TestAuthorsChooseFamilies(t *testing.T) {
	t.Parallel()
	s := loadTestSet(t, `
rules:
- {metric: total, query: 'sum by (namespace, pod) (jobs_total)'}
- {match: ^mean_(.+)$, query: 'sum by (namespace, pod) ({__name__="${1}"})', aggregate: sum}
- {match: ^(.+)$, query: 'sum by (namespace, pod) ({__name__="${1}"})'}
`)
	for name, want := range map[string]string{
		"total": "", "mean_cpu_ratio": "", "queue_length": "", "jobs_attempt": "", "utils": "",
		"cpu_ratio": "cpu_ratio", "vllm:kv_cache_usage_perc": "vllm:kv_cache_usage_perc", "DCGM_FI_DEV_GPU_UTIL": "DCGM_FI_DEV_GPU_UTIL",
		"job:errors:ratio": "job:errors:ratio", "heap_used_pct": "heap_used_pct", "tokens_created": "tokens_created", "gpu_temp": "gpu_temp",
	} {
		r, err := s.Lookup("pods", name)
		if err != nil {
			t.Fatal(err)
		}
		if r.NonAdditive != want {
			t.Errorf("%s: NonAdditive = %q, want %q", name, r.NonAdditive, want)
		}
	}
	quantiles := loadTestSet(t, `
rules:
- {match: ^(.+)_p99$, aggregate: max, query: 'max by (namespace, pod) ({__name__="${1}",quantile="0.99"})'}
`)
	chosen, err := quantiles.Lookup("pods", "rpc_p99")
	if err != nil {
		t.Fatal(err)
	}
	if c, ok := chosen.FindTypeConflict(func(string) (model.MetricType, bool) { return model.MetricTypeSummary, true }); ok {
		t.Errorf("a chosen quantile: %s", c)
	}
	r, err := s.Lookup("pods", "total")
	if err != nil {
		t.Fatal(err)
	}
	if c, ok := r.FindTypeConflict(func(string) (model.MetricType, bool) { return model.MetricTypeCounter, true }); ok {
		t.Errorf("conflict: %v", c)
	}
}
