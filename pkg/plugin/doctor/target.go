// The scale target of an autoscaler and its pods.

package doctor

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/tachometer-metrics/tachometer/pkg/plugin/inventory"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/output"
)

// startTime is how long a new pod may take to become ready before it is worth a word.
const startTime = time.Minute

// formatTargetsReadCommand returns the command that corrects the kind of a target, or that shows which targets there are.
func (v *autoscalerDiagnosis) formatTargetsReadCommand(fault inventory.TargetFault) string {
	ref := v.hpa.Spec.ScaleTargetRef
	if right := inventory.SpellScalableKind(ref.Kind); right != "" {
		return v.formatVisitReadCommand(`patch hpa %s --type=merge -p '{"spec":{"scaleTargetRef":{"apiVersion":"apps/v1","kind":%q}}}'`, v.hpa.Name, right)
	}
	if fault == inventory.TargetKindUnknown {
		return "kubectl api-resources"
	}
	if plural, err := v.Metrics.FindResource(ref); err == nil && fault == inventory.TargetAbsent {
		return v.formatVisitReadCommand("get %s", plural)
	}
	return v.formatVisitReadCommand("get deployments,statefulsets")
}

// checkTargetPods checks that the target gets the pods that it asks for, and that they become ready.
func (v *autoscalerDiagnosis) checkTargetPods() {
	if v.workload == nil || v.objects.IsUnread("pods") {
		return
	}
	wanted := len(v.pods)
	if v.workload.Replicas != nil {
		wanted = int(*v.workload.Replicas)
	}
	text := fmt.Sprintf("%s has %d of %s", v.workload.Ref(), len(v.pods), output.Count(wanted, "pod"))
	switch {
	case v.workload.Failure != "":
		v.addVisitCheck("pods", StatusFail, text+", and kube-apiserver rejects new ones: "+v.workload.Failure,
			v.formatVisitReadCommand("%s", chooseRejectionCommand(v.workload.Failure)))
	case len(v.pods) < wanted:
		v.addVisitCheck("pods", StatusWarning, text, v.formatVisitReadCommand("describe %s", v.workload.Ref()))
	}
	if v.workload.IsPaused {
		v.addVisitCheck("pods", StatusWarning, v.workload.Ref()+" is paused: changes of its template reach no pod", v.formatVisitReadCommand("rollout resume %s", v.workload.Ref()))
	}
	v.checkPodReadiness()
}

// checkPodReadiness names the first pod that does not become ready.
func (v *autoscalerDiagnosis) checkPodReadiness() {
	var troubled []*corev1.Pod
	for _, p := range v.pods {
		if !inventory.IsReady(p) && p.DeletionTimestamp == nil && v.Now().Sub(p.CreationTimestamp.Time) > startTime {
			troubled = append(troubled, p)
		}
	}
	if len(troubled) == 0 {
		return
	}
	status, first := StatusWarning, troubled[0]
	if len(troubled) == len(v.pods) {
		status = StatusFail
	}
	v.addVisitCheck("pods", status, fmt.Sprintf("%d of %s not ready; %s: %s", len(troubled), output.Count(len(v.pods), "pod"), first.Name,
		describePodTrouble(first)), formatPodCommand(first))
}
