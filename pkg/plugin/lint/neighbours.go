package lint

import (
	"fmt"
	"slices"
	"strings"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/tachometer-metrics/tachometer/pkg/kube"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/inventory"
)

// listNeighbourRules returns the rules about the objects around an autoscaler.
func listNeighbourRules() []Rule {
	return []Rule{
		{
			"budget-blocks-all", SeverityWarning,
			"The budget stops every drain of a node.",
			"Keep one budget, with maxUnavailable: 1.", findBlockingBudgets,
		},
		{
			"budget-equals-minimum", SeverityWarning,
			"At its minimum the workload has no pod to spare: no node can be drained.",
			"Set maxUnavailable: 1 in place of minAvailable, or raise minReplicas.", findBudgetAtMinimum,
		},
		{
			"keda-owner", SeverityWarning,
			"KEDA overwrites changes of this autoscaler, and serves its metrics.",
			"Change the ScaledObject instead.", findKEDAOwner,
		},
		{
			"overlapping-selectors", SeverityError,
			"The selector matches pods of two workloads: the HPA counts both, or rejects them (AmbiguousSelector).",
			"Give each workload its own label, Jobs and DaemonSets too.", findOverlappingSelectors,
		},
		{
			"target-missing", SeverityWarning,
			"The scale target was not read: its name may be mistyped.",
			"Correct scaleTargetRef, or name the workload's file too.", findMissingTarget,
		},
		{
			"target-without-group", SeverityError,
			"The API group of scaleTargetRef.apiVersion has no such kind.",
			"Write apiVersion: apps/v1 in scaleTargetRef.", findWrongTargetGroup,
		},
		{
			"target-without-scale", SeverityError,
			"Such a kind has no scale.",
			"Name a kind with a scale, such as Deployment, spelled as in its manifest.", findUnscalableTarget,
		},
		{
			"two-autoscalers", SeverityError,
			"Two autoscalers of one workload undo each other's work.",
			"Put both metrics into one autoscaler: the highest wish wins.", findTwoAutoscalers,
		},
		{
			"vertical-autoscaler", SeverityWarning,
			"Both act on one resource: a changed request changes the number of pods.",
			"Scale on load; or set the VerticalPodAutoscaler's updateMode to \"Off\", or its controlledResources to the other resource.", findVerticalAutoscalers,
		},
	}
}

func findTwoAutoscalers(s subject) []string {
	var messages []string
	for _, rival := range s.objects.RivalsOf(s.hpa) {
		messages = append(messages, fmt.Sprintf("hpa/%s has the same target", rival.Name))
	}
	for _, o := range s.objects.ScaledObjectsOf(s.hpa) {
		messages = append(messages, fmt.Sprintf("KEDA makes an autoscaler for ScaledObject %s, which has the same target", o.Name))
	}
	return messages
}

// findVerticalAutoscalers looks for VerticalPodAutoscalers that change a resource on which an autoscaler scales.
func findVerticalAutoscalers(s subject) []string {
	return lintEachMetric(s, func(m autoscalingv2.MetricSpec) string {
		name, container, _ := lintedResourceMetric(m)
		if name == "" {
			return ""
		}
		for _, v := range s.objects.VerticalAutoscalersOf(s.hpa, name, container) {
			return "VerticalPodAutoscaler " + v.Name + " changes its request"
		}
		return ""
	})
}

func findMissingTarget(s subject) []string {
	ref := s.hpa.Spec.ScaleTargetRef
	known := inventory.IsAppsTarget(ref)
	for _, u := range s.objects.Unread {
		known = known && u.Resource != "deployments" && u.Resource != "statefulsets"
	}
	if ref.Name == "" {
		return []string{"scaleTargetRef has no name"}
	}
	return newLintFinding(s.workload == nil && known, "%s %s is not among the objects that were read", ref.Kind, ref.Name)
}

func findWrongTargetGroup(s subject) []string {
	ref := s.hpa.Spec.ScaleTargetRef
	return newLintFinding(inventory.LacksAppsGroup(ref), "%s %s with apiVersion %q", ref.Kind, ref.Name, ref.APIVersion)
}

func findUnscalableTarget(s subject) []string {
	ref := s.hpa.Spec.ScaleTargetRef
	return newLintFinding(inventory.LacksScale(ref), "%s %s with apiVersion %q", ref.Kind, ref.Name, ref.APIVersion)
}

func findKEDAOwner(s subject) []string {
	owner := kube.FindScaledObject(s.hpa)
	return newLintFinding(owner != "", "it belongs to ScaledObject %s", owner)
}

func findOverlappingSelectors(s subject) []string {
	if s.workload == nil {
		return nil
	}
	selector := s.workload.PodSelector()
	var messages []string
	for i := range s.objects.Workloads {
		w := &s.objects.Workloads[i]
		hasPods := w.Replicas == nil || *w.Replicas > 0 // the Deployment that a Rollout takes over is at 0
		other := w.Namespace == s.workload.Namespace && w.Ref() != s.workload.Ref()
		if other && hasPods && selector.Matches(labels.Set(w.Template.Labels)) {
			messages = append(messages, fmt.Sprintf("the selector of %s matches the pods of %s too", s.workload.Ref(), w.Ref()))
		}
	}
	return append(messages, findUnscaledPods(s)...)
}

// findUnscaledPods looks for pods of Jobs and DaemonSets among the pods of a workload. A pod of a Job that
// has ended well still counts: the controller takes it for a pod without a value.
func findUnscaledPods(s subject) []string {
	selector := s.workload.PodSelector()
	var found []string
	for i := range s.objects.Unscaled {
		w := &s.objects.Unscaled[i]
		if w.Namespace == s.workload.Namespace && selector.Matches(labels.Set(w.Template.Labels)) {
			found = append(found, w.Ref())
		}
	}
	for i := range s.objects.Pods {
		p := &s.objects.Pods[i]
		if s.workload.Group == "" && p.Namespace == s.workload.Namespace && p.Status.Phase != corev1.PodFailed && selector.Matches(labels.Set(p.Labels)) {
			if ref := findUnscaledOwner(p); ref != "" && !slices.Contains(found, ref) {
				found = append(found, ref)
			}
		}
	}
	for i, ref := range found {
		found[i] = fmt.Sprintf("the selector of %s matches the pods of %s too", s.workload.Ref(), ref)
	}
	return found
}

// findUnscaledOwner returns the Job or the DaemonSet of a pod; nothing for the pods of others.
func findUnscaledOwner(p *corev1.Pod) string {
	owner := metav1.GetControllerOf(p)
	if owner == nil || owner.Kind != "Job" && owner.Kind != "DaemonSet" {
		return ""
	}
	return strings.ToLower(owner.Kind) + "/" + owner.Name
}

// findBudgetAtMinimum looks for a budget that keeps every pod of the minimum.
func findBudgetAtMinimum(s subject) []string {
	least := int(inventory.MinReplicasOf(s.hpa))
	var messages []string
	for _, b := range s.objects.BudgetsOf(s.workload) {
		if budgetKeepsAllPods(b, least) && !budgetKeepsAllPods(b, int(s.hpa.Spec.MaxReplicas)) {
			messages = append(messages, fmt.Sprintf("pdb/%s keeps %s, minReplicas is %d", b.Name, b.Spec.MinAvailable.String(), least))
		}
	}
	return messages
}

// budgetKeepsAllPods reports whether minAvailable of a budget keeps all of a number of pods. A share is rounded up.
func budgetKeepsAllPods(b *policyv1.PodDisruptionBudget, pods int) bool {
	if b.Spec.MinAvailable == nil || pods <= 0 {
		return false
	}
	kept, err := intstr.GetScaledValueFromIntOrPercent(b.Spec.MinAvailable, pods, true)
	return err == nil && kept >= pods
}

func findBlockingBudgets(s subject) []string {
	var messages, names []string
	for _, b := range s.objects.BudgetsOf(s.workload) {
		if !slices.Contains(names, "pdb/"+b.Name) { // overlays have variants of one budget
			names = append(names, "pdb/"+b.Name)
		}
		if most := int(s.hpa.Spec.MaxReplicas); budgetKeepsAllPods(b, most) {
			messages = append(messages, fmt.Sprintf("pdb/%s has minAvailable: %s, and maxReplicas is %d", b.Name, b.Spec.MinAvailable.String(), most))
		}
		if none := b.Spec.MaxUnavailable; none != nil {
			if most, err := intstr.GetScaledValueFromIntOrPercent(none, 100, true); err == nil && most == 0 {
				messages = append(messages, fmt.Sprintf("pdb/%s has maxUnavailable: %s", b.Name, none.String()))
			}
		}
	}
	if len(names) > 1 {
		messages = append(messages, strings.Join(names, " and ")+" select the same pods, and the eviction API evicts no pod of two budgets")
	}
	return messages
}
