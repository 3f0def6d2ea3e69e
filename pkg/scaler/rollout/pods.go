// New and old pods of a hold, and the causes of unready pods.

package rollout

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// isRolloutPodReady reports whether the pod has the condition Ready.
func isRolloutPodReady(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// splitRolloutPods splits the pods into the new pods of the hold and the old pods. New are all pods created since the start of the hold,
// which Kubernetes records in whole seconds. At least the youngest Replicas - ReplicasBefore pods are new: pods of a hold that failed
// a moment ago, kept by a second try, are not proven.
func splitRolloutPods(pods []corev1.Pod, h *hold.Object) (now, old []corev1.Pod) {
	youngest := slices.SortedFunc(slices.Values(pods), func(a, b corev1.Pod) int {
		return cmp.Or(b.CreationTimestamp.Compare(a.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	n := 0
	for n < len(youngest) && !youngest[n].CreationTimestamp.Time.Before(h.Status.Since.Truncate(time.Second)) {
		n++
	}
	n = max(n, min(len(youngest), int(h.Spec.Replicas-h.Status.ReplicasBefore)))
	return youngest[:n], youngest[n:]
}

// isPodProven reports whether a hold may count a ready pod: a pod that is younger than those of its verification did not take part in it.
func isPodProven(pod *corev1.Pod, h *hold.Object) bool {
	youngest := h.Status.YoungestVerified
	return h.Status.State != hold.Verified || youngest.IsZero() || !pod.CreationTimestamp.After(youngest.Time)
}

// countProvenPods counts the ready pods that a hold may count.
func (o *Observed) countProvenPods(h *hold.Object) (n int32) {
	for i := range o.Pods {
		if pod := &o.Pods[i]; isRolloutPodReady(pod) && isPodProven(pod, h) {
			n++
		}
	}
	return n
}

// describeMissingPods counts the pods that a hold still needs, by cause; empty if enough are ready. More pods of the autoscaler's own do
// not matter.
func (o *Observed) describeMissingPods(h *hold.Object, now time.Time) string {
	need, ready := o.neededPods(h), o.countProvenPods(h)
	if o.PodsOutdated && need > 0 {
		return "the scale has just changed"
	}
	if ready >= need {
		return ""
	}
	if o.Scale != nil && o.Scale.Selector == "" {
		return "the scale of the workload has no selector, so its pods are not known: give its resource a labelSelectorPath"
	}
	causes := map[string]int{}
	for i := range o.Pods {
		switch pod := &o.Pods[i]; {
		case !isRolloutPodReady(pod):
			causes[describeUnreadyRolloutPod(pod)]++
		case !isPodProven(pod, h):
			causes["not verified"]++
		}
	}
	if absent := int(need) - len(o.Pods); absent > 0 {
		causes["not created"] += absent
	}
	var parts []string
	for _, cause := range slices.Sorted(maps.Keys(causes)) {
		parts = append(parts, fmt.Sprintf("%d %s", causes[cause], cause))
	}
	return fmt.Sprintf("%d of %d pods not ready after %s: %s", need-ready, need, now.Sub(h.Status.Since.Time).Round(time.Second), strings.Join(parts, ", "))
}

// describeUnreadyRolloutPod returns the cause for which a pod is not ready, in Kubernetes' own words.
func describeUnreadyRolloutPod(pod *corev1.Pod) string {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return "not scheduled (" + c.Message + ")"
		}
	}
	for _, s := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		switch {
		case s.State.Waiting != nil && s.State.Waiting.Reason != "":
			return "waiting (" + s.State.Waiting.Reason + ")"
		case s.State.Terminated != nil:
			return fmt.Sprintf("terminated (%s, exit code %d)", s.State.Terminated.Reason, s.State.Terminated.ExitCode)
		}
	}
	if pod.Status.Phase == corev1.PodRunning {
		return "running, not ready"
	}
	return strings.ToLower(string(pod.Status.Phase))
}

// findReplicaFailure returns the workload's own message about pods that cannot be created, such as an exhausted quota.
func findReplicaFailure(object *unstructured.Unstructured) string {
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, c := range conditions {
		if c, ok := c.(map[string]any); ok && c["type"] == "ReplicaFailure" && c["status"] == "True" {
			return fmt.Sprintf(" (%v)", c["message"])
		}
	}
	return ""
}
