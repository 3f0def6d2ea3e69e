// The conditions of an autoscaler in plain words.

package doctor

import (
	"fmt"
	"math"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"

	"github.com/tachometer-metrics/tachometer/pkg/plugin/inventory"
)

// checkVisitedConditions judges the conditions that the HPA controller wrote.
func (v *autoscalerVisit) checkVisitedConditions() {
	if len(v.hpa.Status.Conditions) == 0 {
		v.addVisitCheck("condition", StatusWarning, "the HPA controller has written no condition yet", v.formatVisitCommand("describe hpa %s", v.hpa.Name))
	}
	for _, c := range v.hpa.Status.Conditions {
		status, fix := v.judgeVisitedCondition(c)
		message := fmt.Sprintf("%s=%s: %s", c.Type, c.Status, inventory.DescribeCondition(c.Reason))
		if status != StatusOK {
			message += " (" + c.Message + ")"
		}
		v.addVisitCheck("condition", status, message, fix)
	}
}

// judgeVisitedCondition returns the outcome of a condition, and the command that helps.
func (v *autoscalerVisit) judgeVisitedCondition(c autoscalingv2.HorizontalPodAutoscalerCondition) (status Status, fix string) {
	switch {
	case c.Reason == "TooManyReplicas":
		return StatusWarning, v.formatVisitCommand(`patch hpa %s --type=merge -p '{"spec":{"maxReplicas":%d}}'`, v.hpa.Name, min(2*int64(v.hpa.Spec.MaxReplicas), math.MaxInt32))
	case c.Type == autoscalingv2.ScalingLimited, c.Type == autoscalingv2.ScaledToZero:
		return StatusOK, ""
	case c.Status == corev1.ConditionTrue:
		return StatusOK, ""
	case c.Reason == "ScalingDisabled":
		return StatusWarning, v.formatVisitCommand("scale %s --replicas=%d", v.formatVisitedTarget(), inventory.MinReplicasOf(v.hpa))
	case c.Type == autoscalingv2.ScalingActive && !v.hasBrokenAnswer():
		return StatusWarning, v.formatVisitCommand("describe hpa %s", v.hpa.Name) // it reads again within 15 s; what warms up has a check of its own
	}
	return StatusFail, v.formatVisitCommand("describe hpa %s", v.hpa.Name)
}
