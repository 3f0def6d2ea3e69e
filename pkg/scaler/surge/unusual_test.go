package surge

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/hpa"
)

// TestBesideUnreadMetric: CPU keeps more pods than the requests want, or minReplicas does. The lane knows the steady requests all the same.
func TestBesideUnreadMetric(t *testing.T) {
	t.Parallel()
	utilization := autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: new(int32(70))}
	unread := Reading{IsUnread: true, Answer: hpa.Answer{Err: errUnread}}
	for name, m := range map[string]autoscalingv2.MetricSpec{
		"CPU": {
			Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{Name: "cpu", Target: utilization},
		},
		"CPU of a container": {
			Type:              autoscalingv2.ContainerResourceMetricSourceType,
			ContainerResource: &autoscalingv2.ContainerResourceMetricSource{Name: "cpu", Container: "app", Target: utilization},
		},
	} {
		for _, isFirst := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, first %t", name, isFirst), func(t *testing.T) {
				t.Parallel()
				s := newLaneSim()
				s.setPods(4)
				a := s.observed.Autoscaler
				if a.Spec.Metrics = append(a.Spec.Metrics, *m.DeepCopy()); isFirst {
					a.Spec.Metrics[0], a.Spec.Metrics[1] = a.Spec.Metrics[1], a.Spec.Metrics[0]
				}
				look := func(total float64, window time.Duration) LaneDecision {
					all := surgeReadings(func(s *laneSim) Reading { return s.readTotal(total, window) }, func(*laneSim) Reading { return unread })
					if isFirst {
						all[0], all[1] = all[1], all[0]
					}
					return s.lookAtAll(all)
				}
				for range 2 * steadyLooks {
					look(40, time.Minute)
				}
				var last LaneDecision
				for range completeLooks {
					last = look(400, 4*time.Second)
				}
				if r := last.Memory.Raise; r == nil || r.Replicas != 20 {
					t.Errorf("%+v, skip %q; want a raise to 20", r, last.Skip)
				}
				if len(a.Spec.Metrics) != 2 {
					t.Error("the autoscaler lost a metric")
				}
			})
		}
	}
}

// TestOnlyUnreadMetrics: an autoscaler of CPU alone has its own reason.
func TestOnlyUnreadMetrics(t *testing.T) {
	t.Parallel()
	s := newLaneSim()
	s.observed.Autoscaler.Spec.Metrics = []autoscalingv2.MetricSpec{{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{
		Name: "cpu", Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: new(int32(70))},
	}}}
	if d := s.look(Reading{IsUnread: true, Answer: hpa.Answer{Err: errUnread}}); d.Skip != SkipUnread {
		t.Errorf("skip %q, want %q", d.Skip, SkipUnread)
	}
}

// newValueSims returns autoscalers of 2 pods with a target of 100 for a whole queue, as an Object and as an External metric.
func newValueSims() map[string]*laneSim {
	target := autoscalingv2.MetricTarget{Type: autoscalingv2.ValueMetricType, Value: resource.NewQuantity(100, resource.DecimalSI)}
	id := autoscalingv2.MetricIdentifier{Name: "queue_messages"}
	sims := map[string]*laneSim{}
	for kind, m := range map[string]autoscalingv2.MetricSpec{
		"Object": {Type: autoscalingv2.ObjectMetricSourceType, Object: &autoscalingv2.ObjectMetricSource{
			DescribedObject: autoscalingv2.CrossVersionObjectReference{APIVersion: "v1", Kind: "Service", Name: "web"}, Metric: id, Target: target,
		}},
		"External": {Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{Metric: id, Target: target}},
	} {
		s := newLaneSim()
		s.observed.Autoscaler.Spec.Metrics, s.observed.Autoscaler.Spec.MaxReplicas = []autoscalingv2.MetricSpec{m}, 1000
		sims[kind] = s
	}
	return sims
}

// readValue returns a reading of a whole queue, for an Object as for an External metric.
func readValue(messages int64) Reading {
	return Reading{Replica: "adapter-0", Answer: hpa.Answer{Object: 1000 * messages, External: []int64{1000 * messages}}}
}

// TestValueTargetDoesNotCompound: a target of the type Value multiplies the ready pods. The pods of the raise are no further load, whether
// they are ready within its first period or later; the hold is extended all the same.
func TestValueTargetDoesNotCompound(t *testing.T) {
	t.Parallel()
	for kind, s := range newValueSims() {
		for i := range 120 {
			s.look(readValue(95 + int64(i%3)))
		}
		raised, extended := []int32{}, false
		for range 25 {
			if d := s.look(readValue(1000)); d.Place {
				extended = extended || len(raised) > 0 && d.Memory.Raise.Replicas == raised[len(raised)-1]
				raised = append(raised, d.Memory.Raise.Replicas)
				s.setPods(int(d.Memory.Raise.Replicas))
			}
		}
		if len(s.memory.Raises) != 1 || raised[0] != 20 || s.memory.Raise == nil || s.memory.Raise.Replicas != 20 || !extended {
			t.Errorf("%s: holds of %v replicas in %d raises, extended: %t; want 20 in one", kind, raised, len(s.memory.Raises), extended)
		}
	}
}

// TestValueTargetInRollout: a rollout has more ready pods than the workload wants. They are no more load.
func TestValueTargetInRollout(t *testing.T) {
	t.Parallel()
	for kind, s := range newValueSims() {
		s.setPods(4)
		for i := range 120 {
			s.look(readValue(105 + int64(i%3)))
		}
		old := s.observed.Pods
		s.setPods(8)
		s.observed.Replicas = 4
		s.observed.Pods = append(s.observed.Pods[4:], old...)
		for range 10 {
			if d := s.look(readValue(115)); d.Place {
				t.Fatalf("%s: raise to %d replicas", kind, d.Memory.Raise.Replicas)
			}
		}
	}
}

// TestHardlyAnyRoom: within its limits the raise would add less than a quarter. That is left to the autoscaler, and costs no budget.
func TestHardlyAnyRoom(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		pods       int
		low        int32 // maxReplicas of the autoscaler
		terms      int32
		want       int32 // 0: no raise
		wantBudget int
	}{
		"one below the autoscaler's maxReplicas": {pods: 10, low: 11},
		"one below the maxReplicas of the terms": {pods: 10, low: 40, terms: 11},
		"a half more":                            {pods: 2, low: 3, want: 3, wantBudget: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newLaneSim()
			s.setPods(tc.pods)
			s.observed.Autoscaler.Spec.MaxReplicas, s.observed.Terms.MaxReplicas = tc.low, tc.terms
			s.settle(float64(20*tc.pods), time.Minute, steadyLooks)
			s.settle(float64(200*tc.pods), 4*time.Second, completeLooks)
			got := int32(0)
			if s.memory.Raise != nil {
				got = s.memory.Raise.Replicas
			}
			if got != tc.want || len(s.memory.Raises) != tc.wantBudget {
				t.Errorf("raise to %d replicas, %d of the budget; want %d, %d", got, len(s.memory.Raises), tc.want, tc.wantBudget)
			}
		})
	}
}

// TestSharedPods: the HPA controller scales no workload whose target or pods another autoscaler has too, and would leave the pods of a raise.
// Two autoscalers may name one workload by two versions of its API, or two workloads whose selectors overlap.
func TestSharedPods(t *testing.T) {
	t.Parallel()
	for name, share := range map[string]func(a, rival *autoscalingv2.HorizontalPodAutoscaler){
		"in another version": func(_, rival *autoscalingv2.HorizontalPodAutoscaler) {
			rival.Spec.ScaleTargetRef.APIVersion = "apps/v1beta2"
		},
		"by the selectors": func(a, rival *autoscalingv2.HorizontalPodAutoscaler) {
			rival.Spec.ScaleTargetRef.Name = "web-canary"
			a.Status.Conditions = []autoscalingv2.HorizontalPodAutoscalerCondition{
				{Type: autoscalingv2.ScalingActive, Status: corev1.ConditionFalse, Reason: "AmbiguousSelector"},
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := playLane(t, ModeAct, 4*time.Minute, func(w *fakeWorld, _ context.CancelFunc) {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.rival = w.sim.observed.Autoscaler.DeepCopy()
				w.rival.ObjectMeta = metav1.ObjectMeta{Namespace: "shop", Name: "other", UID: "hpa-2"}
				share(w.sim.observed.Autoscaler, w.rival)
			})
			if len(w.raises) > 0 {
				t.Errorf("raises at %v", w.raiseAt)
			}
		})
	}
}

// TestObservesEachRaise: a second raise begins before the autoscaler made the first. Each is told on its own.
func TestObservesEachRaise(t *testing.T) {
	t.Parallel()
	s := newLaneSim()
	s.observed.Mode = ModeObserve
	s.settle(40, time.Minute, steadyLooks)
	s.settle(400, 4*time.Second, 20)
	s.settle(600, 4*time.Second, 5)
	s.setPods(20)
	s.settle(600, 30*time.Second, 2)
	s.setPods(25) // less than the second
	s.settle(500, time.Minute, 300)
	if got, want := fmt.Sprint(s.notices), "[SurgeObserved SurgeObserved SurgeFollowed SurgeUnmatched]"; got != want {
		t.Errorf("notices %s, want %s", got, want)
	}
}

// TestCauseIsPlain: Events and the reason of the hold name the metric as a person writes it, and a long selector keeps no hold from its place.
func TestCauseIsPlain(t *testing.T) {
	t.Parallel()
	average := autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: resource.NewQuantity(5, resource.DecimalSI)}
	var queues []string
	for i := range 200 {
		queues = append(queues, fmt.Sprintf("queue-of-orders-%d", i))
	}
	many := &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "queue", Operator: metav1.LabelSelectorOpIn, Values: queues}}}
	external := func(s *metav1.LabelSelector) autoscalingv2.MetricSpec {
		id := autoscalingv2.MetricIdentifier{Name: "queue_messages", Selector: s}
		return autoscalingv2.MetricSpec{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{Metric: id, Target: average}}
	}
	for want, m := range map[string]autoscalingv2.MetricSpec{
		"external metric queue_messages wants 8 replicas, 2 are there":                     external(nil),
		"external metric queue_messages{queue=worker_tasks} wants 8 replicas, 2 are there": external(&metav1.LabelSelector{MatchLabels: map[string]string{"queue": "worker_tasks"}}),
		"external metric queue_messages{queue in (queue-of-orders-0":                       external(many),
		"metric queue_messages of Service web wants 8 replicas, 2 are there": {Type: autoscalingv2.ObjectMetricSourceType, Object: &autoscalingv2.ObjectMetricSource{
			DescribedObject: autoscalingv2.CrossVersionObjectReference{APIVersion: "v1", Kind: "Service", Name: "web"},
			Metric:          autoscalingv2.MetricIdentifier{Name: "queue_messages"}, Target: average,
		}},
	} {
		s := newLaneSim()
		s.observed.Autoscaler.Spec.Metrics = []autoscalingv2.MetricSpec{m}
		for range 120 {
			s.look(readValue(10))
		}
		for range 4 {
			s.look(readValue(40))
		}
		r := s.memory.Raise
		if r == nil || !strings.HasPrefix(r.Cause, want) || len(r.Cause) > 400 || !strings.HasSuffix(r.Cause, " wants 8 replicas, 2 are there") {
			t.Errorf("%+v; want %s", r, want)
			continue
		}
		h := (&Lane{}).newSurgeHold(s.observed.Autoscaler, *r)
		if err := h.Validate(); err != nil && !strings.Contains(err.Error(), "past") {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// TestWindowsOfAdapters: another adapter answers any window. The longest that counts overflows in no calculation.
func TestWindowsOfAdapters(t *testing.T) {
	t.Parallel()
	for seconds, want := range map[int64]time.Duration{math.MaxInt64: hpa.MaxWindow, 9_000_000_000: hpa.MaxWindow, math.MinInt64: 0, 13_000_000_000: hpa.MaxWindow, 10: 10 * time.Second} {
		var r Reading
		if r.addSurgeReadingSample(metav1.Time{}, &seconds); r.Window != want || (plainSamples-1)*r.Window < r.Window {
			t.Errorf("%d seconds: %v; want %v", seconds, r.Window, want)
		}
	}
}
