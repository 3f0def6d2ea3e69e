package window

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type samples struct {
	times  []int64
	values []float64
}

func samplesOf(pairs ...float64) (s samples) {
	for i := 0; i < len(pairs); i += 2 {
		s.times, s.values = append(s.times, int64(pairs[i])), append(s.values, pairs[i+1])
	}
	return s
}

func TestHistoryAdd(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		series []samples
		want   History
	}{
		"one sample":      {[]samples{samplesOf(0, 7)}, nil},
		"increments":      {[]samples{samplesOf(0, 7, 2, 9, 4, 9)}, History{{0, 2, 2}, {2, 4, 0}}},
		"a counter reset": {[]samples{samplesOf(0, 7, 2, 3, 4, 5)}, History{{2, 4, 2}}},
		"NaN is nothing":  {[]samples{samplesOf(0, 7, 2, math.NaN(), 4, 8, 6, 9)}, History{{4, 6, 1}}},
		"series of one page add up": {
			[]samples{samplesOf(0, 7, 2, 9, 4, 9), samplesOf(0, 1, 2, 2, 4, 4)}, History{{0, 2, 3}, {2, 4, 2}},
		},
		"a series that begins late": {
			[]samples{samplesOf(0, 7, 2, 9, 4, 9), samplesOf(2, 1, 4, 4)}, History{{0, 2, 2}, {2, 4, 3}},
		},
		"and the other way around": {
			[]samples{samplesOf(2, 1, 4, 4), samplesOf(0, 7, 2, 9, 4, 9)}, History{{0, 2, 2}, {2, 4, 3}},
		},
		"pages of their own": {
			[]samples{samplesOf(0, 1, 2, 2), samplesOf(1, 1, 3, 3)}, History{{0, 2, 1}, {1, 3, 2}},
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
