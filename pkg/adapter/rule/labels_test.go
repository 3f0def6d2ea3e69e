// The labels of results, against the engine.

package rule

import (
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
)

// TestMayHave compares the static answer with the engine: no result has a label that is called impossible, and no
// expression with the label is rejected.
func TestMayHave(t *testing.T) {
	t.Parallel()
	data := promqltest.LoadedStorage(t, `
load 1s
  a{namespace="n", pod="p1", x="1"} 0+1x60
  a{namespace="n", pod="p2", x="2"} 0+2x60
  b{namespace="n", y="1"} 5x60
  c{pod="p1"} 5x60
  one{pod="p1"} 1x60
`)
	t.Cleanup(func() { _ = data.Close() })
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1e6, Timeout: time.Minute, Parser: parser.NewParser(parser.Options{})})
	t.Cleanup(func() { _ = engine.Close() })
	for _, query := range []string{
		`a`, `-a`, `(a)`, `a + 1`, `1 + a`, `rate(a[10s])`, `max_over_time(rate(a[10s])[20s:5s])`,
		`sum(a)`, `sum by (pod) (a)`, `sum by (namespace) (a)`, `sum without (pod) (a)`, `sum without (x) (a)`, `sum by (pod) (sum(a))`,
		`topk(1, a)`, `topk by (x) (1, a)`, `bottomk(1, sum(a))`, `quantile by (pod) (0.5, a)`, `count_values("pod", a)`,
		`count_values by (pod) ("v", a)`, `count_values without (pod) ("v", a)`, `count_values by (x) ("v", a)`,
		`a / on (namespace) group_left () b`, `b / on (namespace) group_right () a`, `sum by (namespace) (a) / on (namespace) b`,
		`sum by (namespace, pod) (a) / on (pod) c`, `sum by (pod) (a) / c`, `sum by (pod) (a) > c`, `sum by (pod) (a) > bool c`,
		`sum by (pod) (c) / ignoring (pod) sum(one)`, `one > ignoring (pod) sum(b) - 5`, `b * ignoring (y, pod) group_left (pod) c`,
		`b * on () group_left (pod) c`, `a * on (namespace) group_left (pod) b`, `c * on () group_right (pod) b`,
		`a or b`, `b or a`, `sum(a) or c`, `a and on (namespace) b`, `b and on (namespace) a`, `b unless a`, `a unless b`, `b and on () c`,
		`vector(1)`, `vector(scalar(c))`, `a * scalar(c)`, `scalar(c) * a`, `time() * b`, `hour()`, `hour(a)`, `pi() * c`,
		`label_replace(b, "pod", "$1", "y", "(.*)")`, `label_replace(a, "pod", "", "x", ".*")`, `label_replace(b, "z", "$1", "y", "(.*)")`,
		`label_join(b, "pod", "-", "y")`, `label_join(b, "z", "-", "y")`, `absent(d{pod="p"})`, `absent(d)`, `absent_over_time(d{pod="p"}[10s])`,
		`histogram_quantile(0.9, a)`, `clamp_max(a, 3)`, `round(sum(a))`, `sort(c)`, `timestamp(a)`, `predict_linear(a[20s], 10)`,
		`sum by (namespace, pod) (a) / ignoring (pod) group_left () sum by (namespace) (a)`,
		`sum by (namespace) (a) / ignoring (pod) sum by (namespace) (b)`,
	} {
		t.Run(query, func(t *testing.T) {
			t.Parallel()
			tr, err := parseRuleExpr(query)
			if err != nil {
				t.Fatal(err)
			}
			q, err := engine.NewInstantQuery(t.Context(), data, nil, query, time.Unix(60, 0))
			if err != nil {
				t.Fatal(err)
			}
			defer q.Close()
			result := q.Exec(t.Context())
			vector, err := result.Vector()
			if err != nil {
				t.Fatal(err)
			}
			for _, label := range []string{"namespace", "pod", "y", "none"} {
				may := tr.exprResultMayHaveLabel(label)
				for _, s := range vector {
					if s.Metric.Has(label) && !may {
						t.Errorf("the result %s has %s, which is said to be impossible", s.Metric, label)
					}
				}
			}
		})
	}
}

// TestMayHaveNot lists mistakes that Load must find.
func TestMayHaveNot(t *testing.T) {
	t.Parallel()
	for _, query := range []string{
		`sum(a)`, `sum by (namespace) (a)`, `sum without (pod) (a)`, `topk(1, sum(a))`, `round(sum(a))`, `sum(a) or sum(b)`,
		`sum by (pod) (a) / on (x) a`, `sum by (pod) (a) / ignoring (pod) b`, `vector(1)`, `vector(scalar(a))`, `sum(a) + 1`,
		`a / on (x) group_left (pod) sum by (x) (a)`, `sum by (x) (a) * on (x) group_right (pod) a`, `hour()`, `pi() * sum(a)`,
		`max_over_time(sum(a)[10s:2s])`, `-sum(a)`, `(sum(a))`, `sum(a) unless a`, `count_values("x", a)`,
	} {
		t.Run(query, func(t *testing.T) {
			t.Parallel()
			tr, err := parseRuleExpr(query)
			if err != nil {
				t.Fatal(err)
			}
			if tr.exprResultMayHaveLabel("pod") {
				t.Error("said to have the label pod perhaps")
			}
		})
	}
}
