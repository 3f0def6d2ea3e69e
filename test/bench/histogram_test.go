package main

import (
	"math"
	"testing"
)

func TestQuantile(t *testing.T) {
	t.Parallel()
	inf := math.Inf(1)
	before := histogram{{0.001, 10}, {0.01, 20}, {inf, 20}}
	for name, tc := range map[string]struct {
		after histogram
		want  float64
		seen  bool
	}{
		"nothing new":        {before, 0, false},
		"other buckets":      {histogram{{1, 20}}, 0, false},
		"in the first":       {histogram{{0.001, 110}, {0.01, 120}, {inf, 120}}, 0.00099, true},
		"in the second":      {histogram{{0.001, 10}, {0.01, 120}, {inf, 120}}, 0.00991, true},
		"beyond all buckets": {histogram{{0.001, 10}, {0.01, 20}, {inf, 120}}, 0.01, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, seen := tc.after.histogramObservedSince(before).interpolateHistogramQuantile(0.99)
			if math.Abs(got-tc.want) > 1e-9 || seen != tc.seen {
				t.Errorf("quantile = %g, %t, want %g, %t", got, seen, tc.want, tc.seen)
			}
		})
	}
}
