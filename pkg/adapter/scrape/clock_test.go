package scrape

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestClockStep sets the wall clock and compares the time that passes on the SampleClock with the time that passes.
func TestClockStep(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		step   time.Duration
		settle time.Duration // until the clock shows the wall clock's time again
	}{
		"not set":          {0, 0},
		"back by 2s":       {-2 * time.Second, 8 * time.Minute},
		"back by 5s":       {-5 * time.Second, 20 * time.Minute},
		"forward by 20s":   {20 * time.Second, 70 * time.Minute},
		"resumed":          {5 * time.Hour, time.Second},
		"back by an hour":  {-time.Hour, 201 * time.Hour},
		"forward by an ms": {time.Millisecond, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				step := time.Duration(0)
				readWall := func() time.Time { return time.Now().Round(0).Add(step) }
				c := newSampleClockWithWall(readWall)
				passFakeTime(time.Minute)
				before := c.Now()
				step = tc.step
				passFakeTime(time.Second)
				for range 100 {
					next := c.Now()
					if passed := next.Sub(before) - time.Second; passed.Abs() > 6*time.Millisecond && passed < maxClockLag {
						t.Fatalf("a second took %v", passed+time.Second)
					}
					before = next
					passFakeTime(time.Second)
				}
				for range int(tc.settle / time.Second) {
					passFakeTime(time.Second)
					c.Now()
				}
				if off := c.Now().Sub(readWall()); off.Abs() > time.Millisecond {
					t.Errorf("off by %v after %v", off, tc.settle)
				}
			})
		})
	}
}
