// The limits in an autoscaler's spec that hold back its present wishes.

package doctor

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"

	"github.com/tachometer-metrics/tachometer/pkg/hpa"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/inventory"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/output"
	"github.com/tachometer-metrics/tachometer/pkg/replay"
)

// checkScalingBehavior warns where the spec keeps the autoscaler from a change that its metrics ask for. Conditions do not say so.
func (v *autoscalerDiagnosis) checkScalingBehavior() {
	if least, most := inventory.MinReplicasOf(v.hpa), v.hpa.Spec.MaxReplicas; least == most && !inventory.IsHeld(v.hpa) {
		v.addVisitCheck("behavior", StatusWarning, fmt.Sprintf("minReplicas and maxReplicas are both %d: it can change nothing", most), v.formatMaxReplicasCommand())
	}
	wish, isKnown := v.highestMetricWish()
	current := v.countTargetReplicas()
	for _, d := range []struct {
		name    string
		rules   *autoscalingv2.HPAScalingRules
		isAsked bool
	}{
		{"scaleUp", v.visitedScalingRules(true), isKnown && wish > current && current < v.hpa.Spec.MaxReplicas},
		{"scaleDown", v.visitedScalingRules(false), isKnown && wish < current && current > inventory.MinReplicasOf(v.hpa)},
	} {
		if d.isAsked && d.rules != nil && d.rules.SelectPolicy != nil && *d.rules.SelectPolicy == autoscalingv2.DisabledPolicySelect {
			v.addVisitCheck("behavior", StatusWarning, fmt.Sprintf("it has %s and its metrics ask for %d, but %s is disabled (selectPolicy)", output.Count(int(current), "pod"), wish, d.name),
				v.formatVisitReadCommand(`patch hpa %s --type=json -p '[{"op":"remove","path":"/spec/behavior/%s/selectPolicy"}]'`, v.hpa.Name, d.name))
		}
	}
	v.checkScaleUpPolicies(wish, isKnown && wish > current && current < v.hpa.Spec.MaxReplicas)
	v.checkScalingTolerance()
}

// slowPolicyPeriod is the period above which a policy that holds a scale-up back is worth a word: the default is 15 s.
const slowPolicyPeriod = time.Minute

// checkScaleUpPolicies warns where policies with long periods alone hold back the scale-up that the metrics ask for.
func (v *autoscalerDiagnosis) checkScaleUpPolicies(wish int32, isAsked bool) {
	rules := v.visitedScalingRules(true)
	if !isAsked || rules == nil || len(rules.Policies) == 0 || !slices.ContainsFunc(v.hpa.Status.Conditions, func(c autoscalingv2.HorizontalPodAutoscalerCondition) bool {
		return c.Reason == "ScaleUpLimit"
	}) {
		return
	}
	var texts []string
	for _, p := range rules.Policies {
		period := time.Duration(p.PeriodSeconds) * time.Second
		if period <= slowPolicyPeriod {
			return
		}
		amount := output.Count(int(p.Value), "pod")
		if p.Type == autoscalingv2.PercentScalingPolicy {
			amount = fmt.Sprintf("%d%%", p.Value)
		}
		texts = append(texts, amount+" in "+output.Duration(period))
	}
	v.addVisitCheck("behavior", StatusWarning, fmt.Sprintf("it has %s and its metrics ask for %d, but the scaleUp policies permit %s", output.Count(int(v.countTargetReplicas()), "pod"), wish,
		strings.Join(texts, ", ")), v.formatVisitReadCommand(`patch hpa %s --type=json -p '[{"op":"remove","path":"/spec/behavior/scaleUp/policies"}]'`, v.hpa.Name))
}

// checkScalingTolerance warns of a tolerance that hides a change above the default tolerance.
func (v *autoscalerDiagnosis) checkScalingTolerance() {
	usual := replay.Settings().Tolerance
	for i, d := range v.decisions {
		if d.Err != nil || d.Stage != hpa.StageTolerated || d.NewUsageRatio != nil || math.Abs(d.UsageRatio-1) <= usual+1e-9 {
			continue
		}
		name, tolerance := "scaleUp", d.Tolerance.Up
		if d.UsageRatio < 1 {
			name, tolerance = "scaleDown", d.Tolerance.Down
		}
		v.addVisitCheck("behavior", StatusWarning, fmt.Sprintf("%s: %.3g times its target, and within the %s tolerance of %.3g", v.answers[i].Metric, d.UsageRatio, name, tolerance),
			v.formatVisitReadCommand(`patch hpa %s --type=json -p '[{"op":"remove","path":"/spec/behavior/%s/tolerance"}]'`, v.hpa.Name, name))
	}
}

// highestMetricWish returns the highest wish of the metrics; it is unknown without one.
func (v *autoscalerDiagnosis) highestMetricWish() (wish int32, isKnown bool) {
	for _, d := range v.decisions {
		if d.Err == nil && (!isKnown || d.Replicas > wish) {
			wish, isKnown = d.Replicas, true
		}
	}
	return wish, isKnown
}

// countTargetReplicas returns the number of pods that the wishes start from.
func (v *autoscalerDiagnosis) countTargetReplicas() int32 {
	if v.hpa.Status.CurrentReplicas == 0 {
		return int32(len(v.pods)) //nolint:gosec // pods of one workload
	}
	return v.hpa.Status.CurrentReplicas
}

func (v *autoscalerDiagnosis) visitedScalingRules(up bool) *autoscalingv2.HPAScalingRules {
	switch {
	case v.hpa.Spec.Behavior == nil:
		return nil
	case up:
		return v.hpa.Spec.Behavior.ScaleUp
	}
	return v.hpa.Spec.Behavior.ScaleDown
}

// formatMaxReplicasCommand returns the command that doubles maxReplicas.
func (v *autoscalerDiagnosis) formatMaxReplicasCommand() string {
	return v.formatVisitReadCommand(`patch hpa %s --type=merge -p '{"spec":{"maxReplicas":%d}}'`, v.hpa.Name, min(2*int64(v.hpa.Spec.MaxReplicas), math.MaxInt32))
}
