// The decisions about the end of holds: giving back numbers, telling, and removing.

package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// confirmHoldRecord writes that the recorded numbers are set. From then on the numbers before them are another client's.
func (o *HeldWorkload) confirmHoldRecord(time.Time) (Step, bool) {
	n, keeper := o.findHoldNumbers()
	if keeper == nil || o.Trouble != "" || equalHoldNumbers(n, o.confirmHoldNumbers(n)) {
		return Step{}, false
	}
	return o.writeStatusStep(o.indexOfHold(keeper), keeper.Status.DeepCopy()), true
}

// dropOwnership ends the scaler's ownership of numbers that are given back, so that server-side apply finds no other manager.
func (o *HeldWorkload) dropOwnership(now time.Time) (Step, bool) {
	if _, keeper := o.findHoldNumbers(); keeper == nil || o.Trouble != "" || o.Denied != "" || o.awaitedWorkload() != nil || len(o.listCountedHolds("", now)) > 0 {
		return Step{}, false
	}
	switch {
	case o.Autoscaler != nil && o.Autoscaler.Owned && o.Autoscaler.Bounds.MinReplicas == 0 && now.Before(o.Autoscaler.boundsSeen(now)):
		// Its controller looks at the new bounds at once. If it goes to zero, a write in between takes its mark ScaledToZero away, and
		// nothing would wake the workload again.
		return Step{Kind: Rest, Hold: -1}, true
	case o.Autoscaler != nil && o.Autoscaler.Owned:
		return Step{Kind: DropBoundsOwner, Hold: -1}, true
	case o.Scale != nil && o.Scale.Owned:
		return Step{Kind: DropScaleOwner, Hold: -1}, true
	}
	return Step{}, false
}

// handOverHoldNumbers keeps the record on a hold that needs it, and drops it after the last one.
func (o *HeldWorkload) handOverHoldNumbers(now time.Time) (Step, bool) {
	n, keeper := o.findHoldNumbers()
	if keeper == nil || o.Trouble != "" || o.Denied != "" || o.awaitedWorkload() != nil {
		return Step{}, false
	}
	drop := func(h *hold.Object) (Step, bool) {
		status := h.Status.DeepCopy()
		status.Numbers = nil
		return o.writeStatusStep(o.indexOfHold(h), status), true
	}
	for i := range o.Holds { // an earlier keeper
		if h := &o.Holds[i]; h.Status.Numbers != nil && h.UID != keeper.UID {
			return drop(h)
		}
	}
	needed := o.listRecordHolds(now)
	switch {
	case len(needed) == 0:
		return drop(keeper)
	case slices.Contains(needed, keeper):
		return Step{}, false
	}
	status := needed[0].Status.DeepCopy()
	n.Sequence++
	status.Numbers = &n
	return o.writeStatusStep(o.indexOfHold(needed[0]), status), true
}

// releaseHold moves an ended hold to Released after its numbers are given back.
func (o *HeldWorkload) releaseHold(now time.Time) (Step, bool) {
	for i := range o.Holds {
		h := &o.Holds[i]
		s := h.Status.State
		if isHoldOverOnArrival(h, now) {
			step := o.enterStateStep(i, hold.Released, "its end was past before it began", now)
			step.Status.ObservedGeneration = h.Generation
			return step.withStepWarning(string(hold.Released), "hold %s: its end %s was past before it began", h.HoldID(), h.Spec.Until.UTC().Format(time.RFC3339)), true
		}
		if !h.IsOver(now) || o.Denied != "" || h.Status.GateOpen || h.Status.Numbers != nil || s == "" || s == hold.Released || s == hold.RolledBack && !h.IsKept() {
			continue
		}
		ended := "ended"
		if h.DeletionTimestamp == nil && h.IsPaused(now) {
			ended = "is paused"
		}
		return o.enterStateStep(i, hold.Released, h.Status.Message, now).withStepEvent(string(hold.Released), "hold %s %s; %s", h.HoldID(), ended, o.describeReplicas()), true
	}
	return Step{}, false
}

// describeReplicas returns the current replicas for people.
func (o *HeldWorkload) describeReplicas() string {
	if o.Scale == nil {
		return "the workload is gone"
	}
	return fmt.Sprintf("%d replicas", o.Scale.Replicas)
}

// removeHold deletes an ended hold that the scaler made, and lets a deleted one go.
func (o *HeldWorkload) removeHold(now time.Time) (Step, bool) {
	for i := range o.Holds {
		h := &o.Holds[i]
		s := h.Status.State
		if !h.IsGivenBack() || len(h.Status.Outbox) > 0 {
			continue
		}
		if name, _ := o.owedHoldOutcome(h, now); name != "" { // the controller tells it first
			continue
		}
		switch {
		case h.DeletionTimestamp != nil && slices.Contains(h.Finalizers, hold.Finalizer):
			return Step{Kind: RemoveFinalizer, Hold: i}, true
		case h.DeletionTimestamp != nil || !h.IsManaged() || h.IsPaused(now) && o.outlastsEnd(h, now):
		case h.IsOver(now), s == hold.RolledBack && !h.IsKept() && h.Spec.Until == nil && h.Status.RetryAt.IsZero() && h.Fault == "": // a person mends a fault
			return Step{Kind: DeleteHold, Hold: i}, true
		}
	}
	return Step{}, false
}

// outlastsEnd reports whether a paused hold stays: until its end or, for a schedule's, for the pause of the windows to come.
func (o *HeldWorkload) outlastsEnd(h *hold.Object, now time.Time) bool {
	return h.Spec.Until == nil || now.Before(h.Spec.Until.Time) || strings.HasPrefix(h.HoldID(), hold.SchedulePrefix)
}

// nextLook returns the latest time of the next pass; zero: after the next change.
func (o *HeldWorkload) nextLook(now time.Time) time.Time {
	if len(o.Holds) == 0 {
		return time.Time{}
	}
	next := now.Add(restInterval)
	at := func(t time.Time) {
		if !t.IsZero() && t.Before(next) {
			next = t
		}
	}
	for _, a := range []*Autoscaler{o.Autoscaler, o.Former} {
		if seen := a.boundsSeen(now); now.Before(seen) {
			at(seen)
		}
	}
	if o.awaitedWorkload() != nil {
		at(now.Add(cmp.Or(o.WaitInterval, waitInterval)))
	}
	for i := range o.Holds {
		h := &o.Holds[i]
		if h.Spec.PausedUntil != nil && h.IsPaused(now) {
			at(h.Spec.PausedUntil.Time)
		}
		if h.Spec.Until != nil && now.Before(h.Spec.Until.Time) { // a paused hold tells its end too
			at(h.Spec.Until.Time)
		}
		if h.Status.State == hold.RolledBack && !h.IsOver(now) {
			at(h.Status.RetryAt.Time)
		}
		if o.Gated && len(h.Status.Outbox) > 0 {
			at(now.Add(o.outboxInterval(h, now)))
		}
		if o.isHoldWatched(h, now) {
			at(now.Add(watchInterval))
			at(h.Status.WatchUntil.Time)
		}
		waits, until := o.gateWait(h, now)
		switch {
		case h.Status.State == hold.Verified && waits != "": // a change of a pod or of the hold wakes it too
			at(until)
		case o.GateErrors[h.UID] != "":
			at(now.Add(retryInterval))
		case h.Status.GateOpen && o.mustShutGate(h, now), h.Status.State == hold.Scaled, h.Status.State == hold.Verified,
			h.Status.State == hold.Ready && o.describeMissingPods(h, now) != "":
			at(now.Add(cmp.Or(o.WaitInterval, waitInterval)))
		}
	}
	return next
}

// findHoldCondition returns a condition of a hold, or nil.
func findHoldCondition(h *hold.Object, kind string) *metav1.Condition {
	return apimeta.FindStatusCondition(h.Status.Conditions, kind)
}

// setHoldCondition returns the conditions with one more, or a changed one.
func setHoldCondition(all []metav1.Condition, kind string, status metav1.ConditionStatus, reason, message string, now time.Time) []metav1.Condition {
	all = slices.Clone(all)
	apimeta.SetStatusCondition(&all, metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message, LastTransitionTime: metav1.NewTime(now)})
	return all
}
