package soak

import (
	"math"
	"testing"
	"time"
)

// TestGeneratorLate: a read that begins late, and those for some seconds after it, count as late; what was missed is not made up for.
func TestGeneratorLate(t *testing.T) {
	t.Parallel()
	var l lateness
	due := time.Unix(1_800_000_000, 0)
	for name, tc := range map[string]struct {
		due, began time.Duration
		want       bool
	}{
		"in time":              {0, time.Millisecond, false},
		"a bit after its time": {0, generatorDelay, false},
	} {
		if got := l.mark(due.Add(tc.due), due.Add(tc.began)); got != tc.want {
			t.Errorf("%s: late: %t, want %t", name, got, tc.want)
		}
	}
	late := due.Add(2 * generatorDelay)
	if !l.mark(due, late) || !l.mark(late.Add(generatorPause-1), late.Add(generatorPause-1)) || l.mark(late.Add(generatorPause), late.Add(generatorPause)) {
		t.Errorf("the reads of %s after a late one do not count as late, or later ones do", generatorPause)
	}
	pace := soakPace{gap: time.Millisecond, due: due}
	for range 3 {
		pace.next(due)
	}
	if n, at := pace.next(due); n != 4 || !at.Equal(due.Add(3*time.Millisecond)) {
		t.Errorf("read %d is due at %s", n, at)
	}
	pace.next(due.Add(time.Minute))
	if _, at := pace.next(due.Add(time.Minute)); !at.Equal(due.Add(time.Minute)) {
		t.Errorf("a minute of reads is made up for: the next is due at %s", at)
	}
}

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
