// The window of auto, from counters to values.

package query

import (
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/store"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/window"
)

func TestChooseWindow(t *testing.T) {
	t.Parallel()
	const now = 120_500
	// changed is a pod with 80 events every 2 s, and 400 since this many milliseconds.
	changed := func(since int64) (h window.History) {
		for at := int64(0); at < 120_000; at += 2000 {
			i := window.Increment{From: at, To: at + 2000, Count: 80}
			if at >= 120_000-since {
				i.Count = 400
			}
			h = append(h, i)
		}
		return h
	}
	counted := func(since ...int64) (c window.Counter) {
		for _, s := range since {
			c.Pods = append(c.Pods, changed(s))
		}
		return c
	}
	for name, tc := range map[string]struct {
		counters []window.Counter
		want     time.Duration
	}{
		"nothing counted":       {nil, time.Minute},
		"steady":                {[]window.Counter{counted(0)}, time.Minute},
		"changed":               {[]window.Counter{counted(20_000)}, 21 * time.Second},
		"two pods that changed": {[]window.Counter{counted(20_000, 20_000)}, 21 * time.Second},
		"the last to change":    {[]window.Counter{counted(0), counted(20_000), counted(30_000)}, 21 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, _ := chooseQueryWindow(now, time.Minute, tc.counters, window.Choose); got != tc.want {
				t.Errorf("chooseQueryWindow = %s, want %s", got, tc.want)
			}
		})
	}
}

// TestAutoFollowsAStep follows a step from scrapes to values: two pods at phases of their own, 60 requests/s in all,
// then 400. Two intervals and a half later the total is right, and it stays so.
func TestAutoFollowsAStep(t *testing.T) {
	t.Parallel()
	r := compileRule(t, interval, perPodQuery, "window: auto")
	for phase := int64(0); phase < 2000; phase += 190 {
		const at = epoch + 80_000
		w := newSimCluster(t, interval,
			&simPod{name: "web-0", rate: 30, started: epoch - 1000_000, watched: epoch, changes: at, then: 200},
			&simPod{name: "web-1", rate: 30, started: epoch - 1000_000, watched: epoch + phase, changes: at, then: 200})
		for now := epoch + 70_000; now < at+90_000; now += 130 {
			w.advanceTo(now)
			values, err := w.engine.Evaluate(t.Context(), rule.Query{Rule: r, Namespace: "shop"}, time.UnixMilli(now))
			if err != nil || len(values) != 2 {
				t.Fatalf("%d values, %v", len(values), err)
			}
			total := values[0].Value + values[1].Value
			low, high := 57.0, 420.0
			if now < at {
				high = 63
			}
			if now >= at+4500 {
				low = 380
			}
			if total < low || total > high {
				t.Fatalf("phase %d, %d ms after the step: %.0f over %s, want %.0f to %.0f", phase, now-at, total, values[0].Window, low, high)
			}
		}
	}
}

// TestQuantileFollowsLatency: after a change of the latency alone, a quantile is that of the time since, and at a steady
// latency the window is the longest.
func TestQuantileFollowsLatency(t *testing.T) {
	t.Parallel()
	bounds := []float64{0.1, 0.25, 0.5, 1, 2.5}
	r := compileRule(t, interval, "query: histogram_quantile(0.99, sum by (namespace, pod, le) (rate(d_seconds_bucket[$window])))", "window: auto")
	for name, tc := range map[string]struct{ before, after float64 }{"faster": {0.8, 0.07}, "slower": {0.07, 0.8}, "steady": {0.07, 0.07}} {
		s := store.New(store.Options{Retention: 500 * time.Second})
		counts := make([]float64, len(bounds)+1)
		for at := int64(-100_000); at <= 0; at += 2000 {
			latency := tc.before
			if at > -10_000 {
				latency = tc.after
			}
			for i := range counts {
				if i == len(bounds) || latency <= bounds[i] {
					counts[i] += 80
				}
				le := lastBucketBound
				if i < len(bounds) {
					le = strconv.FormatFloat(bounds[i], 'g', -1, 64)
				}
				l := labels.FromStrings(model.MetricNameLabel, "d_seconds_bucket", "le", le, "namespace", "shop", "pod", "a")
				if _, err := s.Append(0, l, epoch+at, 1000+counts[i]); err != nil {
					t.Fatal(err)
				}
			}
		}
		values, err := New(s, unhurried).Evaluate(t.Context(), rule.Query{Rule: r, Namespace: "shop"}, time.UnixMilli(epoch))
		if err != nil || len(values) != 1 {
			t.Fatalf("%s: %v, %v", name, values, err)
		}
		short, right := values[0].Window <= 12*time.Second, (values[0].Value > 0.25) == (tc.after > 0.25)
		if !right || short != (name != "steady") {
			t.Errorf("%s: p99 %.3f s over %s", name, values[0].Value, values[0].Window)
		}
	}
}
