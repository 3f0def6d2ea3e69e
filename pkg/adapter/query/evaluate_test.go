// Evaluate: values, ages and windows for rules over a filled store.

package query

import (
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/memorybounds"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/store"
)

const interval = 2 * time.Second

// unhurried are the options of an engine without a timeout: a busy machine takes its time.
var unhurried = Options{Timeout: time.Hour}

// appendSeries appends a series with a sample every 2 s; the last is at time epoch.
func appendSeries(t testing.TB, s *store.Store, series string, values ...float64) {
	t.Helper()
	l, err := newPromQLParser().ParseMetric(series)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range values {
		if _, err := s.Append(0, l, epoch-int64(len(values)-1-i)*2000, v); err != nil {
			t.Fatal(err)
		}
	}
}

// growingValues returns n values that grow by step.
func growingValues(n int, from, step float64) (values []float64) {
	for i := range n {
		values = append(values, from+float64(i)*step)
	}
	return values
}

// steppedValues returns two minutes of values that grow by before, and by after in the last four steps.
func steppedValues(before, after float64) []float64 {
	values := growingValues(56, 1000, before)
	return append(values, growingValues(4, values[55]+after, after)...)
}

var staleMarker = math.Float64frombits(value.StaleNaN)

// formatValues formats values as text: object or labels, value, age, window.
func formatValues(values []metric.Value, now time.Time) (lines []string) {
	for _, v := range values {
		name := v.Object.String()
		if v.Object == (metric.Object{}) {
			name = labels.FromMap(v.Labels).String()
		}
		if v.Reason != "" {
			lines = append(lines, fmt.Sprintf("%s: %s (%s)", name, v.Reason.Text(), v.Detail))
			continue
		}
		lines = append(lines, fmt.Sprintf("%s = %.4g, %s old, over %s", name, v.Value, v.Age(now), v.Window))
	}
	return lines
}

func TestEvaluate(t *testing.T) {
	t.Parallel()
	old := growingValues(60, 1000, 80) // 40 a second for two minutes
	for name, tc := range map[string]struct {
		series  map[string][]float64
		rule    []string
		objects []string
		after   time.Duration // since the newest sample
		want    []string
	}{
		"two pods": {
			series: map[string][]float64{
				`x_total{namespace="shop",pod="a"}`: old, `x_total{namespace="shop",pod="b"}`: growingValues(60, 0, 2),
				`x_total{namespace="mail",pod="a"}`: old,
			},
			rule:  []string{"query: sum by (namespace, pod) (rate(x_total[$window]))", "window: 30s"},
			after: time.Second,
			want:  []string{"shop/a = 40, 1s old, over 30s", "shop/b = 1, 1s old, over 30s"},
		},
		"only those asked for": {
			series: map[string][]float64{
				`x_total{namespace="shop",pod="a"}`: old, `x_total{namespace="shop",pod="b"}`: old,
			},
			rule:    []string{"query: sum by (namespace, pod) (rate(x_total[$window]))", "window: 30s"},
			objects: []string{"b", "c"},
			want:    []string{"shop/b = 40, 0s old, over 30s"},
		},
		"a young pod has a window of its own": {
			series: map[string][]float64{
				`x_total{namespace="shop",pod="a"}`: old, `x_total{namespace="shop",pod="b"}`: growingValues(3, 700, 20),
			},
			rule: []string{"query: sum by (namespace, pod) (rate(x_total[$window]))", "window: 30s"},
			want: []string{"shop/a = 40, 0s old, over 30s", "shop/b = 10, 0s old, over 4s"},
		},
		"a pod that began at zero has its share of the whole window": {
			series: map[string][]float64{
				`x_total{namespace="shop",pod="a"}`: old, `x_total{namespace="shop",pod="b"}`: growingValues(4, 0, 20),
			},
			rule: []string{"query: sum by (namespace, pod) (rate(x_total[$window]))", "window: 30s"},
			want: []string{"shop/a = 40, 0s old, over 30s", "shop/b = 2, 0s old, over 30s"},
		},
		"one sample is not enough": {
			series: map[string][]float64{`x_total{namespace="shop",pod="b"}`: {7}},
			rule:   []string{"query: sum by (namespace, pod) (rate(x_total[$window]))", "window: 30s"},
			want:   []string{"shop/b: warming up (scraped for 0s)"},
		},
		"a counter is zero on one page": {
			series: map[string][]float64{`x_total{namespace="shop",pod="a"}`: append(append(growingValues(40, 1e6, 20), 0), growingValues(5, 1e6+41*20, 20)...)},
			rule:   []string{"query: sum by (namespace, pod) (rate(x_total[$window]))", "window: 60s"},
			want:   []string{"shop/a = 10, 0s old, over 1m0s"},
		},
		"a counter is back since a moment ago": {
			series: map[string][]float64{`x_total{namespace="shop",pod="a"}`: append(growingValues(40, 1e6, 20), 0, 1e6+41*20)},
			rule:   []string{"query: sum by (namespace, pod) (rate(x_total[$window]))", "window: 60s"},
			want:   []string{"shop/a: warming up (a counter went back to a value that no restart explains)"},
		},
		"a comparison excludes a pod": {
			series: map[string][]float64{`x{namespace="shop",pod="a"}`: {7, 7, 7}, `x{namespace="shop",pod="b"}`: {7, 7, 1001}},
			rule:   []string{"query: sum by (namespace, pod) (x) > 1000"},
			want:   []string{"shop/a: absent (a comparison of the rule excludes it)", "shop/b = 1001, 0s old, over 0s"},
		},
		"a nested comparison excludes a pod's only series": {
			series: map[string][]float64{`x_total{namespace="shop",pod="a"}`: old},
			rule:   []string{"query: sum by (namespace, pod) (rate(x_total[$window]) > 100) / 2", "window: 30s"},
			want:   []string{"shop/a: absent (a comparison of the rule excludes it)"},
		},
		"unless excludes a pod": {
			series: map[string][]float64{
				`x{namespace="shop",pod="a"}`: {7, 7, 7}, `x{namespace="shop",pod="b"}`: {7, 7, 8}, `draining{namespace="shop",pod="a"}`: {0, 1, 1},
			},
			rule: []string{"query: sum by (namespace, pod) (x) unless on (namespace, pod) draining"},
			want: []string{"shop/a: absent (unless in the rule excludes it)", "shop/b = 8, 0s old, over 0s"},
		},
		"unless with a comparison excludes a pod": {
			series: map[string][]float64{
				`x{namespace="shop",pod="a"}`: {7, 7, 7}, `x{namespace="shop",pod="b"}`: {7, 7, 8},
				`draining{namespace="shop",pod="a"}`: {0, 1, 1}, `draining{namespace="shop",pod="b"}`: {0, 0, 0},
			},
			rule: []string{"query: sum by (namespace, pod) (x) unless on (namespace, pod) draining == 1"},
			want: []string{"shop/a: absent (a comparison of the rule excludes it)", "shop/b = 8, 0s old, over 0s"},
		},
		"a comparison excludes a namespace": {
			series: map[string][]float64{`x{namespace="shop",pod="a"}`: {7, 7, 7}, `x{namespace="shop",pod="b"}`: {7, 7, 8}},
			rule:   []string{"resource: namespaces", "query: sum by (namespace) (x) > 1000"},
			want:   []string{"shop: absent (a comparison of the rule excludes it)"},
		},
		"a comparison excludes an external sum": {
			series: map[string][]float64{`x{namespace="shop",pod="a"}`: {7, 7, 7}},
			rule:   []string{"external: true", "query: sum(x) > 1000"},
			want:   []string{"{}: absent (a comparison of the rule excludes it)"},
		},
		"an external rule without series is excluded by nothing": {
			series: map[string][]float64{`y{namespace="shop",pod="a"}`: {7, 7, 7}},
			rule:   []string{"external: true", "query: sum(x) > 1000"},
		},
		"a comparison of too few samples excludes nothing": {
			series: map[string][]float64{`x_total{namespace="shop",pod="a"}`: {7}, `y{namespace="shop",pod="a"}`: {1}},
			rule:   []string{"query: sum by (namespace, pod) (rate(x_total[$window])) > sum by (namespace, pod) (y)", "window: 30s"},
			want:   []string{"shop/a: warming up (scraped for 0s)"},
		},
		"a pod of the same name that came again has the counts of both": {
			series: map[string][]float64{
				`x_total{namespace="shop",pod="a"}`: append(append(growingValues(50, 0, 2000), staleMarker), growingValues(4, 0, 20)...),
			},
			rule: []string{"query: sum by (namespace, pod) (rate(x_total[$window]))", "window: 30s"},
			want: []string{"shop/a = 735.3, 0s old, over 30s"}, // also those until its end, of 2 s
		},
		"a pod that has gone has no value": {
			series: map[string][]float64{`x_total{namespace="shop",pod="a"}`: append(growingValues(50, 0, 2000), staleMarker)},
			rule:   []string{"query: sum by (namespace, pod) (rate(x_total[$window]))", "window: 30s"},
		},
		"a series that begins late does not make a young pod": {
			series: map[string][]float64{
				`x_total{namespace="shop",pod="a",code="200"}`: old, `x_total{namespace="shop",pod="a",code="500"}`: growingValues(3, 0, 3),
			},
			rule: []string{"query: sum by (namespace, pod) (rate(x_total[$window]))", "window: 60s"},
			want: []string{"shop/a = 40.1, 0s old, over 1m0s"},
		},
		"a family demanded since a moment ago does": {
			series: map[string][]float64{
				`x_total{namespace="shop",pod="a"}`: old, `y_total{namespace="shop",pod="a"}`: growingValues(4, 5000, 40),
			},
			rule: []string{"query: sum by (namespace, pod) (rate(y_total[$window])) / sum by (namespace, pod) (rate(x_total[$window]))", "window: 60s"},
			want: []string{"shop/a = 0.5, 0s old, over 6s"},
		},
		"a fixed range that is covered": {
			series: map[string][]float64{`x_total{namespace="shop",pod="a"}`: old},
			rule:   []string{"query: sum by (namespace, pod) (rate(x_total[1m]))"},
			want:   []string{"shop/a = 40, 0s old, over 1m0s"},
		},
		"a fixed range that is not: no value rather than too low a one": {
			series: map[string][]float64{
				`x_total{namespace="shop",pod="a"}`: old, `x_total{namespace="shop",pod="b"}`: growingValues(29, 700, 80),
			},
			rule: []string{"query: sum by (namespace, pod) (rate(x_total[1m]))"},
			want: []string{"shop/a = 40, 0s old, over 1m0s", "shop/b: warming up (scraped for 56s)"},
		},
		"an increase needs its window": {
			series: map[string][]float64{
				`x_total{namespace="shop",pod="a"}`: old, `x_total{namespace="shop",pod="b"}`: growingValues(10, 700, 80),
			},
			rule: []string{"query: sum by (namespace, pod) (increase(x_total[$window]))", "window: 30s"},
			want: []string{"shop/a = 1200, 0s old, over 30s", "shop/b: warming up (scraped for 18s)"},
		},
		"a subquery needs its range and the window": {
			series: map[string][]float64{
				`x_total{namespace="shop",pod="a"}`: old, `x_total{namespace="shop",pod="b"}`: growingValues(15, 700, 80),
				`x_total{namespace="shop",pod="c"}`: growingValues(9, 700, 80),
			},
			rule: []string{"query: avg_over_time(sum by (namespace, pod) (rate(x_total[$window]))[20s:2s])", "window: 10s"},
			want: []string{"shop/a = 40, 0s old, over 30s", "shop/b: warming up (scraped for 28s)", "shop/c: warming up (scraped for 16s)"},
		},
		"a gauge is instantaneous": {
			series: map[string][]float64{
				`g{namespace="shop",pod="a"}`: {1, 2, 3}, `g{namespace="shop",pod="b"}`: {5},
				`g{namespace="shop",pod="c"}`: {5, staleMarker}, `g{namespace="shop",pod="d"}`: {math.NaN()}, `g{namespace="shop",pod="e"}`: {-1},
			},
			rule:  []string{"query: max by (namespace, pod) (g)"},
			after: 1500 * time.Millisecond,
			want: []string{
				"shop/a = 3, 1.5s old, over 0s", "shop/b = 5, 1.5s old, over 0s",
				"shop/d = NaN, 1.5s old, over 0s", "shop/e = -1, 1.5s old, over 0s",
			},
		},
		"a gauge older than three intervals, within maxAge": {
			series: map[string][]float64{`g{namespace="shop",pod="a"}`: {1, 2, 3}},
			rule:   []string{"query: max by (namespace, pod) (g)", "maxAge: 30s"},
			after:  29 * time.Second,
			want:   []string{"shop/a = 3, 29s old, over 0s"},
		},
		"a gauge older than maxAge": {
			series: map[string][]float64{`g{namespace="shop",pod="a"}`: {1, 2, 3}},
			rule:   []string{"query: max by (namespace, pod) (g)", "maxAge: 30s"},
			after:  30*time.Second + time.Millisecond,
		},
		"a gauge as old as maxAge": {
			series: map[string][]float64{`g{namespace="shop",pod="a"}`: {1, 2, 3}},
			rule:   []string{"query: max by (namespace, pod) (g)", "maxAge: 30s"},
			after:  30 * time.Second,
			want:   []string{"shop/a = 3, 30s old, over 0s"},
		},
		"a rate as old as maxAge": {
			series: map[string][]float64{`x_total{namespace="shop",pod="a"}`: old},
			rule:   []string{"query: sum by (namespace, pod) (rate(x_total[$window]))", "window: 10s", "maxAge: 10s"},
			after:  10 * time.Second,
			want:   []string{"shop/a = 40, 10s old, over 10s"},
		},
		"a rate whose newest sample is late is that of its time": {
			series: map[string][]float64{`x_total{namespace="shop",pod="a"}`: old},
			rule:   []string{"query: sum by (namespace, pod) (rate(x_total[$window]))", "window: 10s"},
			after:  7 * time.Second,
			want:   []string{"shop/a = 40, 7s old, over 10s"},
		},
		"a histogram's window begins at the step": {
			series: map[string][]float64{
				`h_bucket{namespace="shop",pod="a",le="0.1"}`: steppedValues(20, 50), `h_bucket{namespace="shop",pod="a",le="0.2"}`: steppedValues(20, 100),
				`h_bucket{namespace="shop",pod="a",le="+Inf"}`: steppedValues(20, 100),
			},
			rule: []string{"query: histogram_quantile(0.75, sum by (namespace, pod, le) (rate(h_bucket[$window])))"},
			want: []string{"shop/a = 0.15, 0s old, over 9s"},
		},
		"several buckets without the last": {
			series: map[string][]float64{
				`h_bucket{namespace="shop",pod="a",le="0.1"}`: growingValues(60, 0, 20), `h_bucket{namespace="shop",pod="a",le="0.10"}`: growingValues(60, 0, 20),
				`h_bucket{namespace="shop",pod="a",le="+Inf"}`: growingValues(60, 0, 100), `h_count{namespace="shop",pod="a"}`: growingValues(60, 0, 100),
			},
			rule: []string{`query: sum by (namespace, pod) (rate(h_bucket{le=~"0.1|0.10"}[$window])) / sum by (namespace, pod) (rate(h_count[$window]))`},
			want: []string{"shop/a = 0.4, 0s old, over 1m0s"},
		},
		"all buckets but the last": {
			series: map[string][]float64{
				`h_bucket{namespace="shop",pod="a",le="0.1"}`: growingValues(60, 0, 20), `h_bucket{namespace="shop",pod="a",le="+Inf"}`: growingValues(60, 0, 100),
			},
			rule: []string{`query: sum by (namespace, pod) (rate(h_bucket{le!="+Inf"}[$window]))`},
			want: []string{"shop/a = 10, 0s old, over 1m0s"},
		},
		"a counter named like buckets": {
			series: map[string][]float64{`puts_per_bucket{namespace="shop",pod="a"}`: growingValues(60, 0, 20)},
			rule:   []string{"query: sum by (namespace, pod) (rate(puts_per_bucket[$window]))"},
			want:   []string{"shop/a = 10, 0s old, over 1m0s"},
		},
		"buckets are not counted twice": {
			// 31 events after 20, four times, may be chance; three times as many would not be.
			series: map[string][]float64{
				`h_bucket{namespace="shop",pod="a",le="0.1"}`: steppedValues(20, 31), `h_bucket{namespace="shop",pod="a",le="0.2"}`: steppedValues(20, 31),
				`h_bucket{namespace="shop",pod="a",le="+Inf"}`: steppedValues(20, 31),
			},
			rule: []string{"query: histogram_quantile(0.5, sum by (namespace, pod, le) (rate(h_bucket[$window])))"},
			want: []string{"shop/a = 0.05, 0s old, over 1m0s"},
		},
		"a steady histogram has a long window": {
			series: map[string][]float64{
				`h_bucket{namespace="shop",pod="a",le="0.1"}`: growingValues(60, 0, 50), `h_bucket{namespace="shop",pod="a",le="0.2"}`: growingValues(60, 0, 100),
				`h_bucket{namespace="shop",pod="a",le="+Inf"}`: growingValues(60, 0, 100),
			},
			rule: []string{"query: histogram_quantile(0.75, sum by (namespace, pod, le) (rate(h_bucket[$window])))"},
			want: []string{"shop/a = 0.15, 0s old, over 1m0s"},
		},
		"a ratio of steady counters has a long window": {
			series: map[string][]float64{
				`x_total{namespace="shop",pod="a"}`: old, `y_total{namespace="shop",pod="a"}`: growingValues(60, 0, 1),
			},
			rule: []string{"query: sum by (namespace, pod) (rate(y_total[$window])) / sum by (namespace, pod) (rate(x_total[$window]))"},
			want: []string{"shop/a = 0.0125, 0s old, over 1m0s"},
		},
		"the counter of a ratio that changed decides": {
			series: map[string][]float64{
				`x_total{namespace="shop",pod="a"}`: steppedValues(80, 400), `y_total{namespace="shop",pod="a"}`: growingValues(60, 0, 1),
			},
			rule: []string{"query: sum by (namespace, pod) (rate(y_total[$window])) / sum by (namespace, pod) (rate(x_total[$window]))"},
			want: []string{"shop/a = 0.0025, 0s old, over 9s"},
		},
		"auto is one decision for the group": {
			series: map[string][]float64{
				`x_total{namespace="shop",pod="a"}`: steppedValues(80, 400), `x_total{namespace="shop",pod="b"}`: growingValues(60, 0, 2),
			},
			rule: []string{"query: sum by (namespace, pod) (rate(x_total[$window]))", "window: auto"},
			want: []string{"shop/a = 200, 0s old, over 9s", "shop/b = 1, 0s old, over 9s"},
		},
		"auto right after a step has the newest increment": {
			series: map[string][]float64{
				`x_total{namespace="shop",pod="a"}`: append(growingValues(59, 1000, 80), 1000+58*80+800),
			},
			rule:  []string{"query: sum by (namespace, pod) (rate(x_total[$window]))", "window: auto"},
			after: 1900 * time.Millisecond,
			want:  []string{"shop/a = 400, 1.9s old, over 4s"},
		},
		"auto of a steady group takes the longest": {
			series: map[string][]float64{
				`x_total{namespace="shop",pod="a"}`: old, `x_total{namespace="shop",pod="b"}`: growingValues(60, 0, 2),
			},
			rule: []string{"query: sum by (namespace, pod) (rate(x_total[$window]))", "window: auto"},
			want: []string{"shop/a = 40, 0s old, over 1m0s", "shop/b = 1, 0s old, over 1m0s"},
		},
		"auto with few events takes the longest": {
			series: map[string][]float64{`x_total{namespace="shop",pod="b"}`: growingValues(60, 0, 2)},
			rule:   []string{"query: sum by (namespace, pod) (rate(x_total[$window]))", "window: auto"},
			want:   []string{"shop/b = 1, 0s old, over 1m0s"},
		},
		"auto means the longest where the value depends on it": {
			series: map[string][]float64{`x_total{namespace="shop",pod="a"}`: old},
			rule:   []string{"query: sum by (namespace, pod) (increase(x_total[$window]))", "window: auto"},
			want:   []string{"shop/a = 2400, 0s old, over 1m0s"},
		},
		"namespaces": {
			series: map[string][]float64{
				`x_total{namespace="shop",pod="a"}`: old, `x_total{namespace="shop",pod="b"}`: growingValues(3, 0, 20),
				`x_total{namespace="mail",pod="a"}`: growingValues(5, 0, 20),
			},
			rule: []string{"resource: namespaces", "query: sum by (namespace) (rate(x_total[$window]))", "window: 30s"},
			want: []string{"mail = 2.667, 0s old, over 30s", "shop = 41.33, 0s old, over 30s"},
		},
		"nodes": {
			series: map[string][]float64{
				`x_total{namespace="shop",pod="a",node="n-1"}`: old, `x_total{namespace="mail",pod="a",node="n-1"}`: old,
			},
			rule: []string{"resource: nodes", "query: sum by (node) (rate(x_total[$window]))", "window: 30s"},
			want: []string{"n-1 = 80, 0s old, over 30s"},
		},
		"external, one number": {
			series: map[string][]float64{
				`x_total{namespace="shop",pod="a"}`: old, `x_total{namespace="shop",pod="b"}`: growingValues(60, 0, 2),
			},
			rule:  []string{"external: true", "query: sum(rate(x_total[$window]))", "window: 30s"},
			after: time.Second,
			want:  []string{"{} = 41, 1s old, over 30s"},
		},
		"external, all young": {
			series: map[string][]float64{
				`x_total{namespace="shop",pod="a"}`: growingValues(4, 5000, 80), `x_total{namespace="shop",pod="b"}`: growingValues(4, 100, 2),
			},
			rule: []string{"external: true", "query: sum(rate(x_total[$window]))", "window: 30s"},
			want: []string{"{} = 41, 0s old, over 6s"},
		},
		"external, each with the time of its own series": {
			series: map[string][]float64{
				`g{namespace="shop",pod="a",queue="x"}`: {1, 2, 3}, `g{namespace="shop",pod="b",queue="y"}`: {5, staleMarker, 6},
			},
			rule:  []string{"external: true", "query: sum by (queue) (g)"},
			after: time.Second,
			want:  []string{`{queue="x"} = 3, 1s old, over 0s`, `{queue="y"} = 6, 1s old, over 0s`},
		},
		"external, nothing known": {
			rule: []string{"external: true", "query: sum(g)"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := store.New(store.Options{Retention: 10 * time.Minute})
			for series, values := range tc.series {
				appendSeries(t, s, series, values...)
			}
			r := compileLines(t, tc.rule)
			q := rule.Query{Rule: r, Objects: tc.objects}
			if r.Namespaced {
				q.Namespace = "shop"
			}
			now := time.UnixMilli(epoch).Add(tc.after)
			values, err := New(s, unhurried).Evaluate(t.Context(), q, now)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tc.want, formatValues(values, now)); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

// compileLines compiles a rule for the resource named in its lines.
func compileLines(t testing.TB, lines []string) *rule.Rule {
	t.Helper()
	resource := "pods"
	for _, l := range lines {
		if r, ok := strings.CutPrefix(l, "resource: "); ok {
			resource = r
		}
	}
	return compileResourceRule(t, interval, resource, lines...)
}

// A counter reset gives no negative rate, and loses at most the count since the scrape before.
func TestCounterReset(t *testing.T) {
	t.Parallel()
	for _, window := range []string{"10s", "60s", "auto"} {
		r := compileRule(t, interval, perPodQuery, "window: "+window)
		p := &simPod{name: "web-0", rate: 100, started: epoch - 1000_000, watched: epoch, restarts: epoch + 65_500}
		w := newSimCluster(t, interval, p)
		for now := epoch + 10_000; now < epoch+130_000; now += 333 {
			w.advanceTo(now)
			values, err := w.engine.Evaluate(t.Context(), rule.Query{Rule: r, Namespace: "shop"}, time.UnixMilli(now))
			if err != nil || len(values) != 1 {
				t.Fatalf("%d values, %v", len(values), err)
			}
			v := values[0]
			// Lost is the count between the last scrape and the restart: 1.5 s of the span of the samples.
			lowest := 95 * (1 - 1.5/(v.Window-interval).Seconds())
			if v.Value > 105 || v.Value < lowest {
				t.Errorf("window %s, after %d ms: %.1f over %s, want %.1f to 105", window, now-epoch, v.Value, v.Window, lowest)
			}
		}
	}
}

// Of more objects than an expression can name, exactly the requested objects have values, each over a window of its
// own.
func TestManyObjects(t *testing.T) {
	t.Parallel()
	s := store.New(store.Options{})
	var asked []string
	for i := range maxNamedObjects + 20 {
		name := fmt.Sprintf("p-%03d", i)
		n := 60
		if i%10 == 3 {
			n = 4
		}
		appendSeries(t, s, fmt.Sprintf(`x_total{namespace="shop",pod=%q}`, name), growingValues(n, 5000, 80)...)
		if i >= 10 {
			asked = append(asked, name)
		}
	}
	r := compileRule(t, interval, "query: sum by (namespace, pod) (rate(x_total[$window]))", "window: 30s")
	values, err := New(s, unhurried).Evaluate(t.Context(), rule.Query{Rule: r, Namespace: "shop", Objects: asked}, time.UnixMilli(epoch))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, v := range values {
		got = append(got, v.Object.Name)
		if young := v.Object.Name[4] == '3'; v.Value != 40 || young != (v.Window < 7*time.Second) {
			t.Errorf("%s is %v over %s", v.Object, v.Value, v.Window)
		}
	}
	if d := cmp.Diff(asked, got); d != "" {
		t.Errorf("(-asked +got):\n%s", d)
	}
}

// Pods of one name in two namespaces, one of them young: an expression by name selects both.
func TestSameNameInTwoNamespaces(t *testing.T) {
	t.Parallel()
	s := store.New(store.Options{})
	appendSeries(t, s, `x_total{namespace="shop",pod="a"}`, growingValues(60, 5000, 80)...)
	appendSeries(t, s, `x_total{namespace="mail",pod="a"}`, growingValues(4, 5000, 40)...)
	r := compileRule(t, interval, "query: sum by (namespace, pod) (rate(x_total[$window]))", "window: 30s")
	now := time.UnixMilli(epoch)
	values, err := New(s, unhurried).Evaluate(t.Context(), rule.Query{Rule: r}, now)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"mail/a = 20, 0s old, over 6s", "shop/a = 40, 0s old, over 30s"}
	if d := cmp.Diff(want, formatValues(values, now)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// TestParsedIsBounded: the cache keeps expressions, neither long ones nor those of reviews, within its bytes.
func TestParsedIsBounded(t *testing.T) {
	t.Parallel()
	p := newExpressionCache()
	remembered := func(text string, remember bool) bool {
		first, err := p.getOrParsePromQLExpression("shop", text, remember)
		if err != nil {
			t.Fatal(err)
		}
		again, _ := p.getOrParsePromQLExpression("shop", text, remember)
		return again == first
	}
	for i := range 1500 {
		if text := fmt.Sprintf("sum by (namespace, pod) (rate(requests_total{namespace=\"shop\",pod=\"%d\"}[1m]))", i); !remembered(text, true) {
			t.Fatalf("%s was parsed twice", text)
		}
	}
	if n, bytes := p.byText.Usage(); n < 1000 || bytes > memorybounds.Expressions {
		t.Errorf("%d expressions of %d bytes remembered, want at least 1,000 within %d bytes", n, bytes, memorybounds.Expressions)
	}
	for text, remember := range map[string]bool{"g{pod=\"" + strings.Repeat("x", maxCachedText) + "\"}": true, "reviewed": false} {
		if remembered(text, remember) {
			t.Errorf("%.20s is remembered", text)
		}
	}
	if _, err := p.getOrParsePromQLExpression("shop", "g{", true); err == nil {
		t.Error("parsed an unfinished expression")
	}
}

// TestParsedBytesAreMeasured: what is counted for a parsed expression is about its memory, with few or many regular expressions of any kind.
func TestParsedBytesAreMeasured(t *testing.T) { //nolint:paralleltest // measures the heap
	for name, tc := range map[string]struct {
		matcher string // with @ for a number
		count   int
	}{
		"equal": {`a@="b"`, 100}, "a status": {`code=~"5.."`, 1}, "statuses": {`code@=~"5.."`, 100}, "values": {`a@!~"b|c"`, 100}, "not empty": {`a@!~".+"`, 100},
		"many values": {`a=~"` + strings.Repeat("web-5d8f7c9b4-abcde|", 100) + `web"`, 1},
		"repeats":     {`a@=~"(a{1,30}b{1,30}c){1,15}"`, 4}, "classes": {`a@=~"\\pL"`, 10}, "any case": {`a@=~"(?i)k"`, 100},
	} {
		expressions := max(20, 2000/tc.count) // megabytes, beside which the rest of the heap is steady
		var before, after runtime.MemStats
		runtime.GC()
		runtime.GC() // frees what pools kept
		runtime.ReadMemStats(&before)
		counted, all := 0, []*parsedExpression{}
		for i := range expressions {
			matchers := []string{fmt.Sprintf("namespace=%q", fmt.Sprint("team-", i))}
			for n := range tc.count {
				matchers = append(matchers, strings.ReplaceAll(tc.matcher, "@", fmt.Sprint(n)))
			}
			text := "sum by (namespace, pod) (rate(http_requests_total{" + strings.Join(matchers, ",") + "}[1m]))"
			e, err := parsePromQLExpression(text)
			if err != nil {
				t.Fatal(err)
			}
			all, counted = append(all, e), counted+measurePromQLExpression(text, e)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		taken := int(after.HeapAlloc) - int(before.HeapAlloc)
		t.Logf("%s: %d bytes each, %d counted", name, taken/expressions, counted/expressions)
		if taken > counted*3/2 || counted > 4*taken {
			t.Errorf("%s: an expression takes %d bytes, and %d are counted", name, taken/expressions, counted/expressions)
		}
		runtime.KeepAlive(all)
	}
}

// TestParsedBytesAreBounded: expressions with long patterns take about the memory that is counted, and none from another namespace.
func TestParsedBytesAreBounded(t *testing.T) { //nolint:paralleltest // measures the heap
	p := newExpressionCache()
	first, err := p.getOrParsePromQLExpression("shop", "requests", true)
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range 60 {
		text := fmt.Sprintf("g{pod=~%q}", strings.Repeat(fmt.Sprintf("pod-%d|", i), 2000)[:maxCachedText-20])
		if _, err := p.getOrParsePromQLExpression("evil", text, true); err != nil {
			t.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if got := int64(after.HeapAlloc) - int64(before.HeapAlloc); got > memorybounds.Expressions*3/2 {
		t.Errorf("the expressions take %d bytes, want about %d", got, memorybounds.Expressions)
	}
	if again, _ := p.getOrParsePromQLExpression("shop", "requests", true); again != first {
		t.Error("an expression of another namespace was parsed twice")
	}
	runtime.KeepAlive(p)
}
