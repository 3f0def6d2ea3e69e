// Increments from the samples of counters.

package window

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type seriesSamples struct {
	times  []int64
	values []float64
}

func newSeriesSamples(pairs ...float64) (s seriesSamples) {
	for i := 0; i < len(pairs); i += 2 {
		s.times, s.values = append(s.times, int64(pairs[i])), append(s.values, pairs[i+1])
	}
	return s
}

func TestHistoryAdd(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		series []seriesSamples
		want   History
	}{
		"one sample":      {[]seriesSamples{newSeriesSamples(0, 7)}, nil},
		"increments":      {[]seriesSamples{newSeriesSamples(0, 7, 2, 9, 4, 9)}, History{{0, 2, 2}, {2, 4, 0}}},
		"a counter reset": {[]seriesSamples{newSeriesSamples(0, 7, 2, 3, 4, 5)}, History{{2, 4, 2}}},
		"NaN is nothing":  {[]seriesSamples{newSeriesSamples(0, 7, 2, math.NaN(), 4, 8, 6, 9)}, History{{4, 6, 1}}},
		"series of one page add up": {
			[]seriesSamples{newSeriesSamples(0, 7, 2, 9, 4, 9), newSeriesSamples(0, 1, 2, 2, 4, 4)}, History{{0, 2, 3}, {2, 4, 2}},
		},
		"a series that begins late": {
			[]seriesSamples{newSeriesSamples(0, 7, 2, 9, 4, 9), newSeriesSamples(2, 1, 4, 4)}, History{{0, 2, 2}, {2, 4, 3}},
		},
		"and the other way around": {
			[]seriesSamples{newSeriesSamples(2, 1, 4, 4), newSeriesSamples(0, 7, 2, 9, 4, 9)}, History{{0, 2, 2}, {2, 4, 3}},
		},
		"pages of their own": {
			[]seriesSamples{newSeriesSamples(0, 1, 2, 2), newSeriesSamples(1, 1, 3, 3)}, History{{0, 2, 1}, {1, 3, 2}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var h History
			for _, s := range tc.series {
				h.Add(s.times, s.values)
			}
			if d := cmp.Diff(tc.want, h); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}
