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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
// which Kubernetes records in whole seconds, and all that did not take part in the last verification or, before the first, came later. At least the youngest
// Replicas - ReplicasBefore pods are new: pods of a hold that failed a moment ago, kept by a second try, are not proven. Without pods before it, all are: an
// autoscaler may have kept more of them than the hold asks for, and take any away.
func splitRolloutPods(pods []corev1.Pod, h *hold.Object) (now, old []corev1.Pod) {
	youngest := slices.SortedFunc(slices.Values(pods), func(a, b corev1.Pod) int {
		return cmp.Or(b.CreationTimestamp.Compare(a.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	began := h.Status.Since.Truncate(time.Second)
	for i := range youngest {
		if pod := &youngest[i]; h.Status.ReplicasBefore == 0 || i < int(h.Spec.Replicas-h.Status.ReplicasBefore) || !pod.CreationTimestamp.Time.Before(began) || !tookPartInVerification(pod, h) {
			now = append(now, *pod)
		} else {
			old = append(old, *pod)
		}
	}
	return now, old
}

// countPodsOfOthers returns how many pods of a workload are not of a hold that begins again. An autoscaler may have kept pods of the hold, which are not
// verified: none then, since the pods of before may have been replaced.
func (o *HeldWorkload) countPodsOfOthers(h *hold.Object) int32 {
	if o.Scale == nil || o.Scale.Replicas > h.Status.ReplicasBefore {
		return 0
	}
	return o.Scale.Replicas
}

// isPodProven reports whether a hold may count a ready pod: after its verification, only the pods that took part in it.
func isPodProven(pod *corev1.Pod, h *hold.Object) bool {
	return h.Status.State != hold.Verified || tookPartInVerification(pod, h)
}

// tookPartInVerification reports whether a ready pod was there at the last verification of a hold, if there was one: it is as old as the pods of then,
// and was ready. A pod that became ready again since has another process.
func tookPartInVerification(pod *corev1.Pod, h *hold.Object) bool {
	youngest, ready := h.Status.YoungestVerified, h.Status.VerifiedReadyAt
	return (youngest.IsZero() || !pod.CreationTimestamp.After(youngest.Time)) && (ready.IsZero() || !findRolloutPodReadyTime(pod).After(ready.Time))
}

// findYoungestPodTime returns the creation of the youngest pod by the API server's clock, from which this one may differ; zero: there is none.
func findYoungestPodTime(pods []corev1.Pod) (at metav1.Time) {
	for i := range pods {
		if made := pods[i].CreationTimestamp; at.Before(&made) {
			at = made
		}
	}
	return at
}

// findRolloutPodReadyTime returns the time at which a pod became ready; zero: it is not, or does not say.
func findRolloutPodReadyTime(pod *corev1.Pod) metav1.Time {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
			return c.LastTransitionTime
		}
	}
	return metav1.Time{}
}

// countProvenPods counts the ready pods that a hold may count.
func (o *HeldWorkload) countProvenPods(h *hold.Object) (n int32) {
	for i := range o.Pods {
		if pod := &o.Pods[i]; isRolloutPodReady(pod) && isPodProven(pod, h) {
			n++
		}
	}
	return n
}

// describeMissingPods counts the pods that a hold still needs, by cause; empty if enough are ready. More pods of the autoscaler's own do
// not matter.
func (o *HeldWorkload) describeMissingPods(h *hold.Object, now time.Time) string {
	need, ready := o.podsNeededByHold(h), o.countProvenPods(h)
	if o.PodsOutdated && need > 0 {
		return "the scale has just changed"
	}
	if ready >= need {
		return ""
	}
	if o.PodsFault != "" {
		return o.PodsFault
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

// describeReplicaFailure returns the workload's own message about pods that cannot be created, such as an exhausted quota.
func describeReplicaFailure(object *unstructured.Unstructured) string {
	if c := findReplicaFailure(object); c != nil {
		return fmt.Sprintf(" (%v)", c["message"])
	}
	return ""
}

// findReplicaFailure returns the condition of a workload that says that its pods cannot be created; nil without one.
func findReplicaFailure(object *unstructured.Unstructured) map[string]any {
	found, _, _ := unstructured.NestedFieldNoCopy(object.Object, "status", "conditions")
	conditions, _ := found.([]any)
	for _, condition := range conditions {
		if c, ok := condition.(map[string]any); ok && c["type"] == "ReplicaFailure" && c["status"] == "True" {
			return c
		}
	}
	return nil
}
