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
		s, old := seriesScan{seriesBySelector: make([][]scannedSeries, 1)}, &scannedPod{}
		add := func(p *scannedPod, pod string, times []int64, values []float64) {
			p.labels, p.newest = labels.FromStrings("pod", pod), times[len(times)-1]
			s.orderedPods = append(s.orderedPods, p)
			s.seriesBySelector[0] = append(s.seriesBySelector[0], scannedSeries{labels: p.labels, pod: p, times: times, values: values, isCounter: true})
		}
		add(old, "old", tc.times, tc.values)
		for _, pod := range []string{"a", "b", "c"} {
			add(&scannedPod{readied: 46_000}, pod, []int64{43_000, 48_000, 53_000}, []float64{0, 100, 350})
		}
		s.noteLoadLeavingEndedPods(commonStretch{end: 53_000}, 5_000)
		r := countedRange{from: 40_000, to: 53_000, interval: 5_000}
		old.setPodCountedRange("", &r)
		if got, _ := increaseBetweenSamples(tc.times, tc.values, r); math.Abs(got-tc.want) > 1 || math.Abs(old.taken-0.75) > 0.01 {
			t.Errorf("%s: %v, %v of its load taken, want %v and 0.75", name, got, old.taken, tc.want)
		}
	}
}
