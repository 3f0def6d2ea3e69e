package surge

import (
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/tachometer-metrics/tachometer/pkg/hpa"
)

// TestRestlessMetricHidesNoSurge: of two metrics the requests surge for certain, and a restless gauge wants more pods now and then. The lane
// raises to what is certain.
func TestRestlessMetricHidesNoSurge(t *testing.T) {
	t.Parallel()
	for name, restless := range map[string]func(look int) int64{
		"always above": func(look int) int64 { return 22 + 4*int64(look%2) },
		"now and then": func(look int) int64 { return 4 + 20*int64(look%2) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newLaneSim()
			s.observed.Autoscaler.Spec.Metrics = append(s.observed.Autoscaler.Spec.Metrics, autoscalingv2.MetricSpec{
				Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{
					Metric: autoscalingv2.MetricIdentifier{Name: "jobs"},
					Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: resource.NewQuantity(1, resource.DecimalSI)},
				},
			})
			s.setPods(10)
			jobs := int64(0)
			gauge := func(*laneSim) Reading { return Reading{Answer: hpa.Answer{External: []int64{1000 * jobs}}} }
			for look := range 2 * steadyLooks {
				jobs = 12 * int64(look%2)
				s.lookAtAll(surgeReadings(func(s *laneSim) Reading { return s.readTotal(200, time.Minute) }, gauge))
			}
			var raised int32
			for look := range 10 {
				jobs = restless(look)
				if d := s.lookAtAll(surgeReadings(func(s *laneSim) Reading { return s.readTotal(400, 4*time.Second) }, gauge)); d.Place {
					raised = d.Memory.Raise.Replicas
				}
			}
			if raised != 20 {
				t.Errorf("raised to %d replicas, want 20", raised)
			}
		})
	}
}

// TestStabilizationOfWish: an autoscaler that wants a wish to last is raised to the least wish of that time, as it would decide.
func TestStabilizationOfWish(t *testing.T) {
	t.Parallel()
	s := newLaneSim()
	s.observed.Autoscaler.Spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{
		ScaleUp: &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: new(int32(30))},
	}
	s.settle(40, time.Minute, steadyLooks)
	var raised []int32
	for look := range 45 {
		total := 160.0
		if look >= 25 {
			total = 400
		}
		if d := s.look(s.readTotal(total, 4*time.Second)); d.Place {
			raised = append(raised, d.Memory.Raise.Replicas)
		}
	}
	if len(raised) == 0 || raised[0] != 8 || raised[len(raised)-1] != 8 {
		t.Errorf("raised to %d, want 8: 20 are wanted for 20 s, and the autoscaler wants 30", raised)
	}
}

// TestTimesOfAnswers: an adapter that does not name its replicas may write the time of the answer for that of the sample. A value that stands
// still under a new time is one sample.
func TestTimesOfAnswers(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, replica string
		step          float64 // from value to value
		raises        bool
	}{
		{"another adapter, one sample", "", 0, false},
		{"another adapter, new samples", "", 1, true},
		{"an adapter with the times of samples", "adapter-0", 0, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newLaneSim()
			s.settle(40, 0, steadyLooks)
			raised := false
			for look := range 8 {
				r := s.readTotal(400+tc.step*float64(look), 0)
				r.Newest, r.Replica = time.Time{}, tc.replica
				raised = raised || s.look(r).Place
			}
			if raised != tc.raises {
				t.Errorf("raised: %t, want %t", raised, tc.raises)
			}
		})
	}
}
