package hold

import "slices"

// State is the progress of a hold. It moves only along the arrows of nextStates:
//
//	Received ─▶ Raised ─▶ Scaled ─▶ Ready ─▶ Verified ─▶ Open ─▶ Released
//	    └──────────┴─────────┴────────┴─────────┴─▶ RolledBack
//
// A hold may be released from every state. The workload's annotation gets the state before and after each step, so that the next
// process repeats the step, which is harmless, or continues.
type State string

// The states of a hold. Annotation, metric labels, command output and Event reasons spell them alike.
const (
	Received   State = "Received"   // the workload's annotation has the hold and the original numbers; the numbers are unchanged
	Raised     State = "Raised"     // the autoscaler has its new bounds, if there is an autoscaler
	Scaled     State = "Scaled"     // the workload has its new scale
	Ready      State = "Ready"      // every new pod is ready
	Verified   State = "Verified"   // the new pods passed the verification, if the hold has one
	Open       State = "Open"       // the OnSuccess actions ran
	RolledBack State = "RolledBack" // the hold failed: its changes are undone, and its gate stayed closed
	Released   State = "Released"   // the hold ended: its changes are undone
)

// nextStates are the steps; each hold may in addition be released.
var nextStates = map[State][]State{
	Received: {Raised, RolledBack},
	Raised:   {Scaled, RolledBack},
	Scaled:   {Ready, RolledBack},
	Ready:    {Verified, RolledBack},
	Verified: {Open, RolledBack},
}

// CanEnter reports whether a hold may go from s to t.
func (s State) CanEnter(t State) bool {
	return t == Released && s != Released || slices.Contains(nextStates[s], t)
}

// IsActive reports whether a hold in this state counts towards the scale of its workload.
func (s State) IsActive() bool { return s != RolledBack && s != Released }

// IsSettled reports whether a hold in this state waits only for its end.
func (s State) IsSettled() bool { return s == Open || s == RolledBack || s == Released }
