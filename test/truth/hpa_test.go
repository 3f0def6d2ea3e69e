package truth

import (
	"math"
	"strings"
	"testing"
	"time"
)

// TestScalingWish judges wishes of an autoscaler with a target of 10 and 6 pods, which need between 54 and 66.
func TestScalingWish(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		want  int
		load  scalingLoad
		fault string
	}{
		"as offered":                      {8, scalingLoad{offered: 80, low: 80, high: 80, window: time.Minute}, ""},
		"more, and fewer are offered":     {8, scalingLoad{offered: 50, low: 50, high: 50, window: time.Minute}, "5.00 to 5.00 are right"},
		"fewer, and more are offered":     {5, scalingLoad{offered: 70, low: 70, high: 70, window: time.Minute}, "7.00 to 7.00 are right"},
		"more, within the tolerance":      {8, scalingLoad{offered: 55, low: 55, high: 55, window: time.Minute}, ""},
		"more batches happened":           {9, scalingLoad{offered: 50, low: 80, high: 90, batch: 10, window: 3 * time.Second}, ""},
		"neither offered nor happened":    {9, scalingLoad{offered: 50, low: 48, high: 52, batch: 10, window: 3 * time.Second}, "4.80 to 5.20 are right"},
		"chance does not explain so many": {9, scalingLoad{offered: 50, low: 80, high: 90, batch: 10, window: time.Minute}, "chance does not explain"},
		"fewer batches happened":          {5, scalingLoad{offered: 70, low: 40, high: 50, batch: 10, window: 20 * time.Second}, ""},
		"chance does not explain so few":  {5, scalingLoad{offered: 70, low: 40, high: 50, batch: 1, window: time.Minute}, "chance does not explain"},
	} {
		got := scalingWish{want: c.want, current: 6, target: 10}.findFault(c.load)
		if (got == "") != (c.fault == "") || !strings.Contains(got, c.fault) {
			t.Errorf("%s: %q, want %q", name, got, c.fault)
		}
	}
}

// TestBoundPoissonTail compares the bound with the sum of the probabilities.
func TestBoundPoissonTail(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ n, mean float64 }{{30, 20}, {45, 20}, {9, 20}, {3, 20}, {0, 20}, {5, 0.5}} {
		exact := 0.0
		for k := 0.0; k < 400; k++ {
			lgamma, _ := math.Lgamma(k + 1)
			if c.n >= c.mean && k >= c.n || c.n < c.mean && k <= c.n {
				exact += math.Exp(k*math.Log(c.mean) - c.mean - lgamma)
			}
		}
		if got := boundPoissonTail(c.n, c.mean); got < exact || got > 15*exact {
			t.Errorf("n %v of mean %v: bound %v, exact %v", c.n, c.mean, got, exact)
		}
	}
}
