package explain

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"

	"github.com/tachometer-metrics/tachometer/pkg/hpa"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/inventory"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/output"
)

// composeExplanationSentence returns the explanation in one sentence: the pods, the metric that decides, and the rule that holds.
func composeExplanationSentence(e *Explanation, autoscaler *autoscalingv2.HorizontalPodAutoscaler) string {
	head := e.describePodCount() + ": "
	if text := e.describeBypass(autoscaler); text != "" {
		return head + text + "."
	}
	m := e.findDecidingMetric()
	switch {
	case m == nil:
		return head + "the autoscaler has no metric."
	case m.Unread && isUnseenAutoscaler(autoscaler):
		return head + inventory.BareMetricName(m.Name) + " could not be read (" + m.Error + ")."
	case m.Unread:
		return head + fmt.Sprintf("%s could not be read (%s); the HPA controller wants %d.", inventory.BareMetricName(m.Name), m.Error, e.Wanted)
	case m.Error != "":
		return head + inventory.BareMetricName(m.Name) + " has no value (" + m.Error + "), so it keeps the number."
	case m.Wish == nil:
		return head + e.Target + " is scaled to 0, which switches the autoscaler off."
	}
	text := head + inventory.BareMetricName(m.Name) + " is " + m.Total
	switch {
	case m.shared:
		text += " over " + output.Count(int(m.pods), "pod")
	case m.decision.Counted > 0:
		text += " with " + output.Count(m.decision.Counted, m.nameCountedPods())
	}
	text += ", target " + m.Target + " → " + formatPodQuotient(m.wanted())
	if n := m.countWithoutValue(); n > 0 {
		text += fmt.Sprintf(", %s without a value", output.Count(n, "pod"))
	}
	return text + "; " + e.describeWishFate(autoscaler, m) + "."
}

// formatPodQuotient returns a number of pods before rounding up, with one decimal: 6.9.
func formatPodQuotient(pods float64) string {
	text := strconv.FormatFloat(pods, 'f', 1, 64)
	if text == "-0.0" {
		return "0.0"
	}
	return text
}

// describeWish describes the metric's wish. The HPA's arithmetic overflows for a total below 0 and for a huge one.
func describeWish(wish int32) string {
	if wish < 0 || wish == math.MaxInt32 {
		return fmt.Sprintf("the HPA's arithmetic overflows, so it wants %d", wish)
	}
	return fmt.Sprintf("it wants %d", wish)
}

// describeBypass says why the controller decides without a look at metrics; it returns nothing where it looks.
func (e *Explanation) describeBypass(autoscaler *autoscalingv2.HorizontalPodAutoscaler) string {
	for _, c := range autoscaler.Status.Conditions {
		switch c.Reason {
		case "ScalingDisabled":
			return e.Target + " is scaled to 0, which switches the autoscaler off"
		case "FailedGetScale":
			return "the scale of " + e.Target + " cannot be read" + quoteConditionMessage(c.Message) + ", so it keeps the number"
		case "InvalidSelector", "AmbiguousSelector":
			return inventory.DescribeCondition(c.Reason) + quoteConditionMessage(c.Message) + ", so it keeps the number"
		}
	}
	switch {
	case e.Replicas > e.Max:
		return fmt.Sprintf("maxReplicas is %d, so it goes to %d whatever the metrics say", e.Max, e.Max)
	case e.Replicas > 0 && e.Replicas < e.Min:
		return fmt.Sprintf("minReplicas is %d, so it goes to %d whatever the metrics say", e.Min, e.Min)
	}
	return ""
}

// quoteConditionMessage returns a condition's message in brackets, or nothing.
func quoteConditionMessage(message string) string {
	if message == "" {
		return ""
	}
	return " (" + message + ")"
}

// findDecidingMetric returns the metric with the highest wish. A metric without a wish comes before metrics that do not override it.
func (e *Explanation) findDecidingMetric() *MetricSteps {
	var best *MetricSteps
	for i := range e.Metrics {
		m := &e.Metrics[i]
		switch {
		case best == nil:
			best = m
		case best.Wish == nil && m.Wish != nil && e.overridesFailure(*m.Wish):
			best = m
		case best.Wish != nil && (m.Wish == nil && !e.overridesFailure(*best.Wish) || m.Wish != nil && *m.Wish > *best.Wish):
			best = m
		}
	}
	return best
}

// overridesFailure reports whether the HPA follows a wish although another metric has no value: it scales down in no case, and a wish for
// the present number lets an earlier wish count. At 0 replicas no metric of pods has a value.
func (e *Explanation) overridesFailure(wish int32) bool {
	if wish < e.Wanted && slices.ContainsFunc(e.Metrics, func(m MetricSteps) bool { return m.Unread }) {
		return false // the higher wish is probably of the metric that was not read
	}
	return wish > e.Replicas || wish == e.Replicas && (e.Wanted != e.Replicas || wish == 0)
}

// describeWishFate describes the fate of the wish: it is taken, or a limit, a window or a policy holds it.
func (e *Explanation) describeWishFate(autoscaler *autoscalingv2.HorizontalPodAutoscaler, m *MetricSteps) string {
	wish, window := *m.Wish, e.Stabilization[1].Window
	wants := describeWish(wish)
	isTolerated := m.decision.Stage == hpa.StageTolerated && wish == e.Replicas // else it wants the pods of a rolling update
	switch {
	case wish > e.Replicas && *effectiveScalingRules(autoscaler, true).SelectPolicy == autoscalingv2.DisabledPolicySelect:
		return fmt.Sprintf("%s, and scaleUp is disabled, so it keeps %d", wants, e.Replicas)
	case wish < e.Replicas && *effectiveScalingRules(autoscaler, false).SelectPolicy == autoscalingv2.DisabledPolicySelect:
		return fmt.Sprintf("%s, and scaleDown is disabled, so it keeps %d", wants, e.Replicas)
	case wish != e.Replicas && (hasConditionReason(autoscaler, "FailedUpdateScale") || hasConditionReason(autoscaler, "FailedRescale")):
		return fmt.Sprintf("%s, and the scale of %s cannot be written", wants, e.Target)
	case wish > e.Max && !e.isHeldBelowMaximum(autoscaler):
		return fmt.Sprintf("%s, and maxReplicas is %d", wants, e.Max)
	case wish < e.Min && e.Wanted <= e.Min:
		return fmt.Sprintf("%s, and minReplicas is %d", wants, e.Min)
	case wish < e.Replicas && hasConditionReason(autoscaler, "ScaleDownStabilized") && e.Holding != nil:
		return fmt.Sprintf("scale-down waits until %s UTC for the %d wanted at %s", e.Holding.Until.UTC().Format(logTime), e.Holding.Replicas, e.Holding.Time.UTC().Format(logTime))
	case wish < e.Replicas && hasConditionReason(autoscaler, "ScaleDownStabilized"):
		return fmt.Sprintf("scale-down waits: a higher wish of the last %s holds %d", output.Duration(window), e.Wanted)
	case wish > e.Replicas && hasConditionReason(autoscaler, "ScaleUpStabilized"):
		return fmt.Sprintf("scale-up waits: a lower wish of the last %s holds %d", output.Duration(e.Stabilization[0].Window), e.Wanted)
	case wish > e.Wanted && hasConditionReason(autoscaler, "ScaleUpLimit"):
		return fmt.Sprintf("a scaleUp policy permits %d for now", e.Wanted)
	case wish < e.Wanted && hasConditionReason(autoscaler, "ScaleDownLimit"):
		return fmt.Sprintf("a scaleDown policy permits %d for now", e.Wanted)
	case e.Wanted != e.Replicas && wish < e.Wanted:
		return e.describeEarlierWish("higher", wish, window)
	case e.Wanted > e.Replicas && wish > e.Wanted:
		return e.describeEarlierWish("lower", wish, e.Stabilization[0].Window)
	case isTolerated && m.countWithoutValue() == 0:
		return fmt.Sprintf("within the tolerance, so it keeps %d", wish)
	case isTolerated:
		return fmt.Sprintf("with %s within the tolerance, so it keeps %d", m.nameWithoutValue(), wish)
	case m.countWithoutValue() > 0 && wish == e.Replicas:
		return fmt.Sprintf("with %s the direction is not sure, so it keeps %d", m.nameWithoutValue(), wish)
	case wish == e.Replicas:
		return fmt.Sprintf("rounded up, so it keeps %d", wish)
	case isUnseenAutoscaler(autoscaler):
		return wants + e.describeWishBound(wish) + ", from its first look on"
	case e.Wanted == e.Replicas:
		return wants + e.describeWishBound(wish) + ", from its next look on"
	}
	return fmt.Sprintf("it goes to %d", wish)
}

// describeWishBound names the limit that a wish lies beyond, or nothing.
func (e *Explanation) describeWishBound(wish int32) string {
	switch {
	case wish > e.Max:
		return fmt.Sprintf(", and maxReplicas is %d", e.Max)
	case wish < e.Min:
		return fmt.Sprintf(", and minReplicas is %d", e.Min)
	}
	return ""
}

// nameWithoutValue returns the pronoun for the pods without a value.
func (m *MetricSteps) nameWithoutValue() string {
	if m.countWithoutValue() == 1 {
		return "it"
	}
	return "them"
}

// describeEarlierWish says that the controller, which has just scaled, took an earlier wish of a window in place of the present
// one. The condition that names the stabilization is gone then. Without a window the value has changed since.
func (e *Explanation) describeEarlierWish(direction string, wish int32, window time.Duration) string {
	if window == 0 {
		return fmt.Sprintf("it wants %d, from its next look on", wish)
	}
	return fmt.Sprintf("a %s wish of the last %s counts, so it goes to %d", direction, output.Duration(window), e.Wanted)
}

// isHeldBelowMaximum reports whether a window or a policy holds the number below maxReplicas on the way up.
func (e *Explanation) isHeldBelowMaximum(autoscaler *autoscalingv2.HorizontalPodAutoscaler) bool {
	return e.Wanted < e.Max && (e.Wanted > e.Replicas || hasConditionReason(autoscaler, "ScaleUpStabilized") || hasConditionReason(autoscaler, "ScaleUpLimit"))
}

// isUnseenAutoscaler reports whether the controller has not looked at an autoscaler yet.
func isUnseenAutoscaler(autoscaler *autoscalingv2.HorizontalPodAutoscaler) bool {
	return len(autoscaler.Status.Conditions) == 0 && autoscaler.Status.CurrentReplicas == 0 && autoscaler.Status.DesiredReplicas == 0
}
