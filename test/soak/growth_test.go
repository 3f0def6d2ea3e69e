package soak

import (
	"math"
	"testing"
	"time"
)

// TestGrowth: growth is that of the medians of two quarters, so an outlier is none; a slope is that of the line through all samples.
func TestGrowth(t *testing.T) {
	t.Parallel()
	column := sampledColumn{of: func(s adapterSample) float64 { return s.goroutines }}
	for name, tc := range map[string]struct {
		value         func(i int) float64
		growth, slope float64
	}{
		"steady":      {func(int) float64 { return 100 }, 0, 0},
		"one outlier": {func(i int) float64 { return map[bool]float64{true: 900}[i == 90] + 100 }, 0, math.NaN()},
		"a leak":      {func(i int) float64 { return 100 + float64(i) }, 0.36, 60},
		"shrinking":   {func(i int) float64 { return 200 - float64(i) }, -0.31, -60},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			samples := make([]adapterSample, 100)
			for i := range samples {
				samples[i] = adapterSample{at: time.Duration(i) * time.Minute, goroutines: tc.value(i)}
			}
			if got := growthOf(samples, column); math.Abs(got-tc.growth) > 0.01 {
				t.Errorf("growth %v, want %v", got, tc.growth)
			}
			if got := slopeOf(samples, column); math.Abs(got-tc.slope) > 0.01 {
				t.Errorf("slope %v an hour, want %v", got, tc.slope)
			}
		})
	}
}
