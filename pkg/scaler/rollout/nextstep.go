// nextStep: the decisions of a pass. They read and write nothing.

package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// The intervals between two passes over a workload.
const (
	// waitInterval applies while a hold waits for pods, unless a change of a pod comes first.
	waitInterval = 250 * time.Millisecond
	// restInterval applies while holds only wait for their end.
	restInterval = 15 * time.Second
	// boundsLag is the time after which the autoscaler's controller has seen new bounds.
	boundsLag = 2 * time.Second
	// retryInterval applies after a failure of a gate.
	retryInterval = 2 * time.Second
	// gateOpenTimeout is the time in which the gates of a verified hold must open. A restarted API server or receiver of a webhook is
	// back by then, and an event with a longer wait is over.
	gateOpenTimeout = time.Minute
	// firstRetryPause and maxRetryPause bound the pause before a failed hold is tried again inside its window.
	firstRetryPause = 5 * time.Minute
	maxRetryPause   = time.Hour
)

// decision returns the next step, or false if it has none to make.
type decision func(o *HeldWorkload, now time.Time) (Step, bool)

// decisions are asked in this order. The order makes an interruption safe: a record has a change before the change is made, a gate is
// noted as open before its first action, and nothing is lowered while a gate is open.
var decisions = []decision{
	(*HeldWorkload).correctFutureTimes,
	(*HeldWorkload).rejectFaultyHold,
	(*HeldWorkload).coverPausedHold,
	(*HeldWorkload).adoptHold,
	(*HeldWorkload).approveHold,
	(*HeldWorkload).beginHold,
	(*HeldWorkload).rejectNotifiers,
	(*HeldWorkload).pauseHold,
	(*HeldWorkload).endFailedPause,
	(*HeldWorkload).shutHoldGate,
	(*HeldWorkload).reportOpenGate,
	(*HeldWorkload).reportHoldTrouble,
	(*HeldWorkload).restartLostHold,
	(*HeldWorkload).endYields,
	(*HeldWorkload).endWindowYields,
	(*HeldWorkload).yieldHoldNumbers,
	(*HeldWorkload).reportMaxReplicas,
	(*HeldWorkload).verifyReplacedPods,
	(*HeldWorkload).failHold,
	(*HeldWorkload).failOpenGateGroup,
	(*HeldWorkload).resumeGroupGate,
	(*HeldWorkload).returnFormerBounds,
	(*HeldWorkload).recordHoldNumbers,
	(*HeldWorkload).reportHoldDenial,
	(*HeldWorkload).setRecordedBounds,
	(*HeldWorkload).markHoldRaised,
	(*HeldWorkload).setRecordedReplicas,
	(*HeldWorkload).markHoldScaled,
	(*HeldWorkload).markHoldReady,
	(*HeldWorkload).verifyHoldPods,
	(*HeldWorkload).openHoldGate,
	(*HeldWorkload).watchOpenGate,
	(*HeldWorkload).confirmHoldRecord,
	(*HeldWorkload).dropOwnership,
	(*HeldWorkload).handOverHoldNumbers,
	(*HeldWorkload).releaseHold,
	(*HeldWorkload).storeHoldOutcome,
	(*HeldWorkload).confirmDelivery,
	(*HeldWorkload).postMessage,
	(*HeldWorkload).retryHold,
	(*HeldWorkload).removeHold,
}

// nextStep returns the next step for a workload. It is a pure function: all that it needs is in o.
func nextStep(o HeldWorkload, now time.Time) Step {
	for _, decide := range decisions {
		if s, ok := decide(&o, now); ok {
			return s
		}
	}
	return Step{Kind: Rest, Hold: -1}
}

// adoptHold adds the finalizer to a hold of another client, and the label of this controller to a hold without one.
func (o *HeldWorkload) adoptHold(now time.Time) (Step, bool) {
	for i := range o.Holds {
		h := &o.Holds[i]
		adopted := slices.Contains(h.Finalizers, hold.Finalizer) && (o.Owner == "" || h.Labels[hold.ControllerLabel] != "")
		if h.DeletionTimestamp == nil && h.Fault == "" && !adopted {
			return Step{Kind: AddFinalizer, Hold: i}, true
		}
	}
	return Step{}, false
}

// rejectFaultyHold fails a hold that cannot be read. Its effects from before a person broke it are undone.
func (o *HeldWorkload) rejectFaultyHold(now time.Time) (Step, bool) {
	for i := range o.Holds {
		h := &o.Holds[i]
		reason := shortenHoldStatus("the Hold cannot be read: " + h.Fault)
		if h.Fault == "" || h.DeletionTimestamp != nil || h.Status.State == hold.RolledBack && h.Status.Message == reason {
			continue
		}
		s := o.enterStateStep(i, hold.RolledBack, reason, now)
		s.Status.Up = nil
		s.Status.ObservedGeneration, s.Status.RetryAt = h.Generation, metav1.MicroTime{}
		return s.withStepWarning(string(hold.RolledBack), "hold %s: %s", h.HoldID(), reason), true
	}
	return Step{}, false
}

// beginHold starts a new hold, starts a changed hold over, and a hold after its pause. An open hold that now asks for no more, and for no
// verification that it had not, stays open.
func (o *HeldWorkload) beginHold(now time.Time) (Step, bool) {
	for i := range o.Holds {
		h := &o.Holds[i]
		if h.Fault != "" || h.IsOver(now) || h.Status.State != "" && h.Status.State != hold.Released && h.Status.ObservedGeneration == h.Generation {
			continue
		}
		before, kept := h.Status.DeepCopy(), keepHoldYields(h, now)
		if m := o.findWindowBefore(h, now); m != nil {
			kept = takeOverHoldYields(h, m, now)
		}
		if isHoldLeftToOther(h, kept) {
			kept.ObservedGeneration, kept.ReplicasAsked = h.Generation, h.Spec.Replicas
			return o.writeStatusStep(i, kept), true
		}
		status := hold.Status{
			ObservedGeneration: h.Generation, ReplicasAsked: h.Spec.Replicas, Numbers: before.Numbers, GateOpen: before.GateOpen,
			GateSteps: before.GateSteps, GateStepAt: before.GateStepAt, WatchUntil: before.WatchUntil, BreachedSince: before.BreachedSince,
			GateChanges: before.GateChanges, GateKeys: o.noteGateKeys(h), Outbox: o.keepHoldFailure(h, now),
			State: hold.Received, Since: metav1.NewMicroTime(now), Entered: metav1.NewMicroTime(now),
		}
		if o.Scale != nil {
			status.ReplicasBefore = o.Scale.Replicas
		}
		status.YoungestVerified = findYoungestPodTime(o.Pods)
		status.Told = forgetHoldOutcomes(before.Told, status.Outbox)
		if h.Spec.Group == nil { // it may have got one by now
			status.Up = before.Up
		}
		switch {
		case before.State == hold.Open && h.Spec.Replicas <= before.ReplicasAsked && !lacksVerification(h):
			status.Up, status.YoungestVerified, status.VerifiedReadyAt = openHoldNumbers(h), before.YoungestVerified, before.VerifiedReadyAt
			status.State, status.Since, status.Entered, status.Message = hold.Open, before.Since, before.Entered, before.Message
			status.ReplicasBefore, status.Told = before.ReplicasBefore, before.Told
		case before.State.IsActive() && before.State != hold.Open: // it never opened: its pods are new pods of the changed hold too
			status.Since, status.ReplicasBefore, status.YoungestVerified = before.Since, before.ReplicasBefore, before.YoungestVerified
		case before.State == hold.RolledBack || before.State == hold.Released:
			status.ReplicasBefore = o.countPodsOfOthers(h)
		}
		if isPauseNoted(h) {
			return o.resumeHoldStep(i, status, now), true
		}
		status = o.tellHoldStart(h, status, now)
		if len(kept.Yielded) > 0 {
			status.Yielded, status.YieldedUntil, status.YieldedWindow, status.Conditions = kept.Yielded, kept.YieldedUntil, kept.YieldedWindow, keepYieldTime(kept.Conditions)
			status = noteHoldYields(status, now)
			if slices.Contains(before.Told, reasonYielded) && !slices.Contains(status.Told, reasonYielded) {
				status.Told = append(status.Told, reasonYielded)
			}
		}
		s := o.writeStatusStep(i, status)
		if status.State == hold.Received {
			s = s.withStepEvent(string(hold.Received), "hold %s by %s: %d replicas%s", h.HoldID(), h.Spec.By, h.Spec.Replicas, formatHoldUntil(h))
		}
		return s, true
	}
	return Step{}, false
}

// lacksVerification reports whether an open hold now asks for a verification, and had none when it opened.
func lacksVerification(h *hold.Object) bool {
	return h.Spec.Verify != nil && h.Status.YoungestVerified.IsZero()
}

// openHoldNumbers returns the numbers of an open hold. A group is up as a whole, and has none of its own.
func openHoldNumbers(h *hold.Object) *hold.CountedNumbers {
	if h.Spec.Group != nil {
		return nil
	}
	return &hold.CountedNumbers{Replicas: h.Spec.Replicas, MinReplicas: h.Spec.MinReplicas, MaxReplicas: h.Spec.MaxReplicas}
}

// formatHoldUntil returns the end of a hold as the last words of a sentence; empty if it has no end.
func formatHoldUntil(h *hold.Object) string {
	if h.Spec.Until == nil {
		return ""
	}
	return " until " + h.Spec.Until.UTC().Format(time.RFC3339)
}

// mustShutGate reports whether a hold's gate must not be open: the hold is over or failed, or a hold of its group is.
func (o *HeldWorkload) mustShutGate(h *hold.Object, now time.Time) bool {
	if h.IsOver(now) || h.Status.State == hold.RolledBack && !h.IsKept() || h.Status.State == hold.Released || o.isWorkloadLost() {
		return true
	}
	members := o.listHoldGroupMembers(h)
	if h.Spec.Group != nil && len(members)+1 < h.Spec.Group.Size {
		return true
	}
	return slices.ContainsFunc(members, func(m *hold.Object) bool {
		return m.IsOver(now) || m.Status.State == hold.RolledBack || m.Status.State == hold.Released || isHoldGateLost(h, m)
	})
}

// isHoldGateLost reports whether a hold of the group of an open one has shut their gates and waits for pods again, such as for another workload of
// its name: all pods of the group are verified before the gates open anew.
func isHoldGateLost(open, m *hold.Object) bool {
	waits := m.Status.State == hold.Received || m.Status.State == hold.Raised || m.Status.State == hold.Scaled
	return open.Status.State == hold.Open && open.Status.GateOpen && waits && !m.Status.GateOpen && len(m.Spec.Gates) > 0
}

// shutHoldGate closes the gates of a hold that is over or failed, as far as no other hold keeps them open. While a gate cannot be closed, its
// pods stay.
func (o *HeldWorkload) shutHoldGate(now time.Time) (Step, bool) {
	for i := range o.Holds {
		h := &o.Holds[i]
		if !h.Status.GateOpen || !o.mustShutGate(h, now) || !o.Gated || o.GateErrors[h.UID] != "" {
			continue
		}
		status := h.Status.DeepCopy()
		status.GateOpen, status.GateSteps, status.GateStepAt, status.GateChanges = false, 0, metav1.MicroTime{}, nil
		status.WatchUntil, status.BreachedSince = metav1.MicroTime{}, metav1.MicroTime{}
		status = o.noteShutGate(h, status, now)
		if o.areGatesKept(h, now) {
			return o.writeStatusStep(i, status), true
		}
		return Step{Kind: ShutGate, Hold: i, Status: status, Confirm: true}, true
	}
	return Step{}, false
}

// conditionReachable tells whether the scaler can scale the workload at all.
const conditionReachable = "WorkloadReachable"

// reportHoldTrouble writes why a workload cannot be scaled to its holds, and that it can again.
func (o *HeldWorkload) reportHoldTrouble(now time.Time) (Step, bool) {
	trouble := shortenHoldStatus(o.Trouble)
	if trouble == "" && o.Scale == nil {
		trouble = cmp.Or(o.Missing, "the workload does not exist")
	}
	for i := range o.Holds {
		h := &o.Holds[i]
		c := findHoldCondition(h, conditionReachable)
		if h.IsOver(now) && (o.Trouble == "" || h.Status.Numbers == nil) || trouble == "" && (c == nil || c.Status == metav1.ConditionTrue) || c != nil && trouble != "" && c.Message == trouble && c.Status == metav1.ConditionFalse {
			continue
		}
		status := h.Status.DeepCopy()
		if trouble == "" {
			status.Conditions = setHoldCondition(status.Conditions, conditionReachable, metav1.ConditionTrue, "Found", "the workload can be scaled", now)
			status.Told = endHoldTrouble(h, now)
			return o.writeStatusStep(i, status), true
		}
		status.Conditions = setHoldCondition(status.Conditions, conditionReachable, metav1.ConditionFalse, "Trouble", trouble, now)
		return o.writeStatusStep(i, status).withStepWarning(reasonTrouble, "hold %s: %s", h.HoldID(), trouble), true
	}
	return Step{}, false
}

// isWorkloadLost reports whether the workload was deleted, also if another of its name came since.
func (o *HeldWorkload) isWorkloadLost() bool {
	return o.Trouble == "" && (o.Scale == nil || o.isWorkloadReplaced())
}

// restartLostHold puts the holds of a workload that was deleted back to Received: they begin when it comes back.
func (o *HeldWorkload) restartLostHold(now time.Time) (Step, bool) {
	if !o.isWorkloadLost() {
		return Step{}, false
	}
	for i := range o.Holds {
		h := &o.Holds[i]
		begins := h.Status.State == hold.Received && h.Status.Up == nil && !hasYieldedField(h, fieldReplicas)
		if s := h.Status.State; h.IsOver(now) || begins || s == hold.RolledBack && !h.IsKept() || h.Status.GateOpen {
			continue
		}
		status := clearMaxReplicasYield(h.Status.DeepCopy(), now)
		status.State, status.Message, status.Since, status.Entered = hold.Received, "the workload does not exist", metav1.NewMicroTime(now), metav1.NewMicroTime(now)
		status.ReplicasBefore, status.Told, status.Up, status.RetryAt = 0, keepToldStart(status.Told, forgetHoldOutcomes(status.Told, nil)), nil, metav1.MicroTime{}
		status = dropHoldYields(status, now, fieldReplicas) // another client set them on that workload
		if o.Scale != nil {
			status.Message = "the workload was replaced" // all its pods are new
		}
		return o.writeStatusStep(i, status), true
	}
	return Step{}, false
}

// yieldHoldNumbers leaves a number that another client set to that client: for as long as the holds last that set it.
func (o *HeldWorkload) yieldHoldNumbers(now time.Time) (Step, bool) {
	n, keeper := o.findHoldNumbers()
	if keeper == nil || o.Trouble != "" {
		return Step{}, false
	}
	after, fields := o.numbersOfOtherClients(n)
	if len(fields) == 0 {
		return Step{}, false
	}
	for i := range o.Holds {
		h := &o.Holds[i]
		if !o.isHoldCounted(h, now) && !o.isHoldPending(h, now) {
			continue
		}
		if status, changed := yieldHold(h, fields); changed || !isHoldYieldOfNow(h, now) {
			text := fmt.Sprintf("another client set %s; the hold leaves it", o.describeYieldedFields(fields))
			status.Conditions = renewHoldYield(status.Conditions, text, now)
			if changed {
				status.Told = forgetHoldOutcome(status.Told, reasonYielded)
			}
			s := Step{Kind: WriteStatus, Hold: i, Status: status, Confirm: true}
			return s.withStepEvent(reasonYielded, "hold %s: %s", h.HoldID(), text), true
		}
	}
	status := keeper.Status.DeepCopy()
	after.Sequence++
	status.Numbers = &after
	s := o.writeStatusStep(o.indexOfHold(keeper), status)
	s.Confirm = true
	return s, true
}

// endYields ends the holds' yields of bounds with the autoscaler that had them, unless a copy of it has them too.
func (o *HeldWorkload) endYields(now time.Time) (Step, bool) {
	n, keeper := o.findHoldNumbers()
	if keeper == nil || o.Trouble != "" || o.Autoscaler == nil || n.Autoscaler == "" || n.AutoscalerUID == o.Autoscaler.UID || isHeldAutoscalerCopy(o.expectAutoscalerCopy(n, now), o.Autoscaler) {
		return Step{}, false
	}
	for i := range o.Holds {
		h := &o.Holds[i]
		if hasYieldedField(h, fieldMinReplicas) || hasYieldedField(h, fieldMaxReplicas) {
			s := o.writeStatusStep(i, dropHoldYields(h.Status.DeepCopy(), now, fieldMinReplicas, fieldMaxReplicas))
			s.Confirm = true
			return s, true
		}
	}
	return Step{}, false
}

// describeYieldedFields returns the fields with their numbers.
func (o *HeldWorkload) describeYieldedFields(fields []string) string {
	text := ""
	for i, f := range fields {
		if i > 0 {
			text += " and "
		}
		switch f {
		case fieldMinReplicas:
			text += fmt.Sprintf("minReplicas %d", o.Autoscaler.Bounds.MinReplicas)
		case fieldMaxReplicas:
			text += fmt.Sprintf("maxReplicas %d", o.Autoscaler.Bounds.MaxReplicas)
		case fieldReplicas:
			text += fmt.Sprintf("%d replicas", o.Scale.Replicas)
		}
	}
	return text
}

func (o *HeldWorkload) indexOfHold(h *hold.Object) int {
	return slices.IndexFunc(o.Holds, func(other hold.Object) bool { return other.UID == h.UID })
}

// recordHoldNumbers writes the numbers that everything should have, with the original ones, before any is set.
func (o *HeldWorkload) recordHoldNumbers(now time.Time) (Step, bool) {
	n, keeper := o.findHoldNumbers()
	if o.Trouble != "" || keeper == nil && len(o.listCountedHolds("", now)) == 0 || o.awaitedWorkload() != nil || o.isFormerRaised(n) {
		return Step{}, false
	}
	plan := o.planHoldNumbers(n, now)
	if keeper != nil && equalHoldNumbers(plan, n) {
		return Step{}, false
	}
	if keeper == nil {
		keeper = o.listCountedHolds("", now)[0]
	}
	status := keeper.Status.DeepCopy()
	plan.Sequence = n.Sequence + 1
	status.Numbers = &plan
	s := o.writeStatusStep(o.indexOfHold(keeper), status)
	s.Confirm = o.Autoscaler != nil && o.Autoscaler.Owned && o.Autoscaler.UID != n.AutoscalerUID // a hold of another workload may have given it back just now
	return s, true
}

// setRecordedBounds sets the autoscaler's bounds: it raises them before the scale, so that the autoscaler does not undo the change.
func (o *HeldWorkload) setRecordedBounds(time.Time) (Step, bool) {
	n, keeper := o.findHoldNumbers()
	a := o.Autoscaler
	if keeper == nil || a == nil || o.Trouble != "" || o.Denied != "" || o.awaitedWorkload() != nil {
		return Step{}, false
	}
	to := hold.ReplicaBounds{MinReplicas: n.MinReplicas.Set, MaxReplicas: n.MaxReplicas.Set}
	if to == a.Bounds {
		return Step{}, false
	}
	return Step{Kind: SetBounds, Hold: -1, Bounds: to}.withStepEvent(reasonBoundsChanged, "autoscaler %s from %d..%d to %d..%d replicas",
		a.Name, a.Bounds.MinReplicas, a.Bounds.MaxReplicas, to.MinReplicas, to.MaxReplicas), true
}

// setRecordedReplicas sets the workload's scale. It lowers it some time after the bounds: the autoscaler's controller, which may still have
// the bounds of before, would raise the scale to them, and without metrics leave it there.
func (o *HeldWorkload) setRecordedReplicas(now time.Time) (Step, bool) {
	n, keeper := o.findHoldNumbers()
	if keeper == nil || o.Scale == nil || o.Trouble != "" || o.Denied != "" || n.Replicas.From == nil || o.Scale.Replicas == n.Replicas.Set {
		return Step{}, false
	}
	if n.Replicas.Set < o.Scale.Replicas && now.Before(o.Autoscaler.boundsSeen(now)) {
		return Step{Kind: Rest, Hold: -1}, true
	}
	return Step{Kind: SetReplicas, Hold: -1, To: n.Replicas.Set}.withStepEvent(reasonReplicasChanged, "from %d to %d replicas", o.Scale.Replicas, n.Replicas.Set), true
}
