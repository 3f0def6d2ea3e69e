// Package hold is what keeps a target higher, or lower, than it was: reasons that stack, each with its end, and what was
// there before them.
package hold

import (
	"time"

	"tachometer/pkg/scaler/gate"
	"tachometer/pkg/scaler/verify"
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
	OnSuccess []gate.Action `json:"onSuccess,omitempty"`
	OnRelease []gate.Action `json:"onRelease,omitempty"`
	// Notify are the names of who is told of a failure and of success.
	Notify []string `json:"notify,omitempty"`

	// State is how far it has come, and Why the last thing worth saying about it.
	State State  `json:"state"`
	Why   string `json:"why,omitempty"`
	// Before is how many replicas the target had when Since was set: what a rollback goes back to.
	Before int32 `json:"before"`
}

// DefaultWithin is how long new pods may take until they are ready, where nothing else is said: a slow image and a start-up
// probe fit in, a person who waits does not lose faith.
const DefaultWithin = 5 * time.Minute

// Ended tells whether the hold's time is over.
func (h *Hold) Ended(now time.Time) bool { return !h.Until.IsZero() && !now.Before(h.Until) }
