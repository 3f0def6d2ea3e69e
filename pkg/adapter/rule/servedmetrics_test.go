package rule

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
)

// pageTypes are the types of the families on a page.
type pageTypes map[string]model.MetricType

func (p pageTypes) typeOf(family string) (model.MetricType, bool) {
	kind, ok := p[family]
	return kind, ok
}

// wholePage has a family of each type.
var wholePage = pageTypes{
	"http_requests_total": "counter", "orders_total": "counter", "orders": "counter", "errors": "counter", "in_flight": "gauge", "queue_length": "gauge",
	"latency_seconds": "histogram", "sizes": "summary", "state": "stateset", "widths": "gaugehistogram", "legacy": "unknown", "legacy_total": "unknown",
	"http.jobs_total": "counter", "build_info": "gauge", "a_count": "unknown",
}

func listServed(s *Set, page pageTypes) map[string][]string {
	served := map[string][]string{}
	for family := range page {
		for _, m := range s.MetricsOf("shop", family, page.typeOf) {
			text := m.Resource + "/" + m.Metric
			if m.External {
				text = "external " + m.Metric
			}
			if m.Pattern {
				text += " (pattern)"
			}
			served[family] = append(served[family], text)
		}
	}
	return served
}

func TestMetricsOfBuiltin(t *testing.T) {
	t.Parallel()
	want := map[string][]string{
		"http_requests_total": {"pods/request_per_second", "pods/http_requests_per_second"},
		"orders_total":        {"pods/orders_per_second"}, "errors": {"pods/errors_per_second"}, "in_flight": {"pods/in_flight"}, "queue_length": {"pods/queue_length"},
		"latency_seconds": {
			"pods/latency_seconds_sum_per_second", "pods/latency_seconds_count_per_second",
			"pods/latency_seconds_p50", "pods/latency_seconds_p90", "pods/latency_seconds_p95", "pods/latency_seconds_p99",
		},
		"sizes": {"pods/sizes_sum_per_second", "pods/sizes_count_per_second"}, "legacy": {"pods/legacy"}, "legacy_total": {"pods/legacy_per_second"},
		"http.jobs_total": {"pods/http.jobs_per_second"}, "build_info": {"pods/build_info"}, "a_count": {"pods/a_count_per_second"},
	}
	s := loadTestSet(t, "")
	got := listServed(s, wholePage)
	for _, list := range []map[string][]string{got, want} {
		for family := range list {
			slices.Sort(list[family])
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMetricsOfConfigured(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		rules string
		page  pageTypes
		want  map[string][]string
	}{
		"patterns, explicit and external rules": {
			lookupRules, pageTypes{"http_requests_total": "counter", "service_requests_total": "counter", "order_total": "counter", "go_gc_total": "counter", "orders_waiting": "gauge", "queue_length": "gauge", "up": "gauge"},
			map[string][]string{
				"http_requests_total":    {"pods/request_per_second", "pods/http_requests_per_second", "namespaces/http_requests_rate"},
				"service_requests_total": {"services/request_per_second", "pods/service_requests_per_second", "namespaces/service_requests_rate"},
				"order_total":            {"pods/order_per_second", "namespaces/order_rate"},
				"go_gc_total":            {"pods/go_gc_per_second"}, "orders_waiting": {"external orders_waiting"}, "queue_length": {"external ^queue_(.+)$ (pattern)"},
				"up": {"pods/^(request)_per_(second)$ (pattern)"},
			},
		},
		"groups in another order, and a finite choice": {
			"rules:\n- match: ^p(50|99)_of_([a-z]+)_in_(eu|us)$\n  query: histogram_quantile(${1} / 100, sum by (namespace, pod, le) (rate(${3}_${2}_bucket[$window])))\n  aggregate: max\n",
			pageTypes{"eu_latency": "histogram", "asia_latency": "histogram", "eu_depth": "gauge"},
			map[string][]string{"eu_latency": {"pods/p50_of_latency_in_eu", "pods/p99_of_latency_in_eu"}},
		},
		"a ratio of two families, of which one has another type": {
			"rules:\n- match: ^(.+)_share$\n  query: sum by (namespace, pod) (rate(${1}_bad_total[$window])) / sum by (namespace, pod) (rate(${1}_all_total[$window]))\n  aggregate: max\n",
			pageTypes{"web_bad_total": "counter", "web_all_total": "counter", "api_bad_total": "counter", "api_all_total": "gauge"},
			map[string][]string{"web_bad_total": {"pods/web_share"}, "web_all_total": {"pods/web_share"}},
		},
		"a name that decides a label": {
			"rules:\n- match: ^code_(.+)$\n  query: sum by (namespace, pod) (rate(requests{code=\"${1}\"}[$window]))\n", pageTypes{"requests": "gauge"}, map[string][]string{},
		},
		"a server's pattern first": {
			"backends:\n- {name: prom, url: 'http://prom:9090'}\nrules:\n- {match: ^web_(.+)$, backend: prom, query: 'sum by (namespace, pod) (x{a=\"${1}\"})'}\n- match: ^(.+)$\n  query: sum by (namespace, pod) (${1})\n",
			pageTypes{"web_depth": "gauge", "api_depth": "gauge"},
			map[string][]string{"api_depth": {"pods/api_depth"}},
		},
		"a pod's pages do not feed a source of another namespace": {
			"rules:\n- metric: depth\n  external: true\n  from: [queue]\n  query: sum(depth)\n", pageTypes{"depth": "gauge"}, map[string][]string{},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, listServed(loadTestSet(t, tc.rules), tc.page)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestServedMetricsAreServed: the rule that answers a request for a served metric reads the family.
func TestServedMetricsAreServed(t *testing.T) {
	t.Parallel()
	for _, rules := range []string{"", lookupRules} {
		s := loadTestSet(t, rules)
		asked, compared := []string{"request_per_second", "orders_p42", "never_seen"}, 0
		for family := range maps.Keys(wholePage) {
			asked = append(asked, family, family+"_per_second", family+"_p95", family+"_count", family+"_sum_per_second", family+"_bucket_per_second", family+"_rate")
		}
		for _, name := range asked {
			want := answeringFamilies(s, name, wholePage)
			var got []string
			for family := range wholePage {
				for _, m := range s.MetricsOf("shop", family, wholePage.typeOf) {
					if !m.External && !m.Pattern && m.Resource == "pods" && m.Metric == name {
						got = append(got, family)
					}
				}
			}
			if slices.ContainsFunc(got, func(family string) bool { return !slices.Contains(want, family) }) {
				t.Errorf("metric %s of pods: served from %v, and a request reads %v", name, got, want)
			}
			compared += len(got)
		}
		if compared < 3 {
			t.Errorf("%d metrics of %q were compared", compared, rules)
		}
	}
}

// answeringFamilies returns the families on the page from which a request for a metric of pods is answered: those of the first rule whose
// families are there with a type that fits.
func answeringFamilies(s *Set, name string, page pageTypes) []string {
	r, err := s.Lookup("pods", name)
	if err != nil {
		return nil
	}
	for ; r != nil; r = r.Next() {
		if _, conflicts := r.FindTypeConflict(page.typeOf); conflicts {
			continue
		}
		var found []string
		for _, use := range r.ReadFamilies() {
			if _, ok := page[use]; ok {
				found = append(found, use)
			}
		}
		if len(found) > 0 {
			return found
		}
	}
	return nil
}

// BenchmarkMetricsOf lists the metrics of a page of 2,000 families.
func BenchmarkMetricsOf(b *testing.B) {
	s := loadTestSet(b, "")
	page := pageTypes{}
	for i := range 2000 {
		page[fmt.Sprintf("app_component_%d_total", i)] = []model.MetricType{"counter", "gauge", "histogram", "summary"}[i%4]
	}
	b.ReportAllocs()
	for b.Loop() {
		listServed(s, page)
	}
}
