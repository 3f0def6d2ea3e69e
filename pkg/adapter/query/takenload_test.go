package query

import (
	"math"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
)

// TestLoadTakenBeforeAnEnd: a pod that counted 200/s ends at 49 s. Three others became ready at 46 s, and count 50/s each since then.
func TestLoadTakenBeforeAnEnd(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		times  []int64
		values []float64
		want   float64 // since 40 s
	}{
		"its newest page is older":   {[]int64{34_000, 39_500, 44_500, 49_000}, []float64{0, 1100, 2100, staleMarker}, 1350},
		"its newest page is younger": {[]int64{36_000, 41_500, 47_000, 49_000}, []float64{0, 1100, 2050, staleMarker}, 1350},
	} {
		s, old := evaluationScan{seriesBySelector: make([][]evaluatedSeries, 1)}, &evaluatedPod{}
		add := func(p *evaluatedPod, pod string, times []int64, values []float64) {
			p.labels, p.newest = labels.FromStrings("pod", pod), times[len(times)-1]
			s.orderedPods = append(s.orderedPods, p)
			s.seriesBySelector[0] = append(s.seriesBySelector[0], evaluatedSeries{labels: p.labels, pod: p, times: times, values: values, isCounter: true})
		}
		add(old, "old", tc.times, tc.values)
		for _, pod := range []string{"a", "b", "c"} {
			add(&evaluatedPod{readied: 46_000}, pod, []int64{43_000, 48_000, 53_000}, []float64{0, 100, 350})
		}
		s.noteLoadLeavingEndedPods(commonStretch{end: 53_000}, 5_000)
		r := countedRange{from: 40_000, to: 53_000, interval: 5_000}
		old.setPodCountedRange("", &r)
		if got, _ := increaseBetweenSamples(tc.times, tc.values, r); math.Abs(got-tc.want) > 1 || math.Abs(old.taken-0.75) > 0.01 {
			t.Errorf("%s: %v, %v of its load taken, want %v and 0.75", name, got, old.taken, tc.want)
		}
	}
}

// TestChangeRateAt: an increment with a known change, and none behind it, counts at the rate before until the change.
func TestChangeRateAt(t *testing.T) {
	t.Parallel()
	unknown := math.NaN()
	for name, c := range map[string]struct {
		before, after float64
		at            int64
		want          float64 // of the first 8 of 10 ms with 60 events
	}{
		"it gave half of its load":          {before: 8, after: unknown, at: 5, want: 52}, // 8 until 5, then 4
		"all of its load":                   {before: 10, after: unknown, at: 6, want: 60},
		"after the change":                  {before: 8, after: unknown, at: 12, want: 48},
		"the next samples tell":             {before: 8, after: 5, at: 9, want: 50},
		"more than it had":                  {before: 20, after: unknown, at: 5, want: 48},
		"it got load, and gave none":        {before: 2, after: unknown, at: 5, want: 48},
		"its rate before is unknown, too":   {before: unknown, after: unknown, at: 5, want: 48},
		"no pod became ready in that time":  {before: 8, after: unknown, at: 0, want: 48},
		"a pod became ready before the end": {before: 6.5, after: unknown, at: 8, want: 52},
	} {
		n := counterIncrement{timeSpan: timeSpan{0, 10}, count: 60, before: c.before, after: c.after}
		if got := n.changeRateAt(c.at).countIncrementPart(timeSpan{0, 8}); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
