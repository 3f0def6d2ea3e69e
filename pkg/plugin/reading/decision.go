package reading

import (
	"math"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"

	"github.com/tachometer-metrics/tachometer/pkg/hpa"
	"github.com/tachometer-metrics/tachometer/pkg/replay"
)

// NewDecisionInput returns the input of the HPA's arithmetic from live reads. Its memory is empty, so that windows and policies are not
// decided here.
func NewDecisionInput(autoscaler *autoscalingv2.HorizontalPodAutoscaler, answers []Answer, pods []*corev1.Pod, now time.Time) hpa.Input {
	in := hpa.Input{
		HPA: autoscaler, SpecReplicas: autoscaler.Status.CurrentReplicas, StatusReplicas: autoscaler.Status.CurrentReplicas, Pods: pods, Now: now,
		Answers: make([]hpa.Answer, len(answers)),
	}
	for i, a := range answers {
		in.Answers[i] = newDecisionAnswer(autoscaler.Spec.Metrics[i], a)
	}
	return in
}

func newDecisionAnswer(spec autoscalingv2.MetricSpec, a Answer) hpa.Answer {
	answer := hpa.Answer{Err: a.Err}
	for _, v := range a.Values {
		switch {
		case spec.Object != nil:
			answer.Object = v.Value.MilliValue()
		case spec.External != nil:
			answer.External = append(answer.External, v.Value.MilliValue())
		default:
			if answer.Pods == nil {
				answer.Pods = map[string]hpa.PodValue{}
			}
			answer.Pods[v.Object] = hpa.PodValue{Value: v.Value.MilliValue(), Time: v.Time, Window: v.Window}
		}
	}
	return answer
}

// DecideMetrics returns the HPA's decision on each metric, before the limits of the autoscaler; none at 0 replicas.
func DecideMetrics(in hpa.Input) []hpa.MetricDecision {
	if in.SpecReplicas == 0 {
		return nil
	}
	wide := *in.HPA
	wide.Spec.MinReplicas, wide.Spec.MaxReplicas = nil, math.MaxInt32
	in.HPA = &wide
	return hpa.Decide(in, replay.Settings()).Metrics
}
