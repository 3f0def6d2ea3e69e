package hold

// State is the progress of a hold:
//
//	Received ─▶ Raised ─▶ Scaled ─▶ Ready ─▶ Verified ─▶ Open ─▶ Released
//	    └──────────┴─────────┴────────┴─────────┴─▶ RolledBack
//
// A hold may be released from every state. A change of its spec, a retry, and a workload that comes back begin at Received.
type State string

// The states of a hold. Status, metric labels, command output and Event reasons spell them alike.
const (
	Received   State = "Received"   // nothing is changed yet
	Raised     State = "Raised"     // the autoscaler has its new bounds, if there is an autoscaler
	Scaled     State = "Scaled"     // the workload has its new scale
	Ready      State = "Ready"      // as many pods as asked for are ready
	Verified   State = "Verified"   // the new pods passed the verification, if the hold has one
	Open       State = "Open"       // the gates are open
	RolledBack State = "RolledBack" // the hold failed: its changes are undone, and its gates are shut; of a changed open hold, the change alone (IsKept)
	Released   State = "Released"   // the hold ended: its changes are undone
)

// IsActive reports whether a hold in this state counts towards the scale of its workload.
func (s State) IsActive() bool { return s != "" && s != RolledBack && s != Released }

// IsSettled reports whether a hold in this state waits only for its end.
func (s State) IsSettled() bool { return s == Open || s == RolledBack || s == Released }
