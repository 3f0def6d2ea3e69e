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

// Steps that follow each other are found as soon as a single one, although several are within the longest window.
func TestManySteps(t *testing.T) {
	t.Parallel()
	for _, pods := range []int{4, 20} {
		t.Run(fmt.Sprintf("%d pods", pods), func(t *testing.T) {
			t.Parallel()
			up, down := measureManySteps(40, 400, pods, 10)
			t.Logf("up %s s, down %s s", up, down)
			if got := up.lagShare(upWithin); got < 95 {
				t.Errorf("up: %.0f %% in %g s, want 95", got, upWithin)
			}
			if got := down.lagShare(downWithin); got < 95 {
				t.Errorf("down: %.0f %% in %g s, want 95", got, downWithin)
			}
		})
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

// Batches that a load balancer spreads over pods vary hardly more than over the longest window either.
func TestSpreadBatches(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		pods        int
		rate, batch float64
	}{{4, 40, 10}, {20, 400, 10}, {4, 400, 10}, {4, 4, 20}, {1, 4, 20}, {2, 40, 5}, {10, 1000, 50}} {
		t.Run(fmt.Sprintf("%g in batches of %g on %d pods", tc.rate, tc.batch, tc.pods), func(t *testing.T) {
			t.Parallel()
			const seconds = 7200
			c := simulateSpreadBatches(1, tc.pods, seconds, tc.rate, tc.batch).measureVariation(tc.rate, seconds)
			t.Logf("%.2f × the standard deviation, shorter windows in %.2f %%, greatest %.2f × the truth (%.2f)", c.ratio, c.shortShare, c.maxRatio, c.plainMaxRatio)
			if c.ratio > 1.15 {
				t.Errorf("standard deviation %.2f × that of the longest window, want at most 1.15", c.ratio)
			}
		})
	}
}

// A counter that jumps, at the latest every half of the longest window, is read within a jump of the longest window.
func TestJumps(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		pods         int
		size, period float64
	}{{1, 100, 10}, {1, 20, 10}, {4, 100, 30}, {1, 100, 5}, {1, 10, 10}, {1, 100, 25}, {1, 1000, 20}, {2, 100, 20}, {4, 100, 10}, {20, 50, 30}, {1, 7, 3}} {
		t.Run(fmt.Sprintf("%g every %g s on %d pods", tc.size, tc.period, tc.pods), func(t *testing.T) {
			t.Parallel()
			const seconds = 3600
			s := simulateJumps(2, tc.pods, seconds, tc.size, tc.period)
			short, reads := 0.0, 0.0
			for now := int64(settleSeconds * 1000); now < seconds*1000; now += 500 {
				s.advanceTo(now)
				total, w := s.autoTotal(now)
				if w < longest {
					short++
				}
				reads++
				if plain := s.windowTotal(now, longest); math.Abs(total-plain) > tc.size/longest.Seconds()+1e-9 {
					t.Fatalf("at %d ms: %g over %s, %g over the longest window", now, total, w, plain)
				}
			}
			t.Logf("shorter windows in %.2f %%", 100*short/reads)
		})
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
