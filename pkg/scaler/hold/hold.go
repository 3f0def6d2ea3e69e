// Package hold defines holds: requests to keep a workload at a number of replicas, each with an owner and an end. The record on the
// workload keeps them, with the original numbers.
package hold

import (
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
)

// Hold is one request to keep a workload at a number of replicas. The workload's annotation keeps it, as JSON.
type Hold struct {
	// ID is unique on the workload, such as schedule/office-hours, event/flash-sale/black-friday or set. A second hold with the
	// same ID replaces the first.
	ID string `json:"id"`
	// Reason is a text for people. By is the owner: a user, a schedule, or an event with its id.
	Reason string `json:"reason,omitempty"`
	By     string `json:"by,omitempty"`
	// Replicas is the scale that the hold sets at once. MinReplicas is the autoscaler's minReplicas during the hold; 0: Replicas.
	Replicas    int32 `json:"replicas"`
	MinReplicas int32 `json:"minReplicas,omitempty"`
	// MaxReplicas is the least maxReplicas of the autoscaler during the hold; 0: unchanged, and the scaler rejects a hold above it.
	MaxReplicas int32 `json:"maxReplicas,omitempty"`
	// Lower lets the hold lower the workload; without it, a hold below the current numbers leaves them.
	Lower bool `json:"lower,omitempty"`
	// Since is the start of the current step up: its new pods are the pods created later. Until is the end; zero: until released.
	Since time.Time `json:"since"`
	Until time.Time `json:"until,omitzero"`
	// Within is the time in which new pods must become ready; 0: DefaultWithin.
	Within time.Duration `json:"within,omitempty"`
	// Verify is the verification that new pods must pass; nil: being ready is enough.
	Verify *verify.Spec `json:"verify,omitempty"`
	// OnSuccess runs after the pods are verified. OnRelease runs before the hold ends, if OnSuccess ran.
	OnSuccess []action.Action `json:"onSuccess,omitempty"`
	OnRelease []action.Action `json:"onRelease,omitempty"`
	// Notify names the notifiers of success and failure.
	Notify []string `json:"notify,omitempty"`

	// State is the progress of the hold, and StateMessage the last message about it, for people.
	State        State  `json:"state"`
	StateMessage string `json:"stateMessage,omitempty"`
	// Entered is the time at which the hold entered State.
	Entered time.Time `json:"entered"`
	// ReplicasBefore is the workload's scale at Since: a rollback returns to it.
	ReplicasBefore int32 `json:"replicasBefore"`
	// Previous is the hold that this hold replaced: a rollback returns to it. nil: no previous hold.
	Previous *Hold `json:"previous,omitempty"`
	// ScaledUp is set if the hold raised the replicas, or let the autoscaler raise them: a rollback lowers them again.
	ScaledUp bool `json:"scaledUp,omitempty"`
	// UndoPending is set from the decision to roll back until everything is undone and the notifiers have the message.
	UndoPending bool `json:"undoPending,omitempty"`
}

// DefaultWithin is the default time in which new pods must become ready: long enough for a slow image and a start-up probe, short
// enough for a person who waits.
const DefaultWithin = 5 * time.Minute

// EnterState moves the hold to a state, with a message. It panics if the state machine has no such step: that is a bug here.
func (h *Hold) EnterState(s State, message string, now time.Time) {
	if !h.State.CanEnter(s) {
		panic("hold " + h.ID + ": no step from " + string(h.State) + " to " + string(s))
	}
	h.State, h.StateMessage, h.Entered = s, message, now
	h.UndoPending = s == RolledBack
}

// ReadyDeadline returns the time at which the pods of a hold in state Scaled must be ready.
func (h *Hold) ReadyDeadline() time.Time {
	if h.Within > 0 {
		return h.Entered.Add(h.Within)
	}
	return h.Entered.Add(DefaultWithin)
}

// HasEnded reports whether the hold's end has come.
func (h *Hold) HasEnded(now time.Time) bool { return !h.Until.IsZero() && !now.Before(h.Until) }

// ReplaceHold returns the hold as it replaces an earlier hold with the same ID, if any, on a workload with this many replicas.
// A hold that needs no more than the earlier hold keeps its state. Otherwise it starts over, and a rollback returns to the earlier.
func (h Hold) ReplaceHold(earlier *Hold, replicas int32, now time.Time) Hold {
	if earlier != nil && earlier.State.IsActive() && h.Replicas <= earlier.Replicas && h.holdMinReplicasForAutoscaler() <= earlier.holdMinReplicasForAutoscaler() && h.MaxReplicas <= earlier.MaxReplicas {
		h.State, h.StateMessage, h.Since, h.Entered = earlier.State, earlier.StateMessage, earlier.Since, earlier.Entered
		h.ReplicasBefore, h.ScaledUp, h.Previous = earlier.ReplicasBefore, earlier.ScaledUp, earlier.Previous
		return h
	}
	h.State, h.StateMessage, h.Since, h.Entered = Received, "", now, now
	h.ReplicasBefore, h.ScaledUp, h.UndoPending, h.Previous = replicas, false, false, nil
	switch {
	case earlier == nil || earlier.HasEnded(now):
	case earlier.State == Open:
		previous := *earlier
		previous.Previous = nil
		h.Previous = &previous
	case earlier.State.IsActive() || earlier.UndoPending: // the earlier hold never opened: its pods are new pods of this hold, too
		h.Since, h.ReplicasBefore, h.Previous = earlier.Since, earlier.ReplicasBefore, earlier.Previous
	}
	return h
}

// effectiveHoldAt returns the hold that sets the numbers: itself, after a rollback the hold it replaced, or nil.
func (h *Hold) effectiveHoldAt(now time.Time) *Hold {
	switch {
	case h.HasEnded(now):
		return nil
	case h.State.IsActive():
		return h
	case h.Previous != nil && !h.Previous.HasEnded(now):
		return h.Previous
	}
	return nil
}

// holdReleaseActions returns the actions that must run before the hold ends. A gate that never opened needs no actions.
func (h *Hold) holdReleaseActions() []action.Action {
	switch {
	case h.State == Open:
		return h.OnRelease
	case h.Previous != nil: // its gate is open, and stays open while this hold makes progress
		return h.Previous.OnRelease
	}
	return nil
}
