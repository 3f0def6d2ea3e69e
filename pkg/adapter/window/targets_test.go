// The promises for steps, steady rates and the HPA.

package window

import (
	"fmt"
	"math"
	"testing"
)

// After a promised step the served total is right in time, 95 times in 100.
func TestSteps(t *testing.T) {
	t.Parallel()
	for _, pods := range []int{4, 100} {
		for _, c := range loadSteps {
			if c.deadline == 0 || pods > 4 && max(c.from, c.to) > 400 {
				continue // no promise, or the report covers it
			}
			t.Run(fmt.Sprintf("%g to %g on %d pods", c.from, c.to, pods), func(t *testing.T) {
				t.Parallel()
				seeds := 100
				if pods > 4 {
					seeds = 40 // these take long with the race detector
				}
				auto, _ := c.measureReactions(pods, seeds)
				if got := auto.lagShare(c.deadline); got < 95 {
					t.Errorf("%.0f %% in %g s, want 95; the 95th percentile is %.1f s", got, c.deadline, auto.lagQuantile(0.95))
				}
			})
		}
	}
}

// At a steady rate the served total varies hardly more than over the longest window.
func TestSteady(t *testing.T) {
	t.Parallel()
	for _, pods := range []int{4, 100} {
		for _, tc := range []struct{ rate, batch float64 }{{1, 1}, {5, 1}, {40, 1}, {400, 1}, {40, 5}, {400, 10}} {
			t.Run(fmt.Sprintf("%g in batches of %g on %d pods", tc.rate, tc.batch, pods), func(t *testing.T) {
				t.Parallel()
				c := measureSteady(tc.rate, tc.batch, pods, 7200/math.Sqrt(float64(pods)))
				if c.ratio > 1.15 {
					t.Errorf("standard deviation %.2f × that of the longest window, want at most 1.15", c.ratio)
				}
			})
		}
	}
}

// An HPA requests no more replicas than with the longest window.
func TestReplicas(t *testing.T) {
	t.Parallel()
	for _, rate := range []float64{5, 40, 400} {
		var auto, plain requestedReplicas
		for seed := range uint64(10) {
			a, p := measureHPA(rate, 4, seed)
			auto = requestedReplicas{max(auto.maximum, a.maximum), auto.mean + a.mean/10}
			plain = requestedReplicas{max(plain.maximum, p.maximum), plain.mean + p.mean/10}
		}
		if auto.maximum > plain.maximum || auto.mean > plain.mean+1e-9 {
			t.Errorf("at %g requests/s: %+v, with the longest window %+v", rate, auto, plain)
		}
	}
}

// Slow or rare changes are followed more closely than over the longest window.
func TestFollows(t *testing.T) {
	t.Parallel()
	for _, s := range loadShapes {
		if auto, plain := meanErrors(s.load, 4, shapeSeconds); auto > plain/2 {
			t.Errorf("%s: off by %.1f requests/s on average, over the longest window by %.1f", s.name, auto, plain)
		}
	}
}
