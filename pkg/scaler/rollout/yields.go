// The numbers that a hold leaves to another client, and for how long.

package rollout

import (
	"slices"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// yieldHold returns the hold's status with the fields left to another client, and whether it changed.
func yieldHold(h *hold.Object, fields []string) (status hold.Status, changed bool) {
	status = h.Status.DeepCopy()
	if isHoldInLaterWindow(h) { // all are of this window from now on
		apimeta.RemoveStatusCondition(&status.Conditions, conditionYielded)
		changed = true
	}
	status.YieldedUntil, status.YieldedWindow = metaTimeOrZero(h.Spec.Until), metaTimeOrZero(h.Spec.WindowStart)
	for _, f := range fields {
		if !slices.Contains(status.Yielded, f) {
			status.Yielded, changed = append(status.Yielded, f), true
		}
	}
	return status, changed
}

// isHoldYieldOfNow reports whether a hold has noted a number that another client set just now.
func isHoldYieldOfNow(h *hold.Object, now time.Time) bool {
	c := findHoldCondition(h, conditionYielded)
	return c != nil && c.Reason == yieldedToOther && c.LastTransitionTime.Unix() == now.Unix()
}

// renewHoldYield returns the conditions with a number of another client. Their time is that of the last such number: it belongs to the window of then.
func renewHoldYield(all []metav1.Condition, text string, now time.Time) []metav1.Condition {
	all = slices.Clone(all)
	apimeta.RemoveStatusCondition(&all, conditionYielded)
	return setHoldCondition(all, conditionYielded, metav1.ConditionTrue, yieldedToOther, text, now)
}

// dropHoldYields returns the status of a hold that no longer leaves these fields to another client.
func dropHoldYields(status hold.Status, now time.Time, fields ...string) hold.Status {
	before := len(status.Yielded)
	status.Yielded = slices.DeleteFunc(status.Yielded, func(f string) bool { return slices.Contains(fields, f) })
	c := apimeta.FindStatusCondition(status.Conditions, conditionYielded)
	if len(status.Yielded) == before || c == nil || c.Reason != yieldedToOther {
		return status
	}
	return noteHoldYields(status, now)
}

// keepHoldYields returns the status of a hold that changed, with the numbers that it still leaves to another client. A schedule's hold leaves them until the end
// of the window in which they were set, whatever else the schedule asks for by now; in a later window inside that one it may raise them. Any other hold
// that is open leaves them if it asks for the same numbers until the same end.
func keepHoldYields(h *hold.Object, now time.Time) hold.Status {
	s, until, start := h.Status.DeepCopy(), metaTimeOrZero(h.Spec.Until), metaTimeOrZero(h.Spec.WindowStart)
	c, lasts := findHoldCondition(h, conditionYielded), isYieldWindowOpen(h, now)
	switch numbers := openHoldNumbers(h); {
	case len(s.Yielded) == 0 || c == nil || isPauseNoted(h) || s.State == "" || s.State == hold.Released:
		s.Yielded = nil
	case h.Spec.WindowStart == nil:
		if !until.Equal(&s.YieldedUntil) || s.State != hold.Open || s.Up == nil || numbers == nil || *s.Up != *numbers {
			s.Yielded = nil
		}
	case !isHoldInLaterWindow(h) || lasts && !start.After(c.LastTransitionTime.Time):
		s.YieldedUntil, s.YieldedWindow = until, start
	case !lasts:
		s.Yielded = nil
	}
	return s
}

// isYieldWindowOpen reports whether the schedule's window goes on in which another client set numbers.
func isYieldWindowOpen(h *hold.Object, now time.Time) bool {
	return now.Add(hold.WindowOverlap).Before(h.Status.YieldedUntil.Time)
}

// isHoldInLaterWindow reports whether a schedule's hold is in another window than the one in which another client set numbers: it may raise them.
func isHoldInLaterWindow(h *hold.Object) bool {
	return h.Spec.WindowStart != nil && !h.Spec.WindowStart.Equal(&h.Status.YieldedWindow)
}

// endWindowYields ends the yields of a hold in a later window with the window in which another client set the numbers.
func (o *HeldWorkload) endWindowYields(now time.Time) (Step, bool) {
	for i := range o.Holds {
		h := &o.Holds[i]
		if len(h.Status.Yielded) > 0 && !h.IsOver(now) && isHoldInLaterWindow(h) && !isYieldWindowOpen(h, now) {
			s := o.writeStatusStep(i, dropHoldYields(h.Status.DeepCopy(), now, h.Status.Yielded...))
			s.Confirm = true
			return s, true
		}
	}
	return Step{}, false
}

// keepYieldTime returns the condition of a hold's yields alone: its time is that of the yield.
func keepYieldTime(all []metav1.Condition) []metav1.Condition {
	return slices.DeleteFunc(slices.Clone(all), func(c metav1.Condition) bool { return c.Type != conditionYielded })
}

// metaTimeOrZero returns a time that may be unknown: zero then.
func metaTimeOrZero(t *metav1.Time) (at metav1.Time) {
	if t != nil {
		at = *t
	}
	return at
}

// isHoldLeftToOther reports whether a hold with a status has nothing to do before its end: another client has decided on its replicas.
func isHoldLeftToOther(h *hold.Object, s hold.Status) bool {
	settled := s.State == hold.Open || s.State == hold.RolledBack && s.RetryAt.IsZero()
	isKept := slices.Contains(s.Yielded, fieldMinReplicas) || slices.Contains(s.Yielded, fieldReplicas)
	start := metaTimeOrZero(h.Spec.WindowStart)
	return settled && isKept && start.Equal(&s.YieldedWindow)
}

// findWindowBefore returns another schedule's hold with numbers left to another client, with a window that ended: the window of a new hold goes on with
// it, on the day of an exception. nil: there is none.
func (o *HeldWorkload) findWindowBefore(h *hold.Object, now time.Time) *hold.Object {
	if h.Spec.WindowStart == nil || h.Status.State != "" {
		return nil
	}
	for i := range o.Holds {
		m := &o.Holds[i]
		isOver := m.IsOver(now) || m.Spec.Until != nil && !now.Add(hold.WindowOverlap).Before(m.Spec.Until.Time)
		if isOver && m.Spec.WindowStart != nil && len(m.Status.Yielded) > 0 && h.Spec.WindowStart.Equal(&m.Status.YieldedWindow) && findHoldCondition(m, conditionYielded) != nil {
			return m
		}
	}
	return nil
}

// takeOverHoldYields returns the status of a new hold with the numbers that the hold before it left to another client. Without gates it has nothing to do
// before its end.
func takeOverHoldYields(h, before *hold.Object, now time.Time) hold.Status {
	s := hold.Status{Yielded: slices.Clone(before.Status.Yielded), YieldedUntil: metaTimeOrZero(h.Spec.Until), YieldedWindow: *h.Spec.WindowStart}
	s.Conditions = keepYieldTime(before.Status.Conditions)
	if before.Status.State == hold.Open && len(h.Spec.Gates) == 0 {
		s.State, s.Since, s.Entered = hold.Open, metav1.NewMicroTime(now), metav1.NewMicroTime(now)
	}
	return s
}
