// The fast path against the engine.

package query

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/store"
)

// fastPathRules are rules for the fast path, on pods unless they are external.
var fastPathRules = [][]string{
	{"query: sum by (namespace, pod) (rate(c_total[$window]))", "window: 30s"},
	{"query: sum by (namespace, pod) (rate(c_total[$window]))", "window: auto"},
	{"query: sum by (namespace, pod) (increase(c_total[30s]))"},
	{"query: max by (pod, namespace) (irate(c_total[20s]))"},
	{"query: sum by (namespace, pod) (g)", "allowNegative: true"},
	{`query: g{route="1"}`, "allowNegative: true"},
	{"query: avg by (namespace, pod) (g) * 2 - 1", "allowNegative: true"},
	{"query: min by (namespace, pod) (avg_over_time(g[$window]))", "window: 10s"},
	{"query: max by (namespace, pod) (max_over_time(g[10s])) / sum by (pod, namespace) (sum_over_time(g[10s]))"},
	{"query: count by (namespace, pod) (last_over_time(c_total[20s])) + on (pod, namespace) max by (namespace, pod) (g)"},
	{"query: sum by (namespace, pod) (delta(g[$window])) % 3", "window: 20s"},
	{"query: 100 / avg by (namespace, pod) (idelta(g[10s]) ^ 2)"},
	{"query: histogram_quantile(0.9, sum by (namespace, pod, le) (rate(h_bucket[$window])))", "window: 30s"},
	{"query: histogram_quantile(0.5, sum by (namespace, pod, le) (rate(h_bucket[$window])))", "window: auto"},
	{`query: sum by (namespace, pod) (rate(h_bucket{le="0.5"}[$window])) / sum by (namespace, pod) (rate(h_bucket{le="+Inf"}[$window]))`, "window: auto"},
	{`query: sum by (namespace, pod) (rate(h_bucket{le=~"0.1|0.5"}[$window]))`, "window: auto"},
	{"external: true", `query: sum by (le) (rate(h_bucket{le!="+Inf"}[30s]))`},
	{"external: true", "query: sum(rate(c_total[$window]))", "window: 30s"},
	{"external: true", "query: sum(rate(c_total[$window])) / sum(g)", "window: 30s"},
	{"external: true", "query: avg by (pod) (rate(c_total[$window]))", "window: auto"},
	{"external: true", "query: rate(h_bucket[30s])"},
	{"external: true", "query: histogram_quantile(0.9, sum by (le) (rate(h_bucket[$window])))", "window: 10s"},
	{"external: true", "query: histogram_quantile(0.9, avg by (le) (rate(h_bucket[$window])))", "window: 10s"},
	{"external: true", `query: max by (le) (h_bucket{pod=~"p-[1-4]"})`},
}

// TestDirectIsTheEngine compares the fast path with the engine: the same values, times and windows, and the same
// missing objects. Values are equal to the last digit if their order is fixed, as within a pod.
func TestDirectIsTheEngine(t *testing.T) {
	t.Parallel()
	for i, lines := range fastPathRules {
		t.Run(fmt.Sprint(lines), func(t *testing.T) {
			t.Parallel()
			r := compileRule(t, interval, lines...)
			values := 0
			for seed := range uint64(6) {
				random := rand.New(rand.NewPCG(seed, uint64(i)))
				data := store.New(store.Options{Retention: time.Hour})
				drawSeries(random, func(l labels.Labels, at int64, v float64) {
					if _, err := data.Append(0, l, at, v); err != nil {
						t.Fatal(err)
					}
				})
				values += compareFastPath(t, r, data, random)
			}
			if values < 100 {
				t.Errorf("only %d values compared", values)
			}
		})
	}
}

// compareFastPath evaluates at moments before, within and after the samples, for all pods and for some.
func compareFastPath(t *testing.T, r *rule.Rule, data *store.Store, random *rand.Rand) (values int) {
	t.Helper()
	for range 60 {
		q := rule.Query{Rule: r, Namespace: "shop"}
		if random.IntN(3) > 0 && !r.External {
			q.Objects = []string{"p-5", "p-1", "p-3", "nobody"}[:1+random.IntN(4)]
		}
		if random.IntN(4) == 0 {
			q.Objects = []string{"p-0", "p-1", "p-2", "p-3", "p-4", "p-5"}
		}
		now := time.UnixMilli(epoch + random.Int64N(130_000) - 10_000)
		directly, engine := New(data, unhurried), New(data, unhurried)
		engine.disableFastPath = true
		got, err := directly.Evaluate(t.Context(), q, now)
		want, wantErr := engine.Evaluate(t.Context(), q, now)
		if wantErr != nil { // from results without current series, which only the engine computes
			if err != nil && err.Error() != wantErr.Error() {
				t.Errorf("%v, want %v", err, wantErr)
			}
			continue
		}
		if d := cmp.Diff(want, got, cmp.Comparer(equalValues)); d != "" || err != nil {
			t.Fatalf("%v, at %d: %v (-engine +direct):\n%s", q.Objects, now.UnixMilli()-epoch, err, d)
		}
		values += len(got)
	}
	return values
}

// equalValues returns whether two values are equal to the last digit. For sums over pods, which the engine visits in
// any order, it compares twelve digits.
func equalValues(a, b metric.Value) bool {
	equal := math.Float64bits(a.Value) == math.Float64bits(b.Value) || math.IsNaN(a.Value) && math.IsNaN(b.Value)
	if a.Object == (metric.Object{}) {
		equal = equal || math.Abs(a.Value-b.Value) <= 1e-12*math.Abs(a.Value)
	}
	return equal && a.Object == b.Object && a.Time.Equal(b.Time) && a.Window == b.Window && cmp.Equal(a.Labels, b.Labels)
}

// The fast path covers these rules; otherwise the test above would compare the engine with itself.
func TestWhatIsDirect(t *testing.T) {
	t.Parallel()
	for _, lines := range fastPathRules {
		r := compileRule(t, interval, lines...)
		text := rule.Query{Rule: r, Namespace: "shop"}.Expr(time.Minute, nil)
		if e, err := parsePromQLExpression(text); err != nil || e.fastPath == nil {
			t.Errorf("%s is not computed directly (%v)", text, err)
		}
	}
	for name, text := range map[string]string{
		"another time":            "g offset 10s",
		"a time that is written":  "g @ 100",
		"a range of another time": "rate(c_total[10s] offset 10s)",
		"several metrics":         `{__name__=~"a|b"}`,
		"a subquery":              "max_over_time(rate(c_total[10s])[30s:5s])",
		"without labels":          "sum without (pod) (g)",
		"by name":                 "sum by (__name__) (g)",
		"by a label that is gone": "sum by (pod, route) (sum by (pod) (g))",
		"a comparison":            "g > 1",
		"a set":                   "sum by (pod) (g) or sum by (pod) (c_total)",
		"among series":            "g / c_total",
		"by different labels":     "sum by (pod) (g) / sum by (namespace) (g)",
		"on other labels":         "sum by (pod) (g) / on () sum by (pod) (g)",
		"ignoring labels":         "sum by (pod) (g) / ignoring (pod) sum by (pod) (g)",
		"many to one":             "sum by (pod) (g) / on (pod) group_left sum by (pod) (g)",
		"buckets of series":       "histogram_quantile(0.9, rate(h_bucket[10s]))",
		"a computed quantile":     "histogram_quantile(scalar(g), sum by (le) (h_bucket))",
		"a chosen few":            "topk(2, g)",
		"another function":        "abs(g)",
		"a scalar":                "1 + 1",
	} {
		if e, err := parsePromQLExpression(text); err != nil || e.fastPath != nil {
			t.Errorf("%s: %s is computed directly (%v)", name, text, err)
		}
	}
}
