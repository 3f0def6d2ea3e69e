// Package hold is what keeps a target higher, or lower, than it was: reasons that stack, each with its end, and what was
// there before them.
package hold

import (
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
)

// Hold is one reason for a target to stand where it stands. It is kept on the target itself, as JSON.
type Hold struct {
	// ID tells the holds of one target apart, such as schedule/office-hours, event/flash-sale/black-friday or set. Who
	// applies a hold with an ID that is there already replaces it.
	ID string `json:"id"`
	// Reason is for people: why. By is who asked: a user, a schedule, an event and its id.
	Reason string `json:"reason,omitempty"`
	By     string `json:"by,omitempty"`
	// Replicas are asked for at once; Floor is what the autoscaler may not go below: Replicas where it is 0.
	Replicas int32 `json:"replicas"`
	Floor    int32 `json:"floor,omitempty"`
	// Ceiling is the least that the autoscaler's maximum must be; 0: its own, beyond which a hold is refused.
	Ceiling int32 `json:"ceiling,omitempty"`
	// Lower lets the hold lower what it finds; without it, a hold below that changes nothing.
	Lower bool `json:"lower,omitempty"`
	// Since is when the present step up was asked for: pods made later are its new pods. Until is its end; zero: when it is released.
	Since time.Time `json:"since"`
	Until time.Time `json:"until,omitzero"`
	// Within is how long new pods may take until they are ready; 0: DefaultWithin.
	Within time.Duration `json:"within,omitempty"`
	// Verify is what new pods must pass; nil: being ready is enough.
	Verify *verify.Spec `json:"verify,omitempty"`
	// OnSuccess is done when the pods are verified, OnRelease before the hold ends, if OnSuccess was done.
	OnSuccess []action.Action `json:"onSuccess,omitempty"`
	OnRelease []action.Action `json:"onRelease,omitempty"`
	// Notify are the names of who is told of a failure and of success.
	Notify []string `json:"notify,omitempty"`

	// State is how far it has come, and Why the last thing worth saying about it.
	State State  `json:"state"`
	Why   string `json:"why,omitempty"`
	// Entered is when it came to State.
	Entered time.Time `json:"entered"`
	// Before is how many replicas the target had when Since was set: what a rollback goes back to.
	Before int32 `json:"before"`
	// Previous is the hold that this one replaced, and what a rollback goes back to; nil: none.
	Previous *Hold `json:"previous,omitempty"`
	// Asked tells that it raised the replicas, or let the autoscaler raise them: they are to be taken back.
	Asked bool `json:"asked,omitempty"`
	// Undo is set from the decision to roll back until all of it is undone and those who are to know are told.
	Undo bool `json:"undo,omitempty"`
}

// DefaultWithin is how long new pods may take until they are ready, where nothing else is said: a slow image and a start-up
// probe fit in, a person who waits does not lose faith.
const DefaultWithin = 5 * time.Minute

// Enter moves the hold to a state, for the reason given. It panics where the state machine has no such step: that is a bug here.
func (h *Hold) Enter(s State, why string, now time.Time) {
	if !h.State.May(s) {
		panic("hold " + h.ID + ": no step from " + string(h.State) + " to " + string(s))
	}
	h.State, h.Why, h.Entered = s, why, now
	h.Undo = s == RolledBack
}

// Deadline is when the pods of a hold that is scaled must be ready.
func (h *Hold) Deadline() time.Time {
	if h.Within > 0 {
		return h.Entered.Add(h.Within)
	}
	return h.Entered.Add(DefaultWithin)
}

// Ended tells whether the hold's time is over.
func (h *Hold) Ended(now time.Time) bool { return !h.Until.IsZero() && !now.Before(h.Until) }

// Replace is the hold in the place of an earlier one with its ID, nil if there is none, on a target with replicas. One that
// asks for no more than the earlier keeps its state; otherwise it begins anew, and a rollback goes back to the earlier.
func (h Hold) Replace(earlier *Hold, replicas int32, now time.Time) Hold {
	if earlier != nil && earlier.State.Holds() && h.Replicas <= earlier.Replicas && h.effectiveMinReplicas() <= earlier.effectiveMinReplicas() && h.Ceiling <= earlier.Ceiling {
		h.State, h.Why, h.Since, h.Entered = earlier.State, earlier.Why, earlier.Since, earlier.Entered
		h.Before, h.Asked, h.Previous = earlier.Before, earlier.Asked, earlier.Previous
		return h
	}
	h.State, h.Why, h.Since, h.Entered = Received, "", now, now
	h.Before, h.Asked, h.Undo, h.Previous = replicas, false, false, nil
	switch {
	case earlier == nil || earlier.Ended(now):
	case earlier.State == Open:
		previous := *earlier
		previous.Previous = nil
		h.Previous = &previous
	case earlier.State.Holds() || earlier.Undo: // it never came to its end: its pods are new to this one, too
		h.Since, h.Before, h.Previous = earlier.Since, earlier.Before, earlier.Previous
	}
	return h
}

// effectiveHold is the hold whose numbers count: itself, after a rollback the one it replaced, or nil.
func (h *Hold) effectiveHold(now time.Time) *Hold {
	switch {
	case h.Ended(now):
		return nil
	case h.State.Holds():
		return h
	case h.Previous != nil && !h.Previous.Ended(now):
		return h.Previous
	}
	return nil
}

// ownReleaseActions is what is to be done before the hold ends: nothing where the gate was never opened.
func (h *Hold) ownReleaseActions() []action.Action {
	switch {
	case h.State == Open:
		return h.OnRelease
	case h.Previous != nil: // which was open, and stays so while this one is on its way
		return h.Previous.OnRelease
	}
	return nil
}
