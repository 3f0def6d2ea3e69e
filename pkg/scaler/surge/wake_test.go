package surge

import (
	"errors"
	"slices"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/tachometer-metrics/tachometer/pkg/hpa"
)

// newQueueSim returns an autoscaler at zero, for a queue with 5 messages a pod, after minutes of an empty queue.
func newQueueSim(change func(*autoscalingv2.HorizontalPodAutoscaler)) *laneSim {
	s := newLaneSim()
	a := s.observed.Autoscaler
	a.Spec.MinReplicas = new(int32(0))
	a.Spec.Metrics = []autoscalingv2.MetricSpec{{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{
		Metric: autoscalingv2.MetricIdentifier{Name: "queue_messages"},
		Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: resource.NewQuantity(5, resource.DecimalSI)},
	}}}
	a.Status.Conditions = []autoscalingv2.HorizontalPodAutoscalerCondition{{Type: autoscalingv2.ScaledToZero, Status: corev1.ConditionTrue}}
	if change != nil {
		change(a)
	}
	s.setPods(0)
	for range 120 {
		s.look(readQueue(0))
	}
	return s
}

func readQueue(messages int64) Reading {
	return Reading{Replica: "adapter-0", Answer: hpa.Answer{External: []int64{1000 * messages}}}
}

// TestWake: the first item wakes one pod at the first look and its confirmation, without a raise of the budget. The further ones need the
// evidence of a raise.
func TestWake(t *testing.T) {
	t.Parallel()
	s := newQueueSim(nil)
	d := s.look(readQueue(40))
	if d.Place || !d.ConfirmsNow {
		t.Fatalf("the first item: %+v, want another look at once", d)
	}
	d = s.look(readQueue(40))
	if !d.Place || !d.IsNew || d.Memory.Raise.Replicas != 1 || len(d.Memory.Raises) != 0 {
		t.Fatalf("the first item: %+v, want a hold of 1 replica, and no raise", d)
	}
	if d := s.look(readQueue(40)); d.Place {
		t.Errorf("the same wish again: %+v, want nothing new", d.Memory.Raise)
	}
	s.setPods(1)
	looks := 0
	for d = s.look(readQueue(40)); !d.Place && looks < 10; looks++ {
		d = s.look(readQueue(40))
	}
	if !d.Place || d.Memory.Raise.Replicas != 8 || len(d.Memory.Raises) != 1 {
		t.Errorf("after %d more looks: %+v of %d raises, want 8 replicas as one raise", looks, d.Memory.Raise, len(d.Memory.Raises))
	}
}

// TestNoWake: zeros that are not the autoscaler's own stay, and so does a zero without an item or without a good answer.
func TestNoWake(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change   func(*autoscalingv2.HorizontalPodAutoscaler)
		messages int64
		skip     Skip
	}{
		"nothing waits": {skip: ""},
		"a person's zero, minReplicas 0": {
			messages: 40, skip: SkipZero,
			change: func(a *autoscalingv2.HorizontalPodAutoscaler) { a.Status.Conditions[0].Status = corev1.ConditionFalse },
		},
		"a person's zero, minReplicas 0, no condition": {
			messages: 40, skip: SkipZero, change: func(a *autoscalingv2.HorizontalPodAutoscaler) { a.Status.Conditions = nil },
		},
		"a person's zero, minReplicas 1": {
			messages: 40, skip: SkipZero,
			change: func(a *autoscalingv2.HorizontalPodAutoscaler) {
				a.Spec.MinReplicas, a.Status.Conditions = new(int32(1)), nil
			},
		},
		"minReplicas 1 since the autoscaler's zero": {
			messages: 40, skip: SkipZero, change: func(a *autoscalingv2.HorizontalPodAutoscaler) { a.Spec.MinReplicas = new(int32(1)) },
		},
		"scale-up is disabled": {
			messages: 40, skip: SkipDisabled,
			change: func(a *autoscalingv2.HorizontalPodAutoscaler) {
				a.Spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{
					ScaleUp: &autoscalingv2.HPAScalingRules{SelectPolicy: new(autoscalingv2.DisabledPolicySelect)},
				}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newQueueSim(tc.change)
			for range 60 {
				if d := s.look(readQueue(tc.messages)); d.Place || d.Skip != tc.skip {
					t.Fatalf("%+v, skip %q; want skip %q", d.Memory.Raise, d.Skip, tc.skip)
				}
			}
		})
	}
}

// TestWakeWaitsForGoodAnswers: after an outage an item wakes nothing for the time in which answers settle; the autoscaler may.
func TestWakeWaitsForGoodAnswers(t *testing.T) {
	t.Parallel()
	s := newQueueSim(nil)
	for range 10 {
		s.look(Reading{Answer: hpa.Answer{Err: errUnread}})
	}
	woken := time.Duration(0)
	for began := s.observed.Now; woken == 0 && s.observed.Now.Sub(began) < 2*settleFor; {
		if s.look(readQueue(1)).Place {
			woken = s.observed.Now.Sub(began)
		}
	}
	if woken < settleFor || woken > settleFor+2*lookInterval {
		t.Errorf("woken %s after the outage, want %s", woken, settleFor)
	}
}

// TestWakeIsObserved: in the mode observe the lane tells the wake, and by how much the autoscaler came later.
func TestWakeIsObserved(t *testing.T) {
	t.Parallel()
	s := newQueueSim(nil)
	s.observed.Mode = ModeObserve
	s.look(readQueue(4))
	s.look(readQueue(4))
	s.setPods(1)
	s.look(readQueue(4))
	if !slices.Equal(s.notices, []string{ReasonObserved, ReasonFollowed}) {
		t.Errorf("notices %v", s.notices)
	}
}

// TestWakeBesideMetricsOfPods: a metric of the workload's own pods has no answer at zero. The autoscaler wakes by the others, and so does the
// lane; what it knows of the queue is kept for the further pods.
func TestWakeBesideMetricsOfPods(t *testing.T) {
	t.Parallel()
	s := newQueueSim(func(a *autoscalingv2.HorizontalPodAutoscaler) {
		a.Spec.Metrics = append(newLaneSim().observed.Autoscaler.Spec.Metrics, a.Spec.Metrics...)
	})
	requests := Reading{Answer: hpa.Answer{Err: errors.New("404: no pods")}}
	look := func(messages int64) LaneDecision {
		return s.lookAtAll(surgeReadings(func(*laneSim) Reading { return requests }, func(*laneSim) Reading { return readQueue(messages) }))
	}
	for range 120 {
		look(0)
	}
	look(40)
	if d := look(40); !d.Place || d.Memory.Raise.Replicas != 1 {
		t.Fatalf("the first item: %+v, skip %q; want a hold of 1 replica", d.Memory.Raise, d.Skip)
	}
	s.setPods(1)
	requests = s.readTotal(0, time.Minute)
	requests.Newest = s.observed.Now
	var raised int32
	for range 10 {
		if d := look(40); d.Place {
			raised = d.Memory.Raise.Replicas
		}
	}
	if raised != 8 {
		t.Errorf("raised to %d replicas after the wake, want 8", raised)
	}
}
