package lint

import (
	"fmt"
	"math"

	autoscalingv2 "k8s.io/api/autoscaling/v2"

	"github.com/tachometer-metrics/tachometer/pkg/plugin/inventory"
)

const (
	// defaultTolerance is kube-controller-manager's --horizontal-pod-autoscaler-tolerance.
	defaultTolerance = 0.1
	// wideTolerance is where a tolerance hides a fifth of the load.
	wideTolerance = 0.2
	// defaultDownWindow is kube-controller-manager's --horizontal-pod-autoscaler-downscale-stabilization, in seconds.
	defaultDownWindow = 300
	// The bounds of kube-apiserver, in seconds.
	maxPeriodSeconds = 1800
	maxWindowSeconds = 3600
	// syncSeconds is kube-controller-manager's --horizontal-pod-autoscaler-sync-period.
	syncSeconds = 15
	// maxBurstSeconds is how long a burst may wait for permission for its last pod.
	maxBurstSeconds = 60
	// tolerablePods is the number of pods from which the default tolerance hides more than one.
	tolerablePods = 20
)

// listLimitRules returns the rules about minReplicas and maxReplicas.
func listLimitRules() []Rule {
	return []Rule{
		{
			"invalid-limits", SeverityError,
			"kube-apiserver rejects maxReplicas below 1 and minReplicas below 0.",
			"Set maxReplicas to 1 or more, and minReplicas to 0 or more.", findInvalidLimits,
		},
		{
			"min-above-max", SeverityError,
			"kube-apiserver rejects minReplicas above maxReplicas.",
			"Raise maxReplicas.", findMinAboveMax,
		},
		{
			"no-room", SeverityWarning,
			"minReplicas equals maxReplicas.",
			"Raise maxReplicas, or delete the autoscaler.", findEqualLimits,
		},
		{
			"single-pod", SeverityWarning,
			"With one pod each eviction or crash is an outage.",
			"Set minReplicas to 2.", findSinglePodLimit,
		},
		{
			"unknown-field", SeverityError,
			"kubectl rejects such a field, kube-apiserver ignores it.",
			"Correct its name or its place.", findUnknownFields,
		},
		{
			"unserved-version", SeverityError,
			"kube-apiserver rejects removed versions such as v2beta1 and v2beta2.",
			"Write apiVersion: autoscaling/v2 and its fields.", findUnservedVersion,
		},
	}
}

// listBehaviorRules returns the rules about the speed and the tolerance of an autoscaler.
func listBehaviorRules() []Rule {
	return []Rule{
		{
			"down-faster-than-up", SeverityWarning,
			"It removes pods sooner than it adds them, and the next peak lacks them.",
			"Make scaleDown.stabilizationWindowSeconds longer than scaleUp's.", findDownFasterThanUp,
		},
		{
			"invalid-behavior", SeverityError,
			"kube-apiserver rejects this autoscaler.",
			"Keep periodSeconds from 1 to 1800, stabilizationWindowSeconds from 0 to 3600, values above 0, and no empty policies.",
			findInvalidBehavior,
		},
		{
			"no-scale-down-window", SeverityWarning,
			"One low value removes pods, and the next brings them back.",
			"Set scaleDown.stabilizationWindowSeconds to 60 or more.", findNoDownWindow,
		},
		{
			"period-below-sync", SeverityWarning,
			"The HPA controller looks every 15 s: a shorter period permits less than it says.",
			"Set periodSeconds to 15 or a multiple.", findShortPeriods,
		},
		{
			"scaling-disabled", SeverityWarning,
			"selectPolicy Disabled switches a direction off for ever.",
			"Use a slow policy instead.", findDisabledDirections,
		},
		{
			"slow-burst", SeverityWarning,
			"These scaleUp policies take more than a minute from minReplicas to maxReplicas.",
			"Add a scaleUp policy with a higher percentage, or raise minReplicas.", findSlowBurst,
		},
		{
			"tolerance-hides-pods", SeverityWarning,
			"Within the tolerance nothing happens: of many pods, several may be missing.",
			"Set behavior.scaleUp.tolerance, such as 0.05 (Kubernetes 1.35 and later).", findWideTolerance,
		},
		{
			"tolerance-zero", SeverityWarning,
			"Without a tolerance every look adds or removes a pod.",
			"Set the tolerance to 0.02 or more.", findZeroTolerance,
		},
		{
			"waits-to-scale-up", SeverityWarning,
			"A burst gets pods only when it has lasted as long as the window.",
			"Set scaleUp.stabilizationWindowSeconds to 0.", findUpWindow,
		},
	}
}

// lintedScalingRules returns the rules for a direction; nil where the defaults hold.
func lintedScalingRules(hpa *autoscalingv2.HorizontalPodAutoscaler, up bool) *autoscalingv2.HPAScalingRules {
	switch {
	case hpa.Spec.Behavior == nil:
		return nil
	case up:
		return hpa.Spec.Behavior.ScaleUp
	}
	return hpa.Spec.Behavior.ScaleDown
}

// isDirectionDisabled reports whether a direction is switched off.
func isDirectionDisabled(hpa *autoscalingv2.HorizontalPodAutoscaler, up bool) bool {
	r := lintedScalingRules(hpa, up)
	return r != nil && r.SelectPolicy != nil && *r.SelectPolicy == autoscalingv2.DisabledPolicySelect
}

// stabilizationSeconds returns the window of a direction in seconds.
func stabilizationSeconds(hpa *autoscalingv2.HorizontalPodAutoscaler, up bool) int32 {
	if r := lintedScalingRules(hpa, up); r != nil && r.StabilizationWindowSeconds != nil {
		return *r.StabilizationWindowSeconds
	}
	if up {
		return 0
	}
	return defaultDownWindow
}

// scaleUpTolerance returns the tolerance on the way up.
func scaleUpTolerance(hpa *autoscalingv2.HorizontalPodAutoscaler) float64 {
	if r := lintedScalingRules(hpa, true); r != nil && r.Tolerance != nil {
		return r.Tolerance.AsApproximateFloat64()
	}
	return defaultTolerance
}

func findDownFasterThanUp(s subject) []string {
	up, down := stabilizationSeconds(s.hpa, true), stabilizationSeconds(s.hpa, false)
	return newLintFinding(up > down && !isDirectionDisabled(s.hpa, true) && !isDirectionDisabled(s.hpa, false), "the scaleUp window is %d s, the scaleDown window %d s", up, down)
}

func findUpWindow(s subject) []string {
	up := stabilizationSeconds(s.hpa, true)
	return newLintFinding(up > 0 && !isDirectionDisabled(s.hpa, true), "the scaleUp window is %d s", up)
}

func findNoDownWindow(s subject) []string {
	return newLintFinding(stabilizationSeconds(s.hpa, false) == 0 && !isDirectionDisabled(s.hpa, false), "the scaleDown window is 0")
}

func findInvalidLimits(s subject) []string {
	least := inventory.MinReplicasOf(s.hpa)
	return newLintFinding(least < 0 || s.hpa.Spec.MaxReplicas < 1, "minReplicas is %d, maxReplicas %d", least, s.hpa.Spec.MaxReplicas)
}

// findInvalidBehavior judges each direction as kube-apiserver does.
func findInvalidBehavior(s subject) []string {
	var messages []string
	for _, up := range []bool{true, false} {
		if r := lintedScalingRules(s.hpa, up); r != nil {
			for _, fault := range listScalingRuleFaults(r) {
				messages = append(messages, scalingDirectionName(up)+"."+fault)
			}
		}
	}
	return messages
}

// listScalingRuleFaults returns the fields of a direction that kube-apiserver rejects, with their values.
func listScalingRuleFaults(r *autoscalingv2.HPAScalingRules) []string {
	var faults []string
	if w := r.StabilizationWindowSeconds; w != nil && (*w < 0 || *w > maxWindowSeconds) {
		faults = append(faults, fmt.Sprintf("stabilizationWindowSeconds is %d", *w))
	}
	if r.Tolerance != nil && r.Tolerance.Sign() < 0 {
		faults = append(faults, fmt.Sprintf("tolerance is %s", r.Tolerance))
	}
	switch p := r.SelectPolicy; {
	case p == nil, *p == autoscalingv2.MaxChangePolicySelect, *p == autoscalingv2.MinChangePolicySelect, *p == autoscalingv2.DisabledPolicySelect:
	default:
		faults = append(faults, fmt.Sprintf("selectPolicy is %q", *p))
	}
	if r.Policies != nil && len(r.Policies) == 0 { // without the field, the defaults hold
		faults = append(faults, "policies is empty")
	}
	for i, p := range r.Policies {
		if p.Type != autoscalingv2.PodsScalingPolicy && p.Type != autoscalingv2.PercentScalingPolicy {
			faults = append(faults, fmt.Sprintf("policies[%d].type is %q", i, p.Type))
		}
		if p.Value <= 0 {
			faults = append(faults, fmt.Sprintf("policies[%d].value is %d", i, p.Value))
		}
		if p.PeriodSeconds <= 0 || p.PeriodSeconds > maxPeriodSeconds {
			faults = append(faults, fmt.Sprintf("policies[%d].periodSeconds is %d", i, p.PeriodSeconds))
		}
	}
	return faults
}

func findMinAboveMax(s subject) []string {
	least := inventory.MinReplicasOf(s.hpa)
	return newLintFinding(least > s.hpa.Spec.MaxReplicas && s.hpa.Spec.MaxReplicas > 0, "minReplicas is %d, maxReplicas %d", least, s.hpa.Spec.MaxReplicas)
}

func findEqualLimits(s subject) []string {
	return newLintFinding(inventory.MinReplicasOf(s.hpa) == s.hpa.Spec.MaxReplicas && !inventory.IsHeld(s.hpa), "both limits are %d", s.hpa.Spec.MaxReplicas)
}

func findSinglePodLimit(s subject) []string {
	return newLintFinding(inventory.MinReplicasOf(s.hpa) == 1, "minReplicas is 1")
}

// findUnknownFields reports fields of manifests: kube-apiserver returns none that it does not know.
func findUnknownFields(s subject) []string {
	return s.objects.UnknownFields[s.hpa.Namespace+"/"+s.hpa.Name]
}

func findUnservedVersion(s subject) []string {
	version := s.hpa.APIVersion // empty from a cluster
	return newLintFinding(version != "" && version != "autoscaling/v1" && version != "autoscaling/v2", "apiVersion is %s", version)
}

func findShortPeriods(s subject) []string {
	var messages []string
	for _, up := range []bool{true, false} {
		r := lintedScalingRules(s.hpa, up)
		if r == nil || isDirectionDisabled(s.hpa, up) {
			continue
		}
		for _, p := range r.Policies {
			if p.PeriodSeconds > 0 && p.PeriodSeconds < syncSeconds { // 0 and less are another rule's
				messages = append(messages, fmt.Sprintf("a policy of %s has a period of %d s", scalingDirectionName(up), p.PeriodSeconds))
			}
		}
	}
	return messages
}

func scalingDirectionName(up bool) string {
	if up {
		return "scaleUp"
	}
	return "scaleDown"
}

func findDisabledDirections(s subject) []string {
	var messages []string
	for _, up := range []bool{true, false} {
		if isDirectionDisabled(s.hpa, up) {
			messages = append(messages, scalingDirectionName(up)+" is disabled")
		}
	}
	return messages
}

func findWideTolerance(s subject) []string {
	tolerance := scaleUpTolerance(s.hpa)
	hidden := int(math.Floor(tolerance*float64(s.hpa.Spec.MaxReplicas) + 1e-9)) // 0.29 of 100 are 29, also if the last bit is wrong
	wide := tolerance >= wideTolerance && hidden > 0 || s.hpa.Spec.MaxReplicas >= tolerablePods && hidden > 1
	return newLintFinding(wide, "at %d pods, a tolerance of %.4g hides the need for %d", s.hpa.Spec.MaxReplicas, tolerance, hidden)
}

func findZeroTolerance(s subject) []string {
	for _, up := range []bool{true, false} {
		if r := lintedScalingRules(s.hpa, up); r != nil && r.Tolerance != nil && r.Tolerance.IsZero() {
			return []string{scalingDirectionName(up) + " has a tolerance of 0"}
		}
	}
	return nil
}

func findSlowBurst(s subject) []string {
	if isDirectionDisabled(s.hpa, true) {
		return nil // another rule's
	}
	seconds := measureUpBurst(s.hpa)
	return newLintFinding(seconds > maxBurstSeconds, "from %d to %d pods takes %d s", max(1, inventory.MinReplicasOf(s.hpa)), s.hpa.Spec.MaxReplicas, seconds)
}

// measureUpBurst returns the time from minReplicas to maxReplicas under the scaleUp policies, if the load wants the maximum at once. It plays
// the controller's looks, at most an hour of them.
func measureUpBurst(hpa *autoscalingv2.HorizontalPodAutoscaler) int32 {
	pods, added := max(1, inventory.MinReplicasOf(hpa)), map[int32]int32{} // pods added, by second
	now := int32(0)
	for ; pods < hpa.Spec.MaxReplicas && now < 3600; now += syncSeconds {
		if grown := min(growBurstPods(hpa, pods, now, added), hpa.Spec.MaxReplicas); grown > pods {
			added[now], pods = grown-pods, grown
		}
	}
	return max(0, now-syncSeconds)
}

// growBurstPods returns the pods that the scaleUp policies permit now, given the pods added before.
func growBurstPods(hpa *autoscalingv2.HorizontalPodAutoscaler, pods, now int32, added map[int32]int32) int32 {
	policies := []autoscalingv2.HPAScalingPolicy{ // Kubernetes' defaults
		{Type: autoscalingv2.PercentScalingPolicy, Value: 100, PeriodSeconds: 15}, {Type: autoscalingv2.PodsScalingPolicy, Value: 4, PeriodSeconds: 15},
	}
	least := false
	if r := lintedScalingRules(hpa, true); r != nil {
		if len(r.Policies) > 0 {
			policies = r.Policies
		}
		least = r.SelectPolicy != nil && *r.SelectPolicy == autoscalingv2.MinChangePolicySelect
	}
	grown := int64(0) // a percentage may be so high that it would overflow
	for i, p := range policies {
		start := int64(pods)
		for at, n := range added {
			if now-at < p.PeriodSeconds {
				start -= int64(n)
			}
		}
		to := start + int64(p.Value)
		if p.Type == autoscalingv2.PercentScalingPolicy {
			to = start + (start*int64(p.Value)+99)/100
		}
		if i == 0 || least && to < grown || !least && to > grown {
			grown = to
		}
	}
	return int32(min(grown, int64(hpa.Spec.MaxReplicas)))
}
