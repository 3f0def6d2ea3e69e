package query

import (
	"math"
	"testing"
)

// TestCountQueriedBatches: batches are the counts that all increments of a counter are multiples of, if some are larger than others.
func TestCountQueriedBatches(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		counters [][]float64 // every 2 s
		want     float64
	}{
		"batches":              {[][]float64{{1020, 1040, 1040, 1060, 1100}}, 4},
		"one evenly":           {[][]float64{{0, 20, 40, 60, 80}, {0, 20, 20, 60, 80}}, 8},
		"all evenly":           {[][]float64{{0, 20, 40, 60, 80}, {7, 27, 47, 67, 87}}, math.Inf(1)},
		"single events":        {[][]float64{{0, 20, 41, 60, 80}}, 80},
		"parts of events":      {[][]float64{{0, 20.5, 41, 60, 80}}, math.Inf(1)},
		"an error of one page": {[][]float64{{0, 20, math.Inf(1), 60, 80}}, math.Inf(1)},
		"none":                 {[][]float64{{5, 5, 5, 5, 5}}, math.Inf(1)},
	} {
		s := evaluationScan{seriesBySelector: make([][]evaluatedSeries, 1)}
		for _, values := range tc.counters {
			s.seriesBySelector[0] = append(s.seriesBySelector[0], evaluatedSeries{times: []int64{0, 2000, 4000, 6000, 8000}, values: values})
		}
		if got := s.countQueriedBatches(0, timeSpan{0, 8000}); got != tc.want {
			t.Errorf("%s: %v batches, want %v", name, got, tc.want)
		}
	}
}
