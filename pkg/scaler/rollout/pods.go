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

// isReadyPod tells whether the pod serves.
func isReadyPod(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// splitPodsByHold parts the pods into the hold's new ones and those that were there before. New are all that were made since it was asked
// for, which Kubernetes notes in whole seconds, and at least as many as it raised the target by, the youngest: those of a hold
// that failed a moment ago, which are on their way out and are kept when it is asked for again, are not the proven ones.
func splitPodsByHold(pods []corev1.Pod, h *hold.Hold) (now, old []corev1.Pod) {
	youngest := slices.SortedFunc(slices.Values(pods), func(a, b corev1.Pod) int {
		return cmp.Or(b.CreationTimestamp.Compare(a.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	n := 0
	for n < len(youngest) && !youngest[n].CreationTimestamp.Time.Before(h.Since.Truncate(time.Second)) {
		n++
	}
	n = max(n, min(len(youngest), int(h.Replicas-h.Before)))
	return youngest[:n], youngest[n:]
}

// describeMissingPods is what the hold's new pods lack; empty if all are there and ready. How many there must be is the target's scale
// now: the autoscaler may have decided on more since, or, where the floor is below the replicas, on fewer.
func (p *reconcilePass) describeMissingPods(h *hold.Hold) string {
	pods, _ := splitPodsByHold(p.pods, h)
	causes := map[string]int{}
	for i := range pods {
		if !isReadyPod(&pods[i]) {
			causes[describeUnreadyPod(&pods[i])]++
		}
	}
	absent := int(p.specReplicas()) - len(p.pods)
	if absent <= 0 && len(causes) == 0 {
		return ""
	}
	if absent > 0 {
		causes["not created"] += absent
	}
	var parts []string
	total := 0
	for _, cause := range slices.Sorted(maps.Keys(causes)) {
		parts = append(parts, fmt.Sprintf("%d %s", causes[cause], cause))
		total += causes[cause]
	}
	return fmt.Sprintf("%d of %d pods not ready after %s: %s", total, p.specReplicas(), p.now.Sub(h.Since).Round(time.Second), strings.Join(parts, ", "))
}

// describeUnreadyPod is why a pod is not ready, in Kubernetes' own words, for counting.
func describeUnreadyPod(pod *corev1.Pod) string {
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

// replicaFailureHint is what the target itself says about pods that cannot be made, such as a quota that is used up.
func (p *reconcilePass) replicaFailureHint() string {
	conditions, _, _ := unstructured.NestedSlice(p.object.Object, "status", "conditions")
	for _, c := range conditions {
		if c, ok := c.(map[string]any); ok && c["type"] == "ReplicaFailure" && c["status"] == "True" {
			return fmt.Sprintf(" (%v)", c["message"])
		}
	}
	return ""
}
