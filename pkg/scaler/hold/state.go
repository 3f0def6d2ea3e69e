package hold

import "slices"

// State is how far a hold has come. It only moves along the arrows of next:
//
//	received ─▶ raised ─▶ scaled ─▶ ready ─▶ verified ─▶ open ─▶ released
//	    └──────────┴─────────┴────────┴─────────┴─▶ rolled back
//
// A hold may be released from every state. It is written to the target before and after each step, so that whoever comes
// next does the step again, which is harmless, or goes on.
type State string

// The states of a hold.
const (
	Received   State = "received"    // noted on the target, with what was there before; nothing is changed yet
	Raised     State = "raised"      // the autoscaler's bounds are as wanted, if there is an autoscaler
	Scaled     State = "scaled"      // the replicas are asked for
	Ready      State = "ready"       // every new pod is ready
	Verified   State = "verified"    // the new pods answered as wanted, or nothing was to be asked
	Open       State = "open"        // what was to follow success is done
	RolledBack State = "rolled back" // it failed: what it raised is undone, and the gate stayed shut
	Released   State = "released"    // it ended: what it raised is undone
)

// nextStates are the steps; each hold may in addition be released.
var nextStates = map[State][]State{
	Received: {Raised, RolledBack},
	Raised:   {Scaled, RolledBack},
	Scaled:   {Ready, RolledBack},
	Ready:    {Verified, RolledBack},
	Verified: {Open, RolledBack},
}

// May tells whether a hold may go from s to t.
func (s State) May(t State) bool {
	return t == Released && s != Released || slices.Contains(nextStates[s], t)
}

// Holds tells whether a hold in this state has a say in how high its target stands.
func (s State) Holds() bool { return s != RolledBack && s != Released }

// Settled tells whether a hold in this state waits for nothing but its end.
func (s State) Settled() bool { return s == Open || s == RolledBack || s == Released }
