// The pause of a hold: like its end, but that it comes back.

package rollout

import (
	"context"
	"fmt"
	"slices"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// conditionPaused tells that the hold counts for nothing, until it is resumed.
const conditionPaused = "Paused"

// PauseByOwner pauses a hold for its owner, or ends that pause, and reports whether it changed the hold.
func (e *Engine) PauseByOwner(ctx context.Context, h *hold.Object, paused bool) (changed bool, err error) {
	next := h.DeepCopy()
	if h.DeletionTimestamp != nil || h.Fault != "" || !next.SetPausedByOwner(paused) {
		return false, nil
	}
	if _, err := e.Cluster.UpdateHold(ctx, next); err != nil {
		return false, fmt.Errorf("pause hold %s: %w", h.HoldID(), err)
	}
	return true, nil
}

// isPauseNoted reports whether the status says that the hold is paused.
func isPauseNoted(h *hold.Object) bool {
	c := findHoldCondition(h, conditionPaused)
	return c != nil && c.Status == metav1.ConditionTrue
}

// pauseHold writes that a hold is paused, before its gates are shut and its numbers are given back, and each change of the pause. Resuming the hold is
// its beginning.
func (o *HeldWorkload) pauseHold(now time.Time) (Step, bool) {
	for i := range o.Holds {
		h := &o.Holds[i]
		if h.DeletionTimestamp != nil || !h.IsPaused(now) {
			continue
		}
		reason, by := "ByPerson", "a person"
		if h.IsPausedByOwner() {
			reason, by = "ByOwner", "the configuration"
		}
		message := "paused by " + by
		if h.Spec.PausedUntil != nil {
			message += " until " + h.Spec.PausedUntil.UTC().Format(time.RFC3339)
		}
		noted := isPauseNoted(h)
		if noted && findHoldCondition(h, conditionPaused).Message == message {
			continue
		}
		status := h.Status.DeepCopy()
		status.ObservedGeneration, status.Up = h.Generation, nil
		status.Conditions = setHoldCondition(status.Conditions, conditionPaused, metav1.ConditionTrue, reason, message, now)
		if !noted {
			status.Told = slices.DeleteFunc(status.Told, func(t string) bool { return t == reasonPaused || t == reasonResumed })
		}
		return o.writeStatusStep(i, status).withStepEvent(reasonPaused, "hold %s: %s", h.HoldID(), message), true
	}
	return Step{}, false
}

// endFailedPause writes that the pause of a hold has ended that failed before it. Any other hold begins again with the end of its pause.
func (o *HeldWorkload) endFailedPause(now time.Time) (Step, bool) {
	for i := range o.Holds {
		h := &o.Holds[i]
		if h.Status.State != hold.RolledBack || h.IsOver(now) || !isPauseNoted(h) {
			continue
		}
		status := h.Status.DeepCopy()
		status.Conditions = setHoldCondition(status.Conditions, conditionPaused, metav1.ConditionFalse, "Resumed", "the pause has ended", now)
		return o.writeStatusStep(i, status).withStepEvent(reasonResumed, "hold %s: the pause has ended", h.HoldID()), true
	}
	return Step{}, false
}

// resumeHoldStep returns the step that starts a paused hold again with a status. Its notifiers are told so if they know of the pause, and of no end since.
func (o *HeldWorkload) resumeHoldStep(i int, status hold.Status, now time.Time) Step {
	h := &o.Holds[i]
	if wasHoldOutcomeTold(h, reasonPaused) && !wasHoldOutcomeTold(h, string(hold.Released)) {
		status.Told = append(keepToldStart(h.Status.Told, status.Told), reasonPaused)
	} else {
		status = o.tellHoldStart(h, status, now)
	}
	status.Conditions = setHoldCondition(h.Status.Conditions, conditionPaused, metav1.ConditionFalse, "Resumed", "the hold counts again", now)
	apimeta.RemoveStatusCondition(&status.Conditions, conditionYielded) // it states its numbers anew
	return o.writeStatusStep(i, status).withStepEvent(reasonResumed, "hold %s is resumed: %d replicas%s", h.HoldID(), h.Spec.Replicas, formatHoldUntil(h))
}

// isHoldPastEnd reports whether a hold is over for good, paused or not: it is deleted, or its end has come.
func isHoldPastEnd(h *hold.Object, now time.Time) bool {
	return h.DeletionTimestamp != nil || h.Spec.Until != nil && !now.Before(h.Spec.Until.Time)
}

// owedHoldPause returns the outcome about a pause that the notifiers of a hold have not been told, and its name; empty: nothing. A hold that
// never began, or not since its end was told, is paused in silence.
func (o *HeldWorkload) owedHoldPause(h *hold.Object, now time.Time) (name, outcome string) {
	switch s := h.Status.State; {
	case s == hold.Released && h.IsPaused(now) && !isHoldPastEnd(h, now) && isPauseNoted(h) && !wasHoldOutcomeTold(h, reasonPaused) && !wasHoldOutcomeTold(h, string(hold.Released)):
		return reasonPaused, "paused: " + o.describeReplicas()
	case s.IsActive() && !h.IsOver(now) && wasHoldOutcomeTold(h, reasonPaused) && !wasHoldOutcomeTold(h, reasonResumed):
		return reasonResumed, "resumed: " + o.describeReplicas()
	}
	return "", ""
}
