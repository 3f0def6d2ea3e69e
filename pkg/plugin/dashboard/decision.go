package dashboard

// This file finds decisions between two looks, and the values behind them.

import (
	"context"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/tachometer-metrics/tachometer/pkg/plugin/explain"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/top"
)

// Decision is a change of an autoscaler's wish, or of its ability to decide, with the values behind it.
type Decision struct {
	Time time.Time `json:"time"` // of the look that showed it
	// ScaledAt is the time at which the controller wrote the number, where the status has it.
	ScaledAt time.Time `json:"scaledAt,omitzero"`
	From     int32     `json:"from"`
	To       int32     `json:"to"`
	// Fault is "lost" where a metric lost its value with this look, "back" where all have one again; empty for a change of the wish.
	Fault    string                `json:"fault,omitempty"`
	Sentence string                `json:"sentence"`
	Metrics  []explain.MetricSteps `json:"metrics"`
	Changes  []string              `json:"changes,omitempty"`
	// Unexplained is set where the values of no look give the number: they moved between the look and the decision.
	Unexplained bool `json:"unexplained,omitempty"`
}

// findChartedDecision returns the decision between two looks at an autoscaler, or nil.
func findChartedDecision(ctx context.Context, before, after autoscalerLook) *Decision {
	d := &Decision{Time: after.time, From: before.view.Wanted, To: after.view.Wanted}
	if !before.lastScaleTime().Equal(after.lastScaleTime()) {
		d.ScaledAt = after.lastScaleTime()
	}
	e := after.explanation
	switch lost := isFaultyAutoscalerState(after.view.State); {
	case d.From != d.To, !d.ScaledAt.IsZero():
		e, d.Unexplained = explainChartedDecision(ctx, before, after)
	case lost == isFaultyAutoscalerState(before.view.State):
		return nil
	case lost:
		d.Fault = "lost"
	default:
		d.Fault = "back"
	}
	d.Sentence, d.Metrics, d.Changes = e.Sentence, e.Metrics, e.Changes
	return d
}

func isFaultyAutoscalerState(s top.State) bool { return s == top.StateBroken || s == top.StatePartial }

// explainChartedDecision explains the status after a decision by the values of the last look before it. Where these do not give the decided
// number, it tries the values of the look after, without the pods that the decision made.
func explainChartedDecision(ctx context.Context, before, after autoscalerLook) (e *explain.Explanation, unexplained bool) {
	e = explain.Live(ctx, after.autoscaler, explain.Options{Objects: before.objects, Metrics: before.metrics, Now: after.time})
	if isExplainedDecision(e) {
		return e, false
	}
	objects := *after.objects
	objects.Pods = slices.DeleteFunc(slices.Clone(objects.Pods), func(p corev1.Pod) bool { return !p.CreationTimestamp.Time.Before(after.lastScaleTime()) })
	later := explain.Live(ctx, after.autoscaler, explain.Options{Objects: &objects, Metrics: after.metrics, Now: after.time})
	if isExplainedDecision(later) {
		return later, false
	}
	return e, true
}

// isExplainedDecision reports whether the highest wish is the wanted number, or a limit lies between them.
func isExplainedDecision(e *explain.Explanation) bool {
	wish, limited := int32(-1), e.Wanted == e.Min || e.Wanted == e.Max
	for _, m := range e.Metrics {
		if m.Wish != nil {
			wish = max(wish, *m.Wish)
		}
	}
	for _, c := range e.Conditions {
		switch c.Reason {
		case "ScaleUpLimit", "ScaleDownLimit", "ScaleUpStabilized", "ScaleDownStabilized":
			limited = true
		}
	}
	return wish == e.Wanted || limited
}
