package surge

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/hpa"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// TestReleasedHold: a hold that a person releases or deletes is undone, as if reverted. A hold that ends by itself is none.
func TestReleasedHold(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		release func(*laneSim)
		after   int // looks of the hold
		stopped bool
	}{
		"deleted":          {func(s *laneSim) { s.observed.Holds = nil }, 5, true},
		"being deleted":    {func(s *laneSim) { s.observed.Holds[0].DeletionTimestamp = &metav1.Time{Time: s.observed.Now} }, 5, true},
		"not in the cache": {func(s *laneSim) { s.observed.Holds = nil }, 0, false},
		"at its end":       {func(s *laneSim) { s.observed.Holds = nil }, int(holdFor/lookInterval) - 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newLaneSim()
			s.settle(40, time.Minute, steadyLooks)
			s.step()
			raise := s.memory.Raise
			if raise == nil {
				t.Fatal("no raise")
			}
			s.setPods(20)
			s.observed.Autoscaler.Status = autoscalingv2.HorizontalPodAutoscalerStatus{CurrentReplicas: 20, DesiredReplicas: 20}
			s.observed.Holds = []hold.Object{*hold.NewObject(workloadOfAutoscaler(s.observed.Autoscaler), hold.Hold{ID: HoldID, Replicas: 20, Until: raise.Until}, "")}
			s.settle(400, 10*time.Second, tc.after)
			tc.release(s)
			s.setPods(2)
			s.settle(400, 20*time.Second, 10)
			if got := strings.Contains(fmt.Sprint(s.notices), ReasonStopped); got != tc.stopped {
				t.Errorf("stopped: %t; notices %v", got, s.notices)
			}
			if got := s.observed.Now.Before(s.memory.OffUntil); got != tc.stopped {
				t.Errorf("off: %t", got)
			}
		})
	}
}

// TestSeveralMetrics: the largest wish counts, as for the autoscaler. A metric without an answer stops the lane, and CPU does not.
func TestSeveralMetrics(t *testing.T) {
	t.Parallel()
	queueMetric := autoscalingv2.MetricSpec{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{
		Metric: autoscalingv2.MetricIdentifier{Name: "queue"},
		Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: resource.NewQuantity(5, resource.DecimalSI)},
	}}
	cpu := autoscalingv2.MetricSpec{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{
		Name: "cpu", Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: new(int32(70))},
	}}
	queueOf := func(messages int64) func(*laneSim) Reading {
		return func(*laneSim) Reading { return readQueue(messages) }
	}
	total := func(requests float64, window time.Duration) func(*laneSim) Reading {
		return func(s *laneSim) Reading { return s.readTotal(requests, window) }
	}
	unread := func(*laneSim) Reading { return Reading{IsUnread: true, Answer: hpa.Answer{Err: errUnread}} }
	failed := func(*laneSim) Reading { return Reading{Answer: hpa.Answer{Err: errors.New("404")}} }
	for name, tc := range map[string]struct {
		metrics       []autoscalingv2.MetricSpec // beside the requests
		calm, surging []func(*laneSim) Reading
		replicas      int32 // of the raise; 0: none
		skip          Skip
	}{
		"requests surge":              {[]autoscalingv2.MetricSpec{queueMetric}, surgeReadings(total(40, time.Minute), queueOf(5)), surgeReadings(total(400, 4*time.Second), queueOf(5)), 20, ""},
		"the queue surges":            {[]autoscalingv2.MetricSpec{queueMetric}, surgeReadings(total(40, time.Minute), queueOf(5)), surgeReadings(total(40, time.Minute), queueOf(150)), 30, ""},
		"both surge":                  {[]autoscalingv2.MetricSpec{queueMetric}, surgeReadings(total(40, time.Minute), queueOf(5)), surgeReadings(total(400, 4*time.Second), queueOf(150)), 30, ""},
		"beside CPU":                  {[]autoscalingv2.MetricSpec{cpu}, surgeReadings(total(40, time.Minute), unread), surgeReadings(total(400, 4*time.Second), unread), 20, ""},
		"beside a metric that is 404": {[]autoscalingv2.MetricSpec{queueMetric}, surgeReadings(total(40, time.Minute), failed), surgeReadings(total(400, 4*time.Second), failed), 0, SkipUnanswered},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newLaneSim()
			a := s.observed.Autoscaler
			for _, m := range tc.metrics {
				a.Spec.Metrics = append(a.Spec.Metrics, *m.DeepCopy()) // a Quantity keeps its text when it is first printed
			}
			for range 2 * steadyLooks {
				s.lookAtAll(tc.calm)
			}
			var last LaneDecision
			for range 4 {
				last = s.lookAtAll(tc.surging)
			}
			switch raise := last.Memory.Raise; {
			case tc.replicas == 0 && raise != nil:
				t.Errorf("raise to %d", raise.Replicas)
			case tc.replicas > 0 && (raise == nil || raise.Replicas != tc.replicas):
				t.Errorf("%+v, want %d replicas", raise, tc.replicas)
			}
			if last.Skip != tc.skip {
				t.Errorf("skip %q, want %q", last.Skip, tc.skip)
			}
		})
	}
}

func surgeReadings(all ...func(*laneSim) Reading) []func(*laneSim) Reading { return all }

// lookAtAll makes a look at several metrics, a second after the last.
func (s *laneSim) lookAtAll(metrics []func(*laneSim) Reading) LaneDecision {
	s.observed.Now = s.observed.Now.Add(lookInterval)
	s.observed.Readings = nil
	for _, read := range metrics {
		r := read(s)
		if r.Newest.IsZero() && r.Err == nil {
			r.Newest = s.observed.Now
		}
		s.observed.Readings = append(s.observed.Readings, r)
	}
	d := Decide(s.observed, s.memory)
	s.memory = d.Memory
	return d
}

// TestReorderedMetrics: an edit that changes the order of the metrics, or puts another in a metric's place, begins their memories anew and
// raises nothing by the old.
func TestReorderedMetrics(t *testing.T) {
	t.Parallel()
	s := newLaneSim()
	a := s.observed.Autoscaler
	other := *a.Spec.Metrics[0].DeepCopy()
	other.Pods.Metric.Name = "events_per_second"
	a.Spec.Metrics = append(a.Spec.Metrics, other)
	small, large := func(s *laneSim) Reading { return s.readTotal(4, time.Minute) }, func(s *laneSim) Reading { return s.readTotal(40, time.Minute) }
	for range 2 * steadyLooks {
		s.lookAtAll(surgeReadings(small, large))
	}
	a.Spec.Metrics[0], a.Spec.Metrics[1] = a.Spec.Metrics[1], a.Spec.Metrics[0]
	for range 10 {
		if d := s.lookAtAll(surgeReadings(large, small)); d.Place {
			t.Fatalf("raise to %d", d.Memory.Raise.Replicas)
		}
	}
}
