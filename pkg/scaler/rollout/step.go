// Steps: the next act of a pass, and its effect on an observation.

package rollout

import (
	"fmt"
	"maps"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/notify"
)

// StepKind is the kind of a Step.
type StepKind string

// The kinds of steps. All but Rest, PostMessage and the gates are one write to the API server.
const (
	Rest            StepKind = "Rest"            // nothing to do before At, or before a change
	AddFinalizer    StepKind = "AddFinalizer"    // to the hold
	PauseHold       StepKind = "PauseHold"       // a hold that came during the pause of its workload
	WriteStatus     StepKind = "WriteStatus"     // of the hold
	SetBounds       StepKind = "SetBounds"       // of the autoscaler
	SetReplicas     StepKind = "SetReplicas"     // of the workload
	DropBoundsOwner StepKind = "DropBoundsOwner" // the scaler stops to own the autoscaler's bounds
	DropScaleOwner  StepKind = "DropScaleOwner"  // the scaler stops to own the workload's replicas
	RecordGate      StepKind = "RecordGate"      // the coming changes of the hold's gates, with a write of its status
	OpenGate        StepKind = "OpenGate"        // of the hold, by a step; its status says so before
	ShutGate        StepKind = "ShutGate"        // of the hold
	PostMessage     StepKind = "PostMessage"     // of the hold's outbox
	DeleteHold      StepKind = "DeleteHold"      // an ended hold that the scaler made
	RemoveFinalizer StepKind = "RemoveFinalizer" // from a deleted hold, after everything is given back
)

// Step is the next step of a pass.
type Step struct {
	Kind   StepKind
	Hold   int                // index of the hold; -1: none
	Status hold.Status        // of the hold after the step, for WriteStatus and the gates
	Bounds hold.ReplicaBounds // for SetBounds
	Former bool               // the step is about the autoscaler of before, for SetBounds and DropBoundsOwner
	// GateStep is the step of OpenGate, counted from 0, of GateSteps.
	GateStep, GateSteps int
	To                  int32              // replicas, for SetReplicas
	Post                hold.OutboxMessage // for PostMessage, with the notifiers that do not have it
	PausedUntil         *metav1.Time       // for PauseHold; nil: until the hold is resumed
	// Confirm makes apply read everything again from the API server before the step: it follows from another client's number, or has
	// an effect outside of the cluster's objects.
	Confirm bool
	Reason  string // of the Event; empty: no Event
	Message string
	Warning bool
}

// String describes the step for people.
func (s Step) String() string {
	switch s.Kind {
	case SetBounds:
		if s.Former {
			return fmt.Sprintf("set the autoscaler of before to %d..%d", s.Bounds.MinReplicas, s.Bounds.MaxReplicas)
		}
		return fmt.Sprintf("set the autoscaler to %d..%d", s.Bounds.MinReplicas, s.Bounds.MaxReplicas)
	case SetReplicas:
		return fmt.Sprintf("set %d replicas", s.To)
	case WriteStatus:
		return fmt.Sprintf("write state %s", s.Status.State)
	case RecordGate:
		return "record what the gates change"
	case OpenGate:
		return "open the gates"
	case ShutGate:
		return "shut the gates"
	case PostMessage:
		return "post: " + s.Post.Text
	case Rest, AddFinalizer, PauseHold, DropBoundsOwner, DropScaleOwner, DeleteHold, RemoveFinalizer:
	}
	return string(s.Kind)
}

func (s Step) withStepEvent(reason, format string, args ...any) Step {
	s.Reason, s.Message = reason, fmt.Sprintf(format, args...)
	return s
}

// withStepWarning returns the step with a warning Event.
func (s Step) withStepWarning(reason, format string, args ...any) Step {
	s = s.withStepEvent(reason, format, args...)
	s.Warning = true
	return s
}

// writeStatusStep returns the step that writes a hold's status. If the hold carries the record, the write also confirms the finished changes.
func (o *HeldWorkload) writeStatusStep(i int, status hold.Status) Step {
	if status.Numbers != nil {
		n := o.confirmHoldNumbers(*status.Numbers)
		status.Numbers = &n
	}
	return Step{Kind: WriteStatus, Hold: i, Status: status}
}

// enterStateStep returns the step that moves a hold to a state.
func (o *HeldWorkload) enterStateStep(i int, to hold.State, message string, now time.Time) Step {
	status := o.Holds[i].Status.DeepCopy()
	if to != hold.Open {
		status = clearMaxReplicasYield(status, now)
	}
	switch to {
	case hold.Open:
		status.Up = openHoldNumbers(&o.Holds[i])
	case hold.Released:
		status.Up = nil
	case hold.Received, hold.Raised, hold.Scaled, hold.Ready, hold.Verified, hold.RolledBack:
	}
	status.State, status.Message, status.Entered = to, shortenHoldStatus(message), metav1.NewMicroTime(now)
	return o.writeStatusStep(i, status)
}

// maxStatusMessageBytes bounds the message in a status: reasons quote other programs, at any length.
const maxStatusMessageBytes = 2048

// shortenHoldStatus cleans a text for a status, and cuts it at its limit.
func shortenHoldStatus(text string) string { return plaintext.Clip(text, maxStatusMessageBytes) }

// Simulate returns the observation after a step without a cluster: for a dry run and for tests.
func (o HeldWorkload) Simulate(s Step) HeldWorkload {
	o.Holds = slices.Clone(o.Holds)
	switch s.Kind {
	case WriteStatus, RecordGate, OpenGate, ShutGate:
		o.Holds[s.Hold].Status = s.Status.DeepCopy()
	case AddFinalizer:
		adopted := o.Holds[s.Hold].DeepCopy()
		adopted.Adopt(o.Owner)
		o.Holds[s.Hold] = *adopted
	case PauseHold:
		paused := o.Holds[s.Hold].DeepCopy()
		paused.Spec.Paused, paused.Spec.PausedUntil = true, s.PausedUntil
		o.Holds[s.Hold] = *paused
	case SetBounds:
		a := **o.autoscalerOfStep(s)
		a.Bounds, a.Owned = s.Bounds, true
		*o.autoscalerOfStep(s) = &a
	case SetReplicas:
		scale := *o.Scale
		scale.Replicas, scale.Owned = s.To, true
		o.Scale = &scale
	case DropBoundsOwner:
		a := **o.autoscalerOfStep(s)
		a.Owned = false
		*o.autoscalerOfStep(s) = &a
	case DropScaleOwner:
		scale := *o.Scale
		scale.Owned = false
		o.Scale = &scale
	case DeleteHold:
		at := metav1.Now()
		o.Holds[s.Hold].DeletionTimestamp = &at
	case RemoveFinalizer:
		o.Holds = slices.Delete(o.Holds, s.Hold, s.Hold+1)
	case PostMessage:
		o.Deliveries = maps.Clone(o.Deliveries)
		if o.Deliveries == nil {
			o.Deliveries = map[messageAddress]notify.Delivery{}
		}
		for _, name := range s.Post.Notifiers {
			o.Deliveries[messageAddress{s.Post.Key, name}] = notify.Delivery{Posted: true, Done: true}
		}
	case Rest:
	}
	return o
}
