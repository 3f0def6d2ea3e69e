// Autoscalers that allow fewer replicas than a hold asks for, or belong to KEDA. A hold fails before it is open, and says so once it is.

package rollout

import (
	"fmt"
	"slices"
	"strings"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// conditionYielded tells that the hold does not have its numbers. Its reasons:
const (
	conditionYielded = "Yielded"
	yieldedToOther   = "SetByOther"        // another client set a number of the hold
	yieldedToMaximum = "AutoscalerMaximum" // the autoscaler allows fewer replicas than the open hold asks for
	yieldedToKEDA    = "ScaledObject"      // KEDA owns the autoscaler
)

// isHoldYielded reports whether a hold says that it does not have its numbers.
func isHoldYielded(h *hold.Object) bool {
	c := findHoldCondition(h, conditionYielded)
	return c != nil && c.Status == metav1.ConditionTrue
}

// maxReplicasFailure returns why the autoscaler cannot have as many replicas as a hold asks for; empty: it can, or the hold yielded the maximum
// to another client.
func (o *HeldWorkload) maxReplicasFailure(h *hold.Object, now time.Time) string {
	allowed := o.Autoscaler.Bounds.MaxReplicas
	if n, keeper := o.findHoldNumbers(); keeper != nil && n.AutoscalerUID == o.Autoscaler.UID {
		allowed = n.MaxReplicas.Was
	}
	for _, held := range o.listCountedHolds(fieldMaxReplicas, now) {
		allowed = max(allowed, held.CountedNumbers().MaxReplicas)
	}
	if h.Spec.Replicas <= allowed || leavesYieldedField(h, fieldMaxReplicas) {
		return ""
	}
	return fmt.Sprintf("autoscaler %s allows at most %d replicas; the hold asks for %d: raise its maxReplicas, or set the hold's maxReplicas",
		o.Autoscaler.Name, allowed, h.Spec.Replicas)
}

// scaledObjectFailure returns that KEDA owns the autoscaler; empty: it does not.
func (o *HeldWorkload) scaledObjectFailure() string {
	owner := o.scaledObject()
	if owner == "" {
		return ""
	}
	return fmt.Sprintf("autoscaler %s belongs to ScaledObject %s, which reverts every change: set its minReplicaCount instead", o.Autoscaler.Name, owner)
}

// isAutoscalerRecorded reports whether the record is of the workload's present autoscaler.
func (o *HeldWorkload) isAutoscalerRecorded() bool {
	n, keeper := o.findHoldNumbers()
	return keeper != nil && o.Autoscaler != nil && n.AutoscalerUID == o.Autoscaler.UID
}

// reportMaxReplicas notes on an open hold that the autoscaler takes pods from it, and drops the note when that ends. The gate stays open: its pods
// were there when it opened, and traffic may need the remaining pods.
func (o *HeldWorkload) reportMaxReplicas(now time.Time) (Step, bool) {
	for _, i := range o.listHoldsInState(hold.Open, now) {
		h := &o.Holds[i]
		if o.Autoscaler != nil && !o.isAutoscalerRecorded() {
			continue // its own maximum is not known yet
		}
		reason, text := yieldedToKEDA, o.scaledObjectFailure()
		if text == "" && o.Autoscaler != nil {
			reason, text = yieldedToMaximum, o.maxReplicasFailure(h, now)
		}
		c := findHoldCondition(h, conditionYielded)
		reported := isHoldYielded(h) && c.Reason != yieldedToOther
		switch {
		case text != "" && (!reported || c.Reason != reason || c.Message != text):
			status := h.Status.DeepCopy()
			status.Conditions = setHoldCondition(status.Conditions, conditionYielded, metav1.ConditionTrue, reason, text, now)
			status.Told = forgetHoldOutcome(status.Told, reasonYielded)
			s := o.writeStatusStep(i, status)
			s.Confirm = true
			return s.withStepWarning(reasonYielded, "hold %s: %s", h.HoldID(), text), true
		case text == "" && reported:
			return o.writeStatusStep(i, clearMaxReplicasYield(h.Status.DeepCopy(), now)), true
		}
	}
	return Step{}, false
}

// clearMaxReplicasYield returns the status of a hold without the note that its autoscaler takes pods from it. A yield to another client lasts.
func clearMaxReplicasYield(status hold.Status, now time.Time) hold.Status {
	c := apimeta.FindStatusCondition(status.Conditions, conditionYielded)
	if c == nil || c.Status != metav1.ConditionTrue || c.Reason == yieldedToOther {
		return status
	}
	return noteHoldYields(status, now)
}

// noteHoldYields returns the status with the condition about the fields that the hold leaves to another client, and no other reason.
func noteHoldYields(status hold.Status, now time.Time) hold.Status {
	if len(status.Yielded) == 0 {
		status.Conditions = slices.Clone(status.Conditions)
		apimeta.RemoveStatusCondition(&status.Conditions, conditionYielded)
		return status
	}
	text := fmt.Sprintf("another client set %s; the hold leaves it", strings.Join(status.Yielded, " and "))
	status.Conditions = setHoldCondition(status.Conditions, conditionYielded, metav1.ConditionTrue, yieldedToOther, text, now)
	return status
}
