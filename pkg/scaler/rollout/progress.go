// The decisions about the progress of one hold: from Received to Open, or to RolledBack.

package rollout

import (
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// listHoldsInState lists the indices of the holds in a state that have not ended.
func (o *HeldWorkload) listHoldsInState(s hold.State, now time.Time) (all []int) {
	if o.Trouble != "" || o.Scale == nil {
		return nil
	}
	for i := range o.Holds {
		if h := &o.Holds[i]; h.Status.State == s && !h.IsOver(now) {
			all = append(all, i)
		}
	}
	return all
}

// failHold rolls a hold back that cannot have its numbers.
func (o *HeldWorkload) failHold(now time.Time) (Step, bool) {
	for _, s := range []hold.State{hold.Received, hold.Raised, hold.Scaled, hold.Ready, hold.Verified} {
		for _, i := range o.listHoldsInState(s, now) {
			h := &o.Holds[i]
			reason, retry := o.rejectionReason(h, now), true
			if reason == "" {
				reason, retry = o.yieldFailure(h), false
			}
			if reason == "" {
				reason, retry = o.holdGroupFailure(h)
			}
			if reason == "" {
				reason, retry = o.holdProgressFailure(h, now), true
			}
			if reason == "" && (s == hold.Received || s == hold.Raised) {
				reason, retry = o.Denied, true
			}
			if reason != "" {
				return o.rollBackStep(i, reason, retry, now), true
			}
		}
	}
	return Step{}, false
}

// failOpenGateGroup rolls an open hold of a failed group back: its gates are shut already.
func (o *HeldWorkload) failOpenGateGroup(now time.Time) (Step, bool) {
	for _, i := range o.listHoldsInState(hold.Open, now) {
		if reason, _ := o.holdGroupFailure(&o.Holds[i]); reason != "" {
			return o.rollBackStep(i, reason, false, now), true
		}
	}
	return Step{}, false
}

// resumeGroupGate moves an open hold with shut gates, since its group was not complete, back to the wait for pods: its gates open again with
// the group.
func (o *HeldWorkload) resumeGroupGate(now time.Time) (Step, bool) {
	for _, i := range o.listHoldsInState(hold.Open, now) {
		h := &o.Holds[i]
		if h.Spec.Group == nil || len(h.Spec.Gates) == 0 || h.Status.GateOpen || !o.Gated || o.mustShutGate(h, now) {
			continue
		}
		text := fmt.Sprintf("group %s is complete again; the gate waits for its pods", h.Spec.Group.Name)
		return o.enterStateStep(i, hold.Scaled, text, now).withStepEvent(string(hold.Scaled), "hold %s: %s", h.HoldID(), text), true
	}
	return Step{}, false
}

// maxFailures bounds the count of rollbacks.
const maxFailures = 1_000_000

// rollBackStep returns the step that rolls a hold back, with a later try if its window has time for one. A command's hold without an end gets none: its
// exit code is final. Numbers that were up before a change of the hold stay, unless the hold failed for good.
func (o *HeldWorkload) rollBackStep(i int, reason string, retry bool, now time.Time) Step {
	h := &o.Holds[i]
	s := o.enterStateStep(i, hold.RolledBack, reason, now)
	s.Status.Failures = min(max(s.Status.Failures, 0), maxFailures) + 1
	s.Status.RetryAt = metav1.MicroTime{}
	if !retry {
		s.Status.Up = nil
	}
	if up := s.Status.Up; up != nil {
		s.Status.Message = shortenHoldStatus(fmt.Sprintf("%s; at least the %d replicas of before stay", reason, up.Replicas))
	}
	pause := min(firstRetryPause<<min(s.Status.Failures-1, 10), maxRetryPause)
	if at := now.Add(pause); retry && hasTimeForHoldRetry(h, at) {
		s.Status.RetryAt = metav1.NewMicroTime(at)
	}
	return s.withStepWarning(string(hold.RolledBack), "hold %s: %s", h.HoldID(), reason)
}

// hasTimeForHoldRetry reports whether a hold that begins again at a time can be up before its end.
func hasTimeForHoldRetry(h *hold.Object, at time.Time) bool {
	if h.Spec.Until == nil {
		return !h.IsManaged()
	}
	return at.Add(h.WithinOrDefault()).Before(h.Spec.Until.Time)
}

// rejectionReason returns why a hold cannot begin, or go on before it is open; empty: it can.
func (o *HeldWorkload) rejectionReason(h *hold.Object, now time.Time) string {
	if reason := o.scaledObjectFailure(); reason != "" { // also if it came, or took the autoscaler over, while the hold waits
		return reason
	}
	if h.Status.State != hold.Received {
		if o.isAutoscalerRecorded() { // it may have come, or be another, since the hold began
			return o.maxReplicasFailure(h, now)
		}
		return ""
	}
	for _, g := range h.Spec.Gates {
		if fault := o.GateFaults[g]; fault != "" {
			return fault
		}
	}
	if h.Spec.Verify != nil { // the schema takes some that no pod can pass
		if err := h.Spec.Verify.WithDefaults().Validate(); err != nil {
			return shortenHoldStatus("the verification cannot run: " + strings.ReplaceAll(err.Error(), "\n", "; "))
		}
	}
	switch {
	case o.Autoscaler == nil:
		return ""
	case h.Spec.Replicas == 0:
		return fmt.Sprintf("autoscaler %s keeps at least one replica: delete it, or set 1", o.Autoscaler.Name)
	}
	return o.maxReplicasFailure(h, now)
}

// yieldFailure returns why a hold lost its numbers to another client; empty: it did not. A higher number is no loss.
func (o *HeldWorkload) yieldFailure(h *hold.Object) string {
	switch a := o.Autoscaler; {
	case a != nil && leavesYieldedField(h, fieldMinReplicas) && a.Bounds.MinReplicas < h.MinReplicasOrReplicas():
		return fmt.Sprintf("another client set minReplicas %d; the hold needs %d", a.Bounds.MinReplicas, h.MinReplicasOrReplicas())
	case a != nil && leavesYieldedField(h, fieldMaxReplicas) && a.Bounds.MaxReplicas < h.Spec.Replicas:
		return fmt.Sprintf("another client set maxReplicas %d; the hold needs %d", a.Bounds.MaxReplicas, h.Spec.Replicas)
	case a == nil && leavesYieldedField(h, fieldReplicas) && o.Scale.Replicas < h.Spec.Replicas:
		return fmt.Sprintf("another client set %d replicas; the hold needs %d", o.Scale.Replicas, h.Spec.Replicas)
	}
	return ""
}

// holdGroupFailure returns why the group of a hold failed, and whether the group will be tried again; empty: it did not fail. A member that failed no more
// often than a hold that is not open yet waits for the same try, and one that was changed since begins anew.
func (o *HeldWorkload) holdGroupFailure(h *hold.Object) (reason string, retry bool) {
	for _, m := range o.listHoldGroupMembers(h) {
		again := !m.Status.RetryAt.IsZero()
		if m.Status.State != hold.RolledBack || m.Status.ObservedGeneration != m.Generation || again && m.Status.Failures <= h.Status.Failures && h.Status.State != hold.Open {
			continue
		}
		reason, retry = describeMemberFailure(m), again
		if !again {
			return reason, false
		}
	}
	return reason, retry
}

// describeMemberFailure returns the failure of a member for its group. A failure for the group's sake names the member that failed first already.
func describeMemberFailure(m *hold.Object) string {
	group := "group " + m.Spec.Group.Name + ": "
	if strings.HasPrefix(m.Status.Message, group) {
		return m.Status.Message
	}
	return fmt.Sprintf("%s%s failed: %s", group, m.HeldWorkload(), m.Status.Message)
}

// holdProgressFailure returns why a hold takes too long, or why its pods failed; empty: it makes progress.
func (o *HeldWorkload) holdProgressFailure(h *hold.Object, now time.Time) string {
	entered := h.Status.Entered.Time
	if o.PodsOutdated {
		return ""
	}
	switch h.Status.State {
	case hold.Scaled:
		if missing := o.describeMissingPods(h, now); missing != "" && !now.Before(entered.Add(h.WithinOrDefault())) {
			return missing + o.Scale.Failure
		}
	case hold.Ready:
		if v, ok := o.findVerdict(h); ok {
			if v.Passed {
				return ""
			}
			return v.Message
		}
		if missing := o.describeMissingPods(h, now); missing != "" && !now.Before(entered.Add(h.WithinOrDefault())) {
			return "while the pods were verified: " + missing
		}
	case hold.Verified:
		return o.gateFailure(h, now)
	case hold.Received:
		return o.awaitedWorkloadFailure(h, now)
	case hold.Raised, hold.Open, hold.RolledBack, hold.Released:
	}
	return ""
}

// markHoldRaised moves a hold on after the autoscaler has its bounds.
func (o *HeldWorkload) markHoldRaised(now time.Time) (Step, bool) {
	if o.awaitedWorkload() != nil {
		return Step{}, false
	}
	for _, i := range o.listHoldsInState(hold.Received, now) {
		return o.enterStateStep(i, hold.Raised, "", now), true
	}
	return Step{}, false
}

// markHoldScaled moves a hold on after the workload has its scale.
func (o *HeldWorkload) markHoldScaled(now time.Time) (Step, bool) {
	for _, i := range o.listHoldsInState(hold.Raised, now) {
		return o.enterStateStep(i, hold.Scaled, "", now), true
	}
	return Step{}, false
}

// markHoldReady moves a hold on after as many pods are ready as it asks for.
func (o *HeldWorkload) markHoldReady(now time.Time) (Step, bool) {
	for _, i := range o.listHoldsInState(hold.Scaled, now) {
		h := &o.Holds[i]
		if o.describeMissingPods(h, now) != "" {
			continue
		}
		took := now.Sub(h.Status.Since.Time).Round(time.Millisecond)
		return o.enterStateStep(i, hold.Ready, "", now).withStepEvent(string(hold.Ready), "hold %s: all pods are ready after %s", h.HoldID(), took), true
	}
	return Step{}, false
}

// verifyHoldPods has the new pods of a hold verified, and moves it on after they passed.
func (o *HeldWorkload) verifyHoldPods(now time.Time) (Step, bool) {
	for _, i := range o.listHoldsInState(hold.Ready, now) {
		h := &o.Holds[i]
		v := Verdict{Message: "no verification"}
		if h.Spec.Verify != nil {
			verdict, ok := o.findVerdict(h)
			if !ok {
				continue
			}
			v = verdict
		}
		s := o.enterStateStep(i, hold.Verified, v.Message, now)
		s.Status.YoungestVerified, s.Status.VerifiedReadyAt = v.Youngest, v.ReadyAt
		return s.withStepEvent(string(hold.Verified), "hold %s: %s", h.HoldID(), v.Message), true
	}
	return Step{}, false
}

// verifyReplacedPods moves a verified hold back to Ready if other pods took the place of verified ones, such as for a rolling update while the gate
// waits. A step of the gate that is open stays open.
func (o *HeldWorkload) verifyReplacedPods(now time.Time) (Step, bool) {
	for _, i := range o.listHoldsInState(hold.Verified, now) {
		h := &o.Holds[i]
		need, proven := o.podsNeededByHold(h), o.countProvenPods(h)
		if o.PodsOutdated || proven >= need || o.countReadyPods() < need {
			continue
		}
		text := fmt.Sprintf("%d of %d pods are not among the verified ones; verifying again", need-proven, need)
		s := o.enterStateStep(i, hold.Ready, text, now)
		s.Status.Since = metav1.NewMicroTime(now)
		if last := h.Status.Since.Time; !now.After(last) { // the verdict of before does not count
			s.Status.Since = metav1.NewMicroTime(last.Add(time.Microsecond))
		}
		return s.withStepEvent(string(hold.Ready), "hold %s: %s", h.HoldID(), text), true
	}
	return Step{}, false
}

// holdToVerify returns the index of a hold that waits for a verification, if possible a hold with all pods ready; -1: none.
func (o *HeldWorkload) holdToVerify(now time.Time) int {
	first := -1
	for _, i := range o.listHoldsInState(hold.Ready, now) {
		h := &o.Holds[i]
		if _, ok := o.findVerdict(h); ok || h.Spec.Verify == nil {
			continue
		}
		if o.describeMissingPods(h, now) == "" {
			return i
		}
		if first < 0 {
			first = i
		}
	}
	return first
}

// isHoldGroupVerified reports whether all other holds of a hold's group are verified.
func (o *HeldWorkload) isHoldGroupVerified(h *hold.Object) bool {
	if h.Spec.Group == nil {
		return true
	}
	members := o.listHoldGroupMembers(h)
	for _, m := range members {
		if missing, known := o.MissingMembers[m.UID]; !known || missing != "" {
			return false
		}
		if m.Status.ObservedGeneration != m.Generation || m.Status.State != hold.Verified && m.Status.State != hold.Open {
			return false
		}
	}
	return len(members)+1 >= h.Spec.Group.Size
}

// retryHold tries a failed hold again.
func (o *HeldWorkload) retryHold(now time.Time) (Step, bool) {
	for _, i := range o.listHoldsInState(hold.RolledBack, now) {
		h := &o.Holds[i]
		if at := h.Status.RetryAt; at.IsZero() || now.Before(at.Time) {
			continue
		}
		s := o.enterStateStep(i, hold.Received, fmt.Sprintf("another try after %d: %s", h.Status.Failures, h.Status.Message), now)
		s.Status.Since, s.Status.RetryAt = metav1.NewMicroTime(now), metav1.MicroTime{}
		s.Status.YoungestVerified, s.Status.VerifiedReadyAt = findYoungestPodTime(o.Pods), metav1.Time{} // nothing is verified yet
		s.Status.ReplicasBefore = o.countPodsOfOthers(h)
		return s.withStepEvent(string(hold.Received), "hold %s: another try after %d", h.HoldID(), h.Status.Failures), true
	}
	return Step{}, false
}
