package hpa

// This file takes the controller's way from a scale that was read to the status that is written.

import (
	"fmt"
	"slices"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// decider is one decision in the making.
type decider struct {
	Input
	settings Settings
	limits   replicaRange
	d        Decision
	wasZero  bool // the controller itself scaled the target to zero

	isGivenUp bool // too many metrics failed: the status keeps its desired replicas
}

// Decide returns the decision of the HPA controller, supposing that the scale and the status can be written.
func Decide(in Input, s Settings) Decision {
	c := newHPADecider(in, s)
	c.setHPACondition(autoscalingv2.AbleToScale, corev1.ConditionTrue, "SucceededGetScale", "the HPA controller was able to get the target's current scale")
	switch r := c.limits; {
	case r.current == 0 && !c.canWakeHPAFromZero():
		c.setHPACondition(autoscalingv2.ScalingActive, corev1.ConditionFalse, "ScalingDisabled", "scaling is disabled since the replica count of the target is zero")
		if !s.ScaleToZero {
			c.removeScaledToZero()
		}
	case r.current > r.high:
		c.rescaleHPATarget(r.high, "Current number of replicas above Spec.MaxReplicas")
	case r.current != 0 && r.current < r.low:
		c.rescaleHPATarget(r.low, "Current number of replicas below Spec.MinReplicas")
	default:
		if c.decideHPAMetrics() {
			c.normalizeHPAWish()
		} else {
			c.isGivenUp = true
		}
	}
	c.finishHPAStatus()
	return c.d
}

func newHPADecider(in Input, s Settings) *decider {
	c := &decider{Input: in, settings: s, limits: replicaRange{in.SpecReplicas, 1, in.HPA.Spec.MaxReplicas}}
	if in.HPA.Spec.MinReplicas != nil {
		c.limits.low = *in.HPA.Spec.MinReplicas
	}
	c.d = Decision{Replicas: in.SpecReplicas, Winner: -1, Status: *in.HPA.Status.DeepCopy(), History: cloneHPAHistory(in.History)}
	if c.d.History.Recommendations == nil {
		c.d.History.Recommendations = []Recommendation{{in.SpecReplicas, in.Now}}
	}
	c.wasZero = s.ScaleToZero && slices.ContainsFunc(in.HPA.Status.Conditions, func(cond autoscalingv2.HorizontalPodAutoscalerCondition) bool {
		return cond.Type == autoscalingv2.ScaledToZero && cond.Status == corev1.ConditionTrue
	})
	return c
}

// cloneHPAHistory returns a copy that can be changed.
func cloneHPAHistory(h History) History {
	return History{slices.Clone(h.Recommendations), slices.Clone(h.ScaleUps), slices.Clone(h.ScaleDowns)}
}

// canWakeHPAFromZero reports whether a target at 0 is scaled: the controller scaled it to zero, and a metric exists without pods or
// minReplicas has been raised since. Any other 0 is a person's.
func (c *decider) canWakeHPAFromZero() bool {
	return c.wasZero && (c.limits.low != 0 || c.hasPodlessMetric())
}

// IsOwnZero reports whether the controller itself has scaled the target of an autoscaler to zero, and reads metrics that can wake it.
func IsOwnZero(a *autoscalingv2.HorizontalPodAutoscaler, s Settings) bool {
	c := newHPADecider(Input{HPA: a}, s)
	return c.limits.low == 0 && c.canWakeHPAFromZero()
}

// hasPodlessMetric reports whether a metric exists without pods.
func (c *decider) hasPodlessMetric() bool {
	return slices.ContainsFunc(c.HPA.Spec.Metrics, func(m autoscalingv2.MetricSpec) bool {
		return m.Type == autoscalingv2.ObjectMetricSourceType || m.Type == autoscalingv2.ExternalMetricSourceType
	})
}

// decideHPAMetrics computes each metric and the winner. It reports false where the controller gives up: all metrics failed, or one failed
// and the others would scale down.
func (c *decider) decideHPAMetrics() bool {
	var firstFailed *MetricDecision
	failed := 0
	c.d.Metrics = make([]MetricDecision, len(c.HPA.Spec.Metrics))
	statuses := make([]autoscalingv2.MetricStatus, len(c.d.Metrics))
	winner := ""
	for i := range c.d.Metrics {
		m := decideHPAMetric(c.Input, c.settings, i)
		c.d.Metrics[i], statuses[i] = m, m.status
		if m.Err != nil {
			if failed++; firstFailed == nil {
				firstFailed = &m
			}
			continue
		}
		if c.d.Wanted == 0 || m.Replicas > c.d.Wanted {
			c.d.Winner, c.d.Wanted, winner = i, m.Replicas, m.Name
		}
	}
	c.d.Status.CurrentMetrics = statuses
	if failed > 0 {
		c.d.Err = fmt.Errorf("invalid metrics (%v invalid out of %v), first error is: %w", failed, len(c.d.Metrics), firstFailed.Err)
	}
	if failed >= len(c.d.Metrics) || failed > 0 && c.d.Wanted < c.limits.current {
		c.d.Winner, c.d.Wanted = -1, 0
		if firstFailed != nil {
			c.setHPACondition(autoscalingv2.ScalingActive, corev1.ConditionFalse, firstFailed.reason,
				fmt.Sprintf("the HPA was unable to compute the replica count: %v", firstFailed.cause))
		}
		return false
	}
	c.setHPACondition(autoscalingv2.ScalingActive, corev1.ConditionTrue, "ValidMetricFound",
		"the HPA was able to successfully calculate a replica count from "+winner)
	return true
}

// normalizeHPAWish brings the wish through stabilization, policies and limits.
func (c *decider) normalizeHPAWish() {
	wish, reason := max(c.d.Wanted, 0), ""
	switch {
	case wish > c.limits.current:
		reason = c.d.Metrics[c.d.Winner].Name + " above target"
	case wish < c.limits.current:
		reason = "All metrics below target"
	}
	var message string
	if b := c.HPA.Spec.Behavior; b == nil {
		c.d.Stabilization = stabilizeDown(&c.d.History, wish, c.Now, c.settings.DownscaleStabilization)
		c.setStabilizedCondition(wish, false)
		c.d.Limit, message = limitByBuiltInRate(c.d.Stabilization.Replicas, c.limits)
	} else {
		up, down := completeScalingBehavior(b, c.settings)
		c.d.Stabilization = stabilizeBoth(&c.d.History, wish, c.limits.current, c.Now, up, down)
		c.setStabilizedCondition(wish, wish >= c.limits.current)
		c.d.Limit, message = limitByScalingPolicies(c.d.Stabilization.Replicas, c.limits, c.d.History, c.Now, up, down)
	}
	limited := corev1.ConditionTrue
	if c.d.Limit.Replicas == c.d.Stabilization.Replicas {
		limited = corev1.ConditionFalse
	}
	c.setHPACondition(autoscalingv2.ScalingLimited, limited, c.d.Limit.Reason, message)
	replicas := c.d.Limit.Replicas
	if c.limits.current == 0 && c.wasZero && replicas < c.limits.low {
		if replicas = c.limits.low; reason == "" {
			reason = "Current number of replicas below Spec.MinReplicas"
		}
	}
	if replicas != c.limits.current {
		c.rescaleHPATarget(replicas, reason)
	}
}

// setStabilizedCondition sets AbleToScale by the effect of the stabilization.
func (c *decider) setStabilizedCondition(wish int32, isUp bool) {
	reason, message := "ReadyForNewScale", "recommended size matches current size"
	switch {
	case c.d.Stabilization.Replicas == wish:
	case isUp:
		reason, message = "ScaleUpStabilized", "recent recommendations were lower than current one, applying the lowest recent recommendation"
	default:
		reason, message = "ScaleDownStabilized", "recent recommendations were higher than current one, applying the highest recent recommendation"
	}
	c.setHPACondition(autoscalingv2.AbleToScale, corev1.ConditionTrue, reason, message)
}

// rescaleHPATarget takes a new number of replicas, as after a successful write of the scale.
func (c *decider) rescaleHPATarget(replicas int32, reason string) {
	c.d.Replicas, c.d.Rescale, c.d.Reason = replicas, true, reason
	c.setHPACondition(autoscalingv2.AbleToScale, corev1.ConditionTrue, "SucceededRescale",
		fmt.Sprintf("the HPA controller was able to update the target scale to %d", replicas))
	current := c.limits.current
	c.d.History.AddRescale(c.HPA.Spec.Behavior, current, replicas, c.Now, c.settings)
	switch {
	case !c.settings.ScaleToZero:
		c.removeScaledToZero()
	case current > 0 && replicas == 0 && c.limits.low == 0 && c.hasPodlessMetric():
		c.setHPACondition(autoscalingv2.ScaledToZero, corev1.ConditionTrue, "ScaledToZero", "the HPA controller scaled the workload to zero")
	default:
		c.setHPACondition(autoscalingv2.ScaledToZero, corev1.ConditionFalse, "NotScaledToZero", "the HPA controller did not scale the workload to zero")
	}
}

// finishHPAStatus sets the numbers of the status.
func (c *decider) finishHPAStatus() {
	c.d.Status.CurrentReplicas = c.limits.current
	if !c.isGivenUp {
		c.d.Status.DesiredReplicas = c.d.Replicas
	}
	if c.d.Metrics == nil {
		c.d.Status.CurrentMetrics = nil
	}
	if c.settings.Minor >= 37 {
		c.d.Status.ObservedGeneration = new(c.HPA.Generation)
	} else {
		c.d.Status.ObservedGeneration = nil
	}
	if c.d.Rescale {
		c.d.Status.LastScaleTime = &metav1.Time{Time: c.Now}
	}
}

// setHPACondition sets a condition, and its time where the status of the condition changes.
func (c *decider) setHPACondition(kind autoscalingv2.HorizontalPodAutoscalerConditionType, status corev1.ConditionStatus, reason, message string) {
	conditions := &c.d.Status.Conditions
	i := slices.IndexFunc(*conditions, func(cond autoscalingv2.HorizontalPodAutoscalerCondition) bool { return cond.Type == kind })
	if i < 0 {
		i = len(*conditions)
		*conditions = append(*conditions, autoscalingv2.HorizontalPodAutoscalerCondition{Type: kind})
	}
	cond := &(*conditions)[i]
	if cond.Status != status {
		cond.LastTransitionTime = metav1.Time{Time: c.Now}
	}
	cond.Status, cond.Reason, cond.Message = status, reason, message
}

// removeScaledToZero removes the condition ScaledToZero.
func (c *decider) removeScaledToZero() {
	c.d.Status.Conditions = slices.DeleteFunc(c.d.Status.Conditions, func(cond autoscalingv2.HorizontalPodAutoscalerCondition) bool {
		return cond.Type == autoscalingv2.ScaledToZero
	})
}
