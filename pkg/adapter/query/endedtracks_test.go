package query

import (
	"math"
	"testing"

	"github.com/prometheus/prometheus/model/value"
)

// TestPausesOfEndedTracks: a window does not begin in a pause of a counter that ended, whether it began again or not.
func TestPausesOfEndedTracks(t *testing.T) {
	t.Parallel()
	end := math.Float64frombits(value.StaleNaN)
	sel := exprSelector{name: "x_total", isCounter: true, ranged: true}
	for name, tc := range map[string]struct {
		times  []int64
		values []float64
		at     int64
		want   int64
	}{
		"ended":                    {[]int64{0, 2000, 20000, 22000}, []float64{1, 2, 20, end}, 9000, 2000},
		"began again":              {[]int64{0, 2000, 20000, 22000, 23000, 25000}, []float64{1, 2, 20, end, 0, 3}, 9000, 2000},
		"began again twice":        {[]int64{0, 2000, 20000, 22000, 23000, 25000, 26000, 27000}, []float64{1, 2, 20, end, 0, 3, end, 0}, 9000, 2000},
		"began again after a page": {[]int64{0, 2000, 20000, 22000, 40000, 42000}, []float64{1, 2, 20, 22, 0, 3}, 9000, 2000},
		"without a pause":          {[]int64{0, 2000, 4000, 5000, 6000, 8000}, []float64{1, 2, 20, end, 0, 3}, 3000, 3000},
	} {
		p := &evaluatedPod{}
		if track := findCurrentTrack(sel, tc.times, tc.values, 2000); track.start > 0 {
			p.noteTrackEnds(sel, track, tc.times, tc.values)
		}
		s := evaluationScan{orderedPods: []*evaluatedPod{p}}
		got := s.leaveSampleGaps(tc.at, func(t namedSampleTimes, i int) (timeSpan, bool) {
			return timeSpan{t.times[i-1], t.times[i]}, isPauseBetweenSamples(t.times[i]-t.times[i-1], 2000)
		}, func(gap timeSpan) int64 { return gap.from })
		if got != tc.want {
			t.Errorf("%s: %d, want %d", name, got, tc.want)
		}
	}
}
