package window

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func samplesOf(pairs ...float64) (s []Sample) {
	for i := 0; i < len(pairs); i += 2 {
		s = append(s, Sample{int64(pairs[i]), pairs[i+1]})
	}
	return s
}

func TestHistoryAdd(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		series [][]Sample
		want   History
	}{
		"one sample":      {[][]Sample{samplesOf(0, 7)}, nil},
		"increments":      {[][]Sample{samplesOf(0, 7, 2, 9, 4, 9)}, History{{0, 2, 2}, {2, 4, 0}}},
		"a counter reset": {[][]Sample{samplesOf(0, 7, 2, 3, 4, 5)}, History{{2, 4, 2}}},
		"NaN is nothing":  {[][]Sample{samplesOf(0, 7, 2, math.NaN(), 4, 8, 6, 9)}, History{{4, 6, 1}}},
		"series of one page add up": {
			[][]Sample{samplesOf(0, 7, 2, 9, 4, 9), samplesOf(0, 1, 2, 2, 4, 4)}, History{{0, 2, 3}, {2, 4, 2}},
		},
		"a series that begins late": {
			[][]Sample{samplesOf(0, 7, 2, 9, 4, 9), samplesOf(2, 1, 4, 4)}, History{{0, 2, 2}, {2, 4, 3}},
		},
		"and the other way around": {
			[][]Sample{samplesOf(2, 1, 4, 4), samplesOf(0, 7, 2, 9, 4, 9)}, History{{0, 2, 2}, {2, 4, 3}},
		},
		"pages of their own": {
			[][]Sample{samplesOf(0, 1, 2, 2), samplesOf(1, 1, 3, 3)}, History{{0, 2, 1}, {1, 3, 2}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var h History
			for _, s := range tc.series {
				h.Add(s)
			}
			if d := cmp.Diff(tc.want, h); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}
