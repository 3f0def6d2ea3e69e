// The estimate of φ on simulated traffic.

package window

import (
	"fmt"
	"testing"
	"time"
)

// TestDispersion: the estimate is near the truth, divided by sharedShare, for batches, and mostly 1 for Poisson traffic.
func TestDispersion(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		rate, batch float64
		low, high   float64
	}{{1, 1, 1, 1.1}, {5, 1, 1, 1.25}, {40, 1, 1, 1.25}, {400, 1, 1, 1.25}, {40, 3, 3, 5}, {400, 5, 5.5, 8}, {400, 20, 22, 32}} {
		t.Run(fmt.Sprintf("%g in batches of %g", tc.rate, tc.batch), func(t *testing.T) {
			t.Parallel()
			s := simulateTraffic(1, 4, 1000, steadyLoad(tc.rate/tc.batch)).multiplyCounts(tc.batch)
			mean, looks := 0.0, 0.0
			for now := int64(70_000); now < 1_000_000; now += 1000 {
				s.advanceTo(now)
				g, _ := newAgeGrid(s.view, now, longest.Milliseconds())
				mean += estimateDispersion(s.view, s.view, g)
				looks++
			}
			if mean /= looks; mean < tc.low || mean > tc.high {
				t.Errorf("φ is %.2f on average, want %g to %g", mean, tc.low, tc.high)
			}
		})
	}
}

// TestDispersionOfManySteps: steps of the load are no batches, however many there are. Batches beside a steady load are no steps.
func TestDispersionOfManySteps(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		load      trueLoad
		low, high float64
	}{
		"a step each 12 s":             {burstLoad(40, 400, 12, 12), 1, 2},
		"a step each 17 s":             {burstLoad(40, 400, 17, 17), 1, 2},
		"a batch of 400 each 10 s":     {burstLoad(40, 840, 9.5, 0.5), 20, 300},
		"batches of 400, each for 4 s": {burstLoad(40, 140, 4, 4), 20, 300},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := simulateTraffic(1, 4, 1000, tc.load)
			mean, looks := 0.0, 0.0
			for now := int64(70_000); now < 1_000_000; now += 1000 {
				s.advanceTo(now)
				g, _ := newAgeGrid(s.view, now, longest.Milliseconds())
				mean += estimateDispersion(s.view, s.view, g)
				looks++
			}
			if mean /= looks; mean < tc.low || mean > tc.high {
				t.Errorf("φ is %.2f on average, want %g to %g", mean, tc.low, tc.high)
			}
		})
	}
}

// TestBatchesBesideDepartedPods counts a pod in batches beside pods that left, whose last pages came sooner than an interval: the cells of
// the total are an interval of the pod that stays.
func TestBatchesBesideDepartedPods(t *testing.T) {
	t.Parallel()
	var batches History
	for at, n := int64(18_067), 3; at < 92_067; at, n = at+2000, n+1 {
		count := 100.0
		if n%5 == 0 {
			count = 0
		}
		batches = append(batches, Increment{From: at, To: at + 2000, Count: count})
	}
	departed := History{{From: 18_317, To: 20_317}, {From: 20_317, To: 21_285}, {From: 21_285, To: 22_254}, {From: 22_254, To: 23_223}}
	for end := range 5 {
		c := Counter{Pods: []History{batches[:len(batches)-end], departed, departed, departed}}
		if got := ChooseTotal(c, batches[len(batches)-end-1].To, time.Minute); got != time.Minute {
			t.Errorf("%d increments ago: window %v, want the longest", end, got)
		}
	}
}
