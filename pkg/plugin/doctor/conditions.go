// The conditions of an autoscaler in plain words.

package doctor

import (
	"fmt"
	"regexp"
	"strings"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"

	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/inventory"
)

// checkHPAConditions judges the conditions that the HPA controller wrote.
func (v *autoscalerDiagnosis) checkHPAConditions() {
	if len(v.hpa.Status.Conditions) == 0 {
		v.addVisitCheck("condition", StatusWarning, "the HPA controller has written no condition yet", formatDescribeHPACommand(v.hpa))
	}
	for _, c := range v.hpa.Status.Conditions {
		status, fix := v.judgeHPACondition(c)
		message := fmt.Sprintf("%s=%s: %s", c.Type, c.Status, inventory.DescribeCondition(c.Reason))
		if status != StatusOK {
			message += " (" + c.Message + ")"
		}
		v.addVisitCheck("condition", status, message, fix)
	}
}

// judgeHPACondition returns the outcome of a condition, and the command that helps.
func (v *autoscalerDiagnosis) judgeHPACondition(c autoscalingv2.HorizontalPodAutoscalerCondition) (status Status, fix string) {
	switch {
	case c.Reason == "TooManyReplicas":
		return StatusWarning, v.formatMaxReplicasCommand()
	case c.Reason == "ScaleUpStabilized":
		return StatusWarning, v.formatVisitReadCommand(`patch hpa %s --type=json -p '[{"op":"remove","path":"/spec/behavior/scaleUp/stabilizationWindowSeconds"}]'`, v.hpa.Name)
	case c.Type == autoscalingv2.ScalingLimited, c.Type == autoscalingv2.ScaledToZero:
		return StatusOK, ""
	case c.Status == corev1.ConditionTrue:
		return StatusOK, ""
	case c.Reason == "ScalingDisabled":
		return StatusWarning, v.formatWakingCommand()
	case deniedUser.MatchString(c.Message):
		return StatusFail, v.formatControllerGrant(c.Message)
	case c.Reason == "AmbiguousSelector", c.Reason == "InvalidSelector": // no read of a metric shows these
		return StatusFail, formatDescribeHPACommand(v.hpa)
	case c.Type == autoscalingv2.ScalingActive && !v.hasBrokenAnswer():
		return StatusWarning, formatDescribeHPACommand(v.hpa) // it reads again within 15 s; a metric that warms up has a check of its own
	}
	return StatusFail, formatDescribeHPACommand(v.hpa)
}

// formatWakingCommand returns the command that switches on an autoscaler with its target at 0.
func (v *autoscalerDiagnosis) formatWakingCommand() string {
	ref := v.hpa.Spec.ScaleTargetRef
	target := strings.ToLower(ref.Kind) + "/" + ref.Name
	if !plaintext.IsShellWord(target) {
		return formatDescribeHPACommand(v.hpa)
	}
	return v.formatVisitReadCommand("scale %s --replicas=%d", target, max(1, inventory.MinReplicasOf(v.hpa)))
}

var (
	// deniedUser matches the denial of a read by kube-apiserver.
	deniedUser = regexp.MustCompile(`is forbidden: User "[^"]*" cannot `)
	// deniedController matches the denial of a user that the HPA controller can have, with the API. A condition quotes names of tenants,
	// so no other user becomes part of a command.
	deniedController = regexp.MustCompile(`is forbidden: User "system:(kube-controller-manager|serviceaccount:kube-system:[a-z0-9][a-z0-9.-]*)" cannot .* in API group "((?:custom\.|external\.)?metrics\.k8s\.io)"`)
)

// formatControllerGrant returns the command for the right that the HPA controller lacks according to a condition, for the user in that condition.
func (v *autoscalerDiagnosis) formatControllerGrant(message string) string {
	found := deniedController.FindStringSubmatch(message)
	if found == nil {
		return formatDescribeHPACommand(v.hpa)
	}
	subject := "--user=system:" + found[1]
	if name, isAccount := strings.CutPrefix(found[1], "serviceaccount:"); isAccount {
		subject = "--serviceaccount=" + name
	}
	return formatHPAControllerGrant(found[2], subject)
}
