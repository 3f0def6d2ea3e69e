// Lookup: explicit rules, patterns, the cache and the nearest metric.

package rule

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

const lookupRules = `
maxAge: 7s
rules:
- match: ^(.+)_per_second$
  query: sum by (namespace, pod) (rate(${1}_total[$window]))
- metric: request_per_second
  query: sum by (namespace, pod) (rate(http_requests_total[$window]))
- metric: request_per_second
  resource: services
  query: sum by (namespace, pod) (rate(service_requests_total[$window]))
  aggregate: avg
- match: ^(?P<name>.+)_rate$
  except: ^go_.*$
  resource: namespaces
  query: sum by (namespace) (rate({__name__="${name}_total"}[20s]))
- match: ^(request)_per_(second)$
  query: up{never="${1}", also="${2}"}
- metric: free_bytes
  resource: nodes
  query: sum by (node) (free_bytes)
- metric: orders_waiting
  external: true
  query: sum(orders_waiting)
  onMissing: {value: 3}
- match: ^queue_(.+)$
  external: true
  from: all
  query: sum(queue_length{queue="${1}"})
`

func TestLookup(t *testing.T) {
	t.Parallel()
	s := loadTestSet(t, lookupRules)
	for name, tc := range map[string]struct{ resource, metric, want string }{
		"explicit before an earlier pattern":     {"pods", "request_per_second", `pods: sum by (namespace, pod) (rate(http_requests_total[1s]))`},
		"the resource's own rule":                {"services", "request_per_second", `services: sum by (namespace, pod) (rate(service_requests_total[1s]))`},
		"else the rule for pods":                 {"deployments.apps", "request_per_second", `pods: sum by (namespace, pod) (rate(http_requests_total[1s]))`},
		"else the pattern for pods":              {"deployments.apps", "order_per_second", `pods: sum by (namespace, pod) (rate(order_total[1s]))`},
		"a pattern with a named group":           {"namespaces", "order_rate", `namespaces: sum by (namespace) (rate({__name__="order_total"}[20s]))`},
		"objects of the cluster":                 {"nodes", "free_bytes", `nodes: sum by (node) (free_bytes)`},
		"the first pattern that serves":          {"pods", "x_per_second", `pods: sum by (namespace, pod) (rate(x_total[1s]))`},
		"a rule for another resource does not":   {"pods", "free_bytes", `no rule for metric "free_bytes" on pods; there are rules for ^(.+)_per_second$, request_per_second, ^(request)_per_(second)$`},
		"excepted":                               {"namespaces", "go_gc_rate", `no rule for metric "go_gc_rate" on namespaces; excepted from ^(?P<name>.+)_rate$`},
		"mistyped":                               {"pods", "request_per_secnd", `no rule for metric "request_per_secnd" on pods; nearest: request_per_second`},
		"mistyped, on an object":                 {"services", "requestpersecond", `no rule for metric "requestpersecond" on services; nearest: request_per_second`},
		"mistyped, of a pattern":                 {"pods", "order_per_secnd", `no rule for metric "order_per_secnd" on pods; nearest: order_per_second`},
		"external, asked of pods":                {"pods", "orders_waiting", `no rule for metric "orders_waiting" on pods; it is an external metric`},
		"a name that is no metric's":             {"pods", "5_per_second", `rule "^(.+)_per_second$" does not serve metric "5_per_second": column 31: bad number or duration syntax: "5_"`},
		"a name that would end the expression":   {"pods", "a) or vector(1)#_per_second", `rule "^(.+)_per_second$" does not serve metric "a) or vector(1)#_per_second": ${1} is "a) or vector(1)#"; a rule takes letters, digits, _ : and . from a name`},
		"external":                               {"", "orders_waiting", `: sum(orders_waiting)`},
		"external pattern":                       {"", "queue_mail", `: sum(queue_length{queue="mail"})`},
		"external, mistyped":                     {"", "order_waiting", `no rule for external metric "order_waiting"; nearest: orders_waiting`},
		"external pattern, asked of pods":        {"pods", "queue_mail", `no rule for metric "queue_mail" on pods; there are rules for ^(.+)_per_second$, request_per_second, ^(request)_per_(second)$; an external metric needs the type External`},
		"external, of a pattern for pods":        {"", "order_per_second", `no rule for external metric "order_per_second"; there are rules for orders_waiting, ^queue_(.+)$; a metric of pods needs the type Pods`},
		"external, of a pattern for namespaces":  {"", "order_rate", `no rule for external metric "order_rate"; there are rules for orders_waiting, ^queue_(.+)$; a metric of namespaces needs the type Object`},
		"external, asked of what is one of pods": {"", "request_per_second", `no rule for external metric "request_per_second"; it is a metric of pods`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range 2 { // the second result comes from the cache
				lookup := func() (*Rule, error) { return s.Lookup(tc.resource, tc.metric) }
				if tc.resource == "" {
					lookup = func() (*Rule, error) { return s.External(tc.metric) }
				}
				r, err := lookup()
				got := ""
				if err != nil {
					got = err.Error()
					if metric.KindOf(err) != metric.KindNotFound {
						t.Errorf("kind %v, want KindNotFound", metric.KindOf(err))
					}
				} else {
					got = r.Resource + ": " + Query{Rule: r}.Expr(time.Second, nil)
					if r.Metric != tc.metric {
						t.Errorf("Metric %q, want %q", r.Metric, tc.metric)
					}
				}
				if got != tc.want {
					t.Errorf("got  %s\nwant %s", got, tc.want)
				}
			}
		})
	}
}

func TestLookupFields(t *testing.T) {
	t.Parallel()
	s := loadTestSet(t, lookupRules)
	three := 3.0
	auto := config.Window{Auto: true}
	for name, tc := range map[string]struct {
		lookup func() (*Rule, error)
		want   Rule
	}{
		"pods": {
			func() (*Rule, error) { return s.Lookup("pods", "a_per_second") },
			Rule{
				Metric: "a_per_second", Resource: "pods", Name: "^(.+)_per_second$", Namespaced: true, Backend: "scrape",
				Window: auto, Aggregate: config.AggregateSum, MaxAge: 7 * time.Second, NamespaceLabel: "namespace", ObjectLabel: "pod",
			},
		},
		"services": {
			func() (*Rule, error) { return s.Lookup("services", "request_per_second") },
			Rule{
				Metric: "request_per_second", Resource: "services", Name: "request_per_second", Namespaced: true, Backend: "scrape",
				Window: auto, Aggregate: config.AggregateAvg, MaxAge: 7 * time.Second, NamespaceLabel: "namespace", ObjectLabel: "pod",
			},
		},
		"namespaces": {
			func() (*Rule, error) { return s.Lookup("namespaces", "a_rate") },
			Rule{
				Metric: "a_rate", Resource: "namespaces", Name: "^(?P<name>.+)_rate$", Backend: "scrape",
				Window: auto, Aggregate: config.AggregateSum, MaxAge: 7 * time.Second, NamespaceLabel: "namespace", ObjectLabel: "namespace", namesObjects: true,
			},
		},
		"nodes": {
			func() (*Rule, error) { return s.Lookup("nodes", "free_bytes") },
			Rule{
				Metric: "free_bytes", Resource: "nodes", Name: "free_bytes", Backend: "scrape",
				Window: auto, Aggregate: config.AggregateSum, MaxAge: 7 * time.Second, NamespaceLabel: "namespace", ObjectLabel: "node", namesObjects: true,
			},
		},
		"external": {
			func() (*Rule, error) { return s.External("orders_waiting") },
			Rule{
				Metric: "orders_waiting", Name: "orders_waiting", External: true, Namespaced: true, Backend: "scrape",
				Window: auto, Aggregate: config.AggregateSum, OnMissing: &three, MaxAge: 7 * time.Second, NamespaceLabel: "namespace",
			},
		},
		"external, not namespaced": {
			func() (*Rule, error) { return s.External("queue_a") },
			Rule{
				Metric: "queue_a", Name: "^queue_(.+)$", External: true, Backend: "scrape",
				Window: auto, Aggregate: config.AggregateSum, MaxAge: 7 * time.Second, NamespaceLabel: "namespace",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := tc.lookup()
			if err != nil {
				t.Fatal(err)
			}
			got := *r
			got.expr, got.timesExpr, got.shared = ruleExpression{}, ruleExpression{}, false // other tests cover these
			got.conserves, got.familyUses, got.families, got.presence = false, nil, nil, nil
			got.cost = EvaluationCost{}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(Rule{}, ruleExpression{}), cmpopts.EquateComparable(EvaluationCost{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	s := loadTestSet(t, lookupRules)
	want := []MetricInfo{
		{Metric: "request_per_second", Resource: "pods", Namespaced: true},
		{Metric: "request_per_second", Resource: "services", Namespaced: true},
		{Metric: "free_bytes", Resource: "nodes"},
		{Metric: "orders_waiting", External: true, Namespaced: true},
	}
	if diff := cmp.Diff(want, s.Metrics()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"scrape"}, s.Backends()); diff != "" {
		t.Errorf("Backends (-want +got):\n%s", diff)
	}
}

func TestCache(t *testing.T) {
	t.Parallel()
	s := builtinSet(t)
	first, err := s.Lookup("pods", "a_per_second")
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := s.Lookup("pods", "a_per_second"); again != first {
		t.Error("expanded twice")
	}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 500 {
				if _, err := s.Lookup("pods", fmt.Sprintf("m%d_%d", i%2, j)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for j := range 1000 {
		if _, err := s.Lookup("pods", fmt.Sprintf("n_%d", j)); err != nil {
			t.Error(err)
		}
	}
	if n, bytes := s.expanded.Usage(); bytes > maxCachedRuleBytes || n < 500 {
		t.Errorf("%d rules of %d bytes cached, want at least 500 and at most %d bytes", n, bytes, maxCachedRuleBytes)
	}
}

func TestBuiltinHints(t *testing.T) {
	t.Parallel()
	s := builtinSet(t)
	for name, want := range map[string]string{
		"": `no rule for metric "" on pods; there are rules for ` +
			`request_per_second, ^(.+)_per_second$, ^(?P<counter>.+)_per_second$, ^(.+)_p(50|90|95|99)$, ^(.+)$`,
	} {
		if _, err := s.Lookup("pods", name); err == nil || err.Error() != want {
			t.Errorf("error %v\nwant  %s", err, want)
		}
	}
	if _, err := s.External("a"); err == nil || err.Error() != `no rule for external metric "a"; there are no such rules; a metric of pods needs the type Pods` {
		t.Errorf("error %v", err)
	}
}

func TestNearestOfPattern(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ match, except, name, want string }{
		"an ending":             {`^(.+)_per_second$`, "", "a_per_seconds", "a_per_second"},
		"one of several":        {`^(.+)_p(50|90|95|99)$`, "", "latency_p91", "latency_p90"},
		"excepted":              {`^(.+)_p(50|90)$`, "^.*_p90$", "latency_p51", "latency_p50"},
		"no ending":             {`^queue_(.+)$`, "", "queu_mail", ""},
		"an ending and no more": {`^(a|b)(_x)?$`, "", "a_y", ""},
		"too many endings":      {`^.+[a-z]$`, "", "A", ""},
		"one of 16 twice":       {`^.+[a-p][a-p]$`, "", "A", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := namePattern{}
			var err error
			if p.match, err = compileNamePattern(tc.match); err != nil {
				t.Fatal(err)
			}
			if tc.except != "" {
				if p.except, err = compileNamePattern(tc.except); err != nil {
					t.Fatal(err)
				}
			}
			if got, _ := p.findNearestName(tc.match, tc.name); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestExample(t *testing.T) {
	t.Parallel()
	for expr, want := range map[string]string{
		`^(.+)_per_second$`:    "x_per_second",
		`(a|b)_p(50|90|95|99)`: "a_p50",
		`(?i)ABC`:              "ABC",
		`[0-9]+_x`:             "1_x",
		`[^a-zA-Z0-9_]`:        "\x00",
		`(.*)`:                 "x",
		`a{3,5}(b?)`:           "aaaaab",
		`\bx\b`:                "x",
		`a\bb`:                 "",
		`x*`:                   "x",
		`(?:)`:                 "",
	} {
		p := namePattern{}
		var err error
		if p.match, err = compileNamePattern(expr); err != nil {
			t.Fatal(err)
		}
		if got := p.makePatternMetricName(expr); got != want {
			t.Errorf("example of %s = %q, want %q", expr, got, want)
		}
	}
}

// FuzzLookup: whatever the name, Lookup returns a rule or an error fit for an API, and never an expression that reads
// other metrics than the pattern's.
func FuzzLookup(f *testing.F) {
	for _, name := range []string{"request_per_second", "a_per_second", "b_p99", "c", "d_total", `x"}) or vector(1) #_per_second`, "$window_p50"} {
		f.Add(name)
	}
	s := builtinSet(f)
	f.Fuzz(func(t *testing.T, name string) {
		r, err := s.Lookup("pods", name)
		if err != nil {
			if metric.KindOf(err) != metric.KindNotFound {
				t.Errorf("%q: %v", name, err)
			}
			return
		}
		if families := r.Families(); len(families) == 0 || len(families) > 3 {
			t.Errorf("%q reads %q", name, families)
		}
		if _, err := parseRuleExpr(Query{Rule: r}.Expr(time.Second, []string{"a", "b"})); err != nil {
			t.Errorf("%q: %v", name, err)
		}
		if r.Backend != config.ScrapeBackend || r.ObjectLabel != "pod" {
			t.Errorf("%q: %+v", name, r)
		}
	})
}
