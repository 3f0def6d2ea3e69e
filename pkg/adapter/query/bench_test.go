// The cost of an evaluation beside Prometheus's engine.

package query

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/teststorage"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/store"
)

// newBenchStores returns a store and Prometheus's storage, with a counter per pod and a sample every 2 s for 100 s, of every
// second pod for a reach in milliseconds.
func newBenchStores(b *testing.B, pods int, reach int64) (*store.Store, storage.Queryable, []string) {
	mine, theirs := store.New(store.Options{}), teststorage.New(b)
	app := theirs.Appender(context.Background())
	var names []string
	for i := range pods {
		name := fmt.Sprintf("checkout-7d9f8b6c5d-%05d", i)
		names = append(names, name)
		l := labels.FromStrings(model.MetricNameLabel, "http_requests_total", "namespace", "shop", "pod", name,
			"node", fmt.Sprintf("node-%02d", i%50), "method", "GET", "route", "/orders/{id}", "code", "200")
		phase := int64(i*37) % 2000
		begin := epoch - 100_000 + phase
		if i%2 == 1 {
			begin = epoch - reach + phase
		}
		for at := begin; at <= epoch; at += 2000 {
			v := float64((at - epoch + 200_000) * int64(40+i%20) / 1000)
			if _, err := mine.Append(0, l, at, v); err != nil {
				b.Fatal(err)
			}
			if _, err := app.Append(0, l, at, v); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := app.Commit(); err != nil {
		b.Fatal(err)
	}
	return mine, theirs, names
}

// BenchmarkEvaluate measures an HPA's read: sum by pod of the rate over a minute, of 50 series and of 5,000. Beside
// it Prometheus's engine evaluates the same expression over its own storage, and over the store. The difference to
// the latter is the scan, the choice of the window and the making of values.
func BenchmarkEvaluate(b *testing.B) {
	for _, pods := range []int{50, 5000} {
		b.Run(fmt.Sprintf("series=%d", pods), func(b *testing.B) { benchmarkEvaluate(b, pods) })
	}
}

// BenchmarkEvaluateMoved evaluates a group whose load has just moved, over a common stretch: of pods that are watched for longer than the
// window, and of some that are watched for a few scrapes.
func BenchmarkEvaluateMoved(b *testing.B) {
	now := time.UnixMilli(epoch)
	for _, reach := range []int64{100_000, 4_000} {
		b.Run(fmt.Sprintf("watched=%ds", reach/1000), func(b *testing.B) {
			mine, _, names := newBenchStores(b, 5000, reach)
			b.ReportAllocs()
			e := New(mine, Options{})
			q := rule.Query{Rule: compileRule(b, interval, perPodQuery, "window: auto"), Namespace: "shop", Objects: names, Moved: now}
			for b.Loop() {
				if values, err := e.Evaluate(b.Context(), q, now); err != nil || len(values) != len(names) {
					b.Fatal(len(values), err)
				}
			}
		})
	}
}

// newMovingStore returns a store of pods with a counter for each of their routes, a sample every 2 s for 100 s, and the names of the pods. Each
// fifth pod became ready 7 s before the epoch and took load from the others then: of every second route a while later.
func newMovingStore(b *testing.B, pods, routes int, lag int64) (*store.Store, []string, map[metric.Object]time.Time) {
	data, readied := store.New(store.Options{}), map[metric.Object]time.Time{}
	var names []string
	for i := range pods {
		name, young := fmt.Sprintf("checkout-7d9f8b6c5d-%05d", i), i%5 == 4
		names = append(names, name)
		begin, moved := epoch-100_000+int64(i*37)%2000, epoch-7_000
		if young {
			begin += 92_000
			readied[metric.Object{Namespace: "shop", Name: name}] = time.UnixMilli(moved)
		}
		for route := range routes {
			l := labels.FromStrings(model.MetricNameLabel, "http_requests_total", "namespace", "shop", "pod", name, "node", fmt.Sprintf("node-%02d", i%50),
				"method", "GET", "route", fmt.Sprintf("/orders/%d", route), "code", "200")
			moves, rate, then := moved+lag*int64(route%2), int64(40+route), int64(30+route)
			for at := begin; at <= epoch; at += 2000 {
				v := rate*(min(at, moves)-epoch+200_000) + then*max(0, at-moves)
				if young {
					v = 40 * max(0, at-moves)
				}
				if _, err := data.Append(0, l, at, float64(v/1000)); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	return data, names, readied
}

// BenchmarkEvaluateMove evaluates a group of pods with many series each just after load moved to some of them, once and twice within a scrape
// interval: each pod's counts until the edges of the stretch are compared with those of its series.
func BenchmarkEvaluateMove(b *testing.B) {
	for _, c := range []struct {
		name string
		lag  int64
	}{{"once", 0}, {"twice", 900}} {
		b.Run(c.name, func(b *testing.B) {
			data, names, readied := newMovingStore(b, 100, 24, c.lag)
			b.ReportAllocs()
			now, moved := time.UnixMilli(epoch), time.UnixMilli(epoch-7_000)
			e := New(data, Options{})
			q := rule.Query{Rule: compileRule(b, interval, perPodQuery, "window: auto"), Namespace: "shop", Objects: names, Moved: moved, MovedAt: moved, Readied: readied}
			for b.Loop() {
				if values, err := e.Evaluate(b.Context(), q, now); err != nil || len(values) != len(names) {
					b.Fatal(len(values), err)
				}
			}
		})
	}
}

func benchmarkEvaluate(b *testing.B, pods int) {
	now := time.UnixMilli(epoch)
	mine, theirs, names := newBenchStores(b, pods, 100_000)
	for _, window := range []string{"60s", "auto"} {
		b.Run("evaluate window="+window, func(b *testing.B) {
			b.ReportAllocs()
			e := New(mine, Options{})
			q := rule.Query{Rule: compileRule(b, interval, perPodQuery, "window: "+window), Namespace: "shop", Objects: names}
			for b.Loop() {
				values, err := e.Evaluate(b.Context(), q, now)
				if err != nil || len(values) != pods {
					b.Fatal(len(values), err)
				}
			}
		})
	}
	text := rule.Query{Rule: compileRule(b, interval, perPodQuery), Namespace: "shop"}.Expr(time.Minute, names)
	for _, peer := range []struct {
		name string
		data storage.Queryable
	}{{"prometheus", theirs}, {"prometheus over the store", mine}} {
		b.Run(peer.name, func(b *testing.B) {
			b.ReportAllocs()
			e := newPromQLEngine(peer.data, 1e7, time.Minute, simStep)
			for b.Loop() {
				results, err := e.queryPromQLEngine(b.Context(), text, now, 6*time.Second)
				if err != nil || len(results) != pods {
					b.Fatal(len(results), err)
				}
			}
		})
	}
}
