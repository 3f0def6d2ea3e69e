// A value over a common stretch carries the end and the length of the stretch.

package query

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/store"
)

// growingCount is the total count of a load that doubles every 14 s, at a time in milliseconds.
func growingCount(at int64) float64 { return 10_000 * math.Exp(float64(at)/20_000) }

// scrapeGrowingLoad appends the samples of pods that share a growing load: two until time 0, and three from then on.
func scrapeGrowingLoad(t *testing.T, interval int64, r *rand.Rand) *store.Store {
	t.Helper()
	s := store.New(store.Options{Retention: 500 * time.Second})
	for i := range int64(3) {
		l := labels.FromStrings(model.MetricNameLabel, "x_total", "namespace", "shop", "pod", fmt.Sprint("web-", i))
		add := func(at int64, v float64) {
			if _, err := s.Append(0, l, epoch+at, v); err != nil {
				t.Fatal(err)
			}
		}
		first := int64(-100_000)
		if i == 2 {
			first = -2000
			add(first, 0)
		}
		for at := first + 1 + r.Int64N(interval-1); at < 60_000; at += interval {
			v := (growingCount(max(at, 0)) - growingCount(0)) / 3
			if i < 2 {
				v += growingCount(min(at, 0)) / 2
			}
			add(at, v)
		}
	}
	return s
}

// TestStretchTime: the total of a load that grows is the true rate of the stated window, which ends at the stated time.
func TestStretchTime(t *testing.T) {
	t.Parallel()
	for _, interval := range []time.Duration{2 * time.Second, 5 * time.Second} {
		for _, lines := range [][]string{
			{"query: sum by (namespace, pod) (rate(x_total[$window]))", "window: 15s"},
			{"query: sum by (namespace, pod) (rate(x_total[$window]))", "window: auto"},
			{"external: true", "query: sum(rate(x_total[$window]))", "window: 15s"},
		} {
			t.Run(fmt.Sprint(interval, lines), func(t *testing.T) {
				t.Parallel()
				r := compileRule(t, interval, lines...)
				for seed := range uint64(4) {
					e := New(scrapeGrowingLoad(t, interval.Milliseconds(), rand.New(rand.NewPCG(seed, 9))), Options{
						Settings: Settings{Interval: interval, MaxWindow: time.Minute}, Timeout: unhurried.Timeout,
					})
					for at := 3 * interval.Milliseconds(); at < 14_000; at += 300 {
						checkStretchTime(t, e, r, at)
					}
				}
			})
		}
	}
}

func checkStretchTime(t *testing.T, e *Engine, r *rule.Rule, at int64) {
	t.Helper()
	now := time.UnixMilli(epoch + at)
	values, err := e.Evaluate(t.Context(), rule.Query{Rule: r, Namespace: "shop", Moved: time.UnixMilli(epoch)}, now)
	if err != nil || len(values) == 0 {
		t.Fatalf("after %d ms: %v, %v", at, values, err)
	}
	end, window := values[0].Time, values[0].Window
	for _, v := range values {
		if v.Reason != "" || !v.Time.Equal(end) || v.Window != window || v.NewestSample().Before(end) || v.Age(now) < 0 {
			t.Errorf("after %d ms: %+v beside a value over %s until %s", at, v, window, end)
		}
	}
	from, to := end.Add(-window).UnixMilli()-epoch, end.UnixMilli()-epoch
	want := (growingCount(to) - growingCount(from)) / window.Seconds()
	if got := sumRightValues(values); math.Abs(got/want-1) > 0.03 {
		t.Errorf("after %d ms: %.1f over %s until %d ms, want %.1f (%+.1f %%)", at, got, window, to, want, 100*(got/want-1))
	}
}
