package surge

import (
	"math"
	"testing"
	"time"
)

// TestSurgeAboveNoise: the same answers are a surge of a calm metric, and none of a metric that varies so anyway.
func TestSurgeAboveNoise(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		window time.Duration // 0: a gauge
		swing  float64       // of the steady total, to both sides
		total  float64       // then
		raises bool
	}{
		{"calm requests, doubled", time.Minute, 0.05, 80, true},
		{"requests in batches, doubled", time.Minute, 0.7, 80, false},
		{"requests in batches, tenfold", time.Minute, 0.7, 400, true},
		{"a calm gauge, doubled", 0, 1, 80, true},
		{"a restless gauge, doubled", 0, 10, 80, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newLaneSim()
			for i := range 120 {
				aligned := tc.window - tc.window/60*time.Duration(i%4) // the adapter aligns its windows to samples
				s.look(s.readTotal(40+tc.swing*float64(i%2*2-1), aligned))
			}
			raised := false
			for range 4 {
				raised = raised || s.look(s.readTotal(tc.total, tc.window/12)).Place
			}
			if raised != tc.raises {
				t.Errorf("raised: %t", raised)
			}
		})
	}
}

// TestScoreOfCount: for requests that come alone the score is the root of the likelihood ratio of their counts.
func TestScoreOfCount(t *testing.T) {
	t.Parallel()
	// 40 requests/s at a target of 20: the demand is 2, and the increments of a second have the variance 40/20².
	m := MetricMemory{Longest: time.Minute, SteadyDemand: 2, Squares: 40.0 / 400 * 600, Seconds: 600}
	got := m.scoreDemand(4, 4*time.Second) // 320 requests where 160 are expected
	if want := math.Sqrt(2 * (320*math.Log(2) - 160)); math.Abs(got-want) > 1e-9 {
		t.Errorf("score %g, want %g", got, want)
	}
	for name, score := range map[string]float64{
		"no more demand":      m.scoreDemand(2, 4*time.Second),
		"too little is known": (&MetricMemory{SteadyDemand: 2, Seconds: 10}).scoreDemand(40, 0),
	} {
		if score != 0 {
			t.Errorf("%s: score %g", name, score)
		}
	}
}
