package surge

import (
	"math"
	"slices"
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
	m := LaneMetricMemory{Longest: time.Minute, SteadyDemand: 2, Noise: noiseSum{40.0 / 400 * 600, 600}}
	got := m.scoreDemand(4, 4*time.Second, 2) // 320 requests where 160 are expected
	if want := math.Sqrt(2 * (320*math.Log(2) - 160)); math.Abs(got-want) > 1e-9 {
		t.Errorf("score %g, want %g", got, want)
	}
	for name, score := range map[string]float64{
		"no more demand":      m.scoreDemand(2, 4*time.Second, 2),
		"too little is known": (&LaneMetricMemory{SteadyDemand: 2, Noise: noiseSum{Seconds: 10}}).scoreDemand(40, 0, 2),
	} {
		if score != 0 {
			t.Errorf("%s: score %g", name, score)
		}
	}
}

// TestStepIsNoNoise: ways up and down leave the learned noise as it was, so that a small surge after large ones still stands out.
func TestStepIsNoNoise(t *testing.T) {
	t.Parallel()
	s := newLaneSim()
	settle := func(total float64, looks int) {
		for i := range looks {
			s.look(s.readTotal(total+0.05*float64(i%2*2-1), time.Minute))
		}
	}
	settle(40, 120)
	calm := s.measureVariance()
	for range 4 {
		s.look(s.readTotal(46, time.Minute)) // a second of the step, in the longest window: the adapter has not found it
		s.setPods(20)
		s.settle(400, 4*time.Second, 40)
		settle(400, 30)
		s.look(s.readTotal(394, time.Minute))
		s.settle(40, 4*time.Second, 20)
		s.setPods(2)
		s.settle(40, 30*time.Second, 25)
		settle(40, 30)
	}
	if got := s.measureVariance(); got > 2*calm {
		t.Errorf("the variance is %.3g after steps, %.3g before", got, calm)
	}
}

// measureVariance returns the variance of the first metric's noise.
func (s *laneSim) measureVariance() float64 {
	m := s.memory.Metrics[0]
	return (m.Noise.Squares + m.Recent[0].Squares + m.Recent[1].Squares) / (m.Noise.Seconds + m.Recent[0].Seconds + m.Recent[1].Seconds)
}

// TestScalingIsNoNoise: the load is steady, and the autoscaler removes and adds pods. For some looks the answer is still that of the pods
// before, so that the demand seems to jump. That is no noise.
func TestScalingIsNoNoise(t *testing.T) {
	t.Parallel()
	for _, lag := range []int{0, 1, 3} {
		s := newLaneSim()
		s.setPods(20)
		settle := func(looks int) {
			for i := range looks {
				s.look(s.readTotal(40+0.05*float64(i%2*2-1), time.Minute))
			}
		}
		settle(120)
		calm := s.measureVariance()
		for _, pods := range []int{3, 2, 6, 2} {
			before := s.readTotal(40, time.Minute)
			s.setPods(pods)
			for range lag {
				before.Newest = s.observed.Now
				s.look(before)
			}
			settle(40)
		}
		if got := s.measureVariance(); got > 2*calm {
			t.Errorf("an answer late by %d looks: the variance is %.3g after the autoscaler scaled, %.3g before", lag, got, calm)
		}
	}
}

// TestSurgeSoonAfterWayDown: the autoscaler has removed the pods of an earlier surge, so that the same load again is a surge, even before
// the longest window is over. The raise follows the metric up.
func TestSurgeSoonAfterWayDown(t *testing.T) {
	t.Parallel()
	s := newLaneSim()
	s.setPods(20)
	for i := range 120 {
		s.look(s.readTotal(400+float64(i%2), time.Minute))
	}
	s.setPods(2)
	s.settle(40, 20*time.Second, 15)
	var raised []int32
	for _, total := range []float64{100, 200, 320, 320, 380, 400, 400} {
		if d := s.look(s.readTotal(total, 4*time.Second)); d.Place {
			raised = append(raised, d.Memory.Raise.Replicas)
			s.setPods(int(d.Memory.Raise.Replicas))
		}
	}
	if want := []int32{16, 19}; !slices.Equal(raised, want) || len(s.memory.Raises) != 1 {
		t.Errorf("holds of %v replicas in %d raises, want %v in one", raised, len(s.memory.Raises), want)
	}
}
