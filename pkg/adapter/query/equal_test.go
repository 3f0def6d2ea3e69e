// Drawn samples: the engine gives the same numbers over a store and over Prometheus's storage.

package query

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/teststorage"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/store"
)

// newDrawnStores fills a store and Prometheus's storage with the same minute and a half. It has counters with resets,
// histograms, gauges, gaps, and series that begin late or end early, with a staleness marker or without.
func newDrawnStores(t *testing.T, r *rand.Rand) (*store.Store, storage.Queryable) {
	t.Helper()
	mine, theirs := store.New(store.Options{Retention: time.Hour}), teststorage.New(t)
	app := theirs.Appender(context.Background())
	drawSeries(r, func(l labels.Labels, at int64, v float64) {
		if _, err := mine.Append(0, l, at, v); err != nil {
			t.Fatal(err)
		}
		if _, err := app.Append(0, l, at, v); err != nil {
			t.Fatal(err)
		}
	})
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	return mine, theirs
}

// drawSeries draws the samples of all series.
func drawSeries(r *rand.Rand, add func(l labels.Labels, at int64, v float64)) {
	for pod := range 6 {
		histograms := [2]timeSpan{drawSpan(r), drawSpan(r)} // all buckets of a histogram are on the same pages
		for _, name := range []string{"c_total", "g", "h_bucket:0.1", "h_bucket:0.5", "h_bucket:+Inf"} {
			b := labels.NewBuilder(labels.FromStrings("namespace", "shop", "pod", fmt.Sprint("p-", pod)))
			if base, le, ok := cutBucketBound(name); ok {
				b.Set(model.MetricNameLabel, base).Set("le", le)
			} else {
				b.Set(model.MetricNameLabel, name)
			}
			for route := range 2 {
				l, span := b.Set("route", fmt.Sprint(route)).Labels(), histograms[route]
				if !l.Has("le") {
					span = drawSpan(r)
				}
				drawSamples(r, func(at int64, v float64) { add(l, at, v) }, name == "g", span)
			}
		}
	}
}

func cutBucketBound(name string) (base, le string, ok bool) {
	const bucket = "h_bucket"
	if len(name) <= len(bucket) {
		return name, "", false
	}
	return bucket, name[len(bucket)+1:], true
}

func drawSpan(r *rand.Rand) timeSpan {
	span := timeSpan{epoch + r.Int64N(2000), epoch + 90_000}
	if r.IntN(5) == 0 {
		span.from += r.Int64N(60_000)
	}
	if r.IntN(5) == 0 {
		span.to -= r.Int64N(60_000)
	}
	return span
}

func drawSamples(r *rand.Rand, add func(at int64, v float64), gauge bool, span timeSpan) {
	v := float64(r.IntN(1000))
	at := span.from
	for ; at < span.to; at += 1900 + r.Int64N(200) {
		switch n := r.IntN(40); {
		case n == 0:
			at += r.Int64N(9000) // missed scrapes
		case n == 1:
			v = 0 // a reset
		case n == 2 && gauge:
			v = math.NaN()
		case gauge:
			v = r.NormFloat64() * 100
		default:
			v += float64(r.IntN(200))
		}
		add(at, v)
	}
	if r.IntN(3) == 0 {
		add(at, math.Float64frombits(value.StaleNaN))
	}
}

// The engine gives the same numbers over a store and over Prometheus's own storage.
func TestStoreEqualsPrometheus(t *testing.T) {
	t.Parallel()
	expressions := []string{
		"rate(c_total[10s])", "rate(c_total[1m])", "increase(c_total[30s])", "irate(c_total[30s])", "g", "c_total",
		"sum by (pod) (rate(c_total[30s]))", "sum(rate(c_total[1m]))", "avg_over_time(g[30s])", "max_over_time(g[10s])",
		"histogram_quantile(0.9, sum by (le) (rate(h_bucket[30s])))", "histogram_quantile(0.5, rate(h_bucket[1m]))",
		"sum by (namespace) (g)", "topk(2, g)", "count(c_total)", `g{pod=~"p-1|p-2"}`, `g{pod!~"p-1|p-2"}`, `g{pod=""}`,
		"max_over_time(rate(c_total[10s])[30s:5s])", "rate(c_total[10s]) / on (pod, route) g", "changes(g[1m])", "deriv(g[30s])",
		"resets(c_total[1m])", "c_total offset 20s", "quantile_over_time(0.5, g[1m])", "absent(nothing)", "timestamp(g)",
		"stddev by (namespace) (g)", "delta(g[30s])", "present_over_time(c_total[10s])", `{__name__=~"c.*|g"}`,
	}
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 0))
			mine, theirs := newDrawnStores(t, r)
			left, right := newPromQLEngine(mine, 1e6, time.Minute, simStep), newPromQLEngine(theirs, 1e6, time.Minute, simStep)
			found := 0
			for _, text := range expressions {
				for range 6 {
					at := time.UnixMilli(epoch + r.Int64N(100_000))
					got, want := queryByLabels(t, left, text, at), queryByLabels(t, right, text, at)
					if d := cmp.Diff(want, got); d != "" {
						t.Errorf("%s at %d (-prometheus +store):\n%s", text, at.UnixMilli()-epoch, d)
					}
					found += len(want)
				}
			}
			if found < 100 {
				t.Errorf("only %d values compared", found)
			}
		})
	}
}

// queryByLabels returns results by labels, as text to 12 digits, because the order of a sum may differ.
func queryByLabels(t *testing.T, e *promqlEngine, text string, at time.Time) map[string]string {
	t.Helper()
	results, err := e.queryPromQLEngine(t.Context(), text, at, 6*time.Second)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	m := map[string]string{}
	for _, r := range results {
		m[r.labels.String()] = fmt.Sprintf("%.12g", r.value)
	}
	return m
}

// For pods with a full window of punctual scrapes, a fixed window gives Prometheus's number, to the last digit.
func TestFixedWindowEqualsPrometheus(t *testing.T) {
	t.Parallel()
	for _, window := range []time.Duration{4 * time.Second, 10 * time.Second, time.Minute} {
		for _, expr := range []string{
			"sum by (namespace, pod) (rate(http_requests_total[$window]))",
			"sum by (namespace, pod) (increase(http_requests_total[$window]))",
			"max by (namespace, pod) (avg_over_time(http_requests_total[$window]))",
			"sum by (namespace, pod) (rate(http_requests_total[10s])) + sum by (namespace, pod) (http_requests_total)",
		} {
			lines := []string{"query: " + expr}
			if strings.Contains(expr, "$window") {
				lines = append(lines, "window: "+window.String())
			}
			t.Run(fmt.Sprint(expr, " ", window), func(t *testing.T) {
				t.Parallel()
				compareFixedWindow(t, compileRule(t, 2*time.Second, lines...), window)
			})
		}
	}
}

func compareFixedWindow(t *testing.T, r *rule.Rule, window time.Duration) {
	t.Helper()
	w := newSimCluster(t, 2*time.Second, newSimPods(keepSimPod)...)
	plain := newPromQLEngine(w.store, 1e6, time.Minute, simStep)
	q := rule.Query{Rule: r, Namespace: "shop"}
	for now := epoch + 70_000; now < epoch+80_000; now += 173 {
		w.advanceTo(now)
		at := time.UnixMilli(now)
		values, err := w.engine.Evaluate(t.Context(), q, at)
		if err != nil {
			t.Fatal(err)
		}
		results, err := plain.queryPromQLEngine(t.Context(), q.Expr(window, nil), at, 6*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		got, want := map[string]float64{}, map[string]float64{}
		for _, v := range values {
			got[v.Object.Name] = v.Value
			if v.Window != r.Span(window) {
				t.Errorf("%s has window %s, want %s", v.Object, v.Window, r.Span(window))
			}
		}
		for _, v := range results {
			want[v.labels.Get("pod")] = v.value
		}
		if d := cmp.Diff(want, got); d != "" || len(want) != 6 {
			t.Fatalf("after %d ms (-plain +evaluated):\n%s", now-epoch, d)
		}
	}
}
