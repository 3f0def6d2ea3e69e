// This file holds the rules as the configuration gives them. match.go applies them to an event.

package event

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// DefaultMaxFor is the longest hold of a rule without maxFor, so that no sender can raise a workload for ever.
const DefaultMaxFor = 24 * time.Hour

// HoldRule maps events of a type to holds.
type HoldRule struct {
	// Name is part of the ID of its holds: event/NAME, or event/NAME/VALUE with a Key.
	Name string
	// Type is the type of events that raise. ReleaseOn is the optional type of events that release.
	Type, ReleaseOn string
	// Match maps fields to their required text, for both types of events.
	Match map[string]string
	// Key is the field that tells one sale from another, for both types of events; empty: one sale at a time.
	Key string
	// Workloads are raised together.
	Workloads []WorkloadSpec
	// For is the length of the hold, counted from the event's at; 0: the event's ttl. MaxFor bounds it.
	For, MaxFor time.Duration
	// Within is the time limit for new pods to become ready; 0: hold.DefaultWithin.
	Within time.Duration
	// Paused makes the holds of its events count for nothing.
	Paused bool
	// Verify is the name of a verification; optional.
	Verify string
	// OnSuccess, OnRelease and Notify are as in hold.Hold.
	OnSuccess, OnRelease []action.Action
	// After watches the gate that OnSuccess makes; nil: nothing is watched.
	After *action.Watch
	// Gates are gates of the configuration, besides OnSuccess.
	Gates  []string
	Notify []string
}

// CountGates returns how many gates the holds of the rule name.
func (r *HoldRule) CountGates() int {
	n := len(r.Gates)
	if len(r.OnSuccess) > 0 {
		n++
	}
	return n
}

// ListWorkloads lists the workloads of the rule.
func (r *HoldRule) ListWorkloads() (all []hold.Workload) {
	for i := range r.Workloads {
		all = append(all, r.Workloads[i].Workload)
	}
	return all
}

// WorkloadSpec is the hold of a rule on a workload.
type WorkloadSpec struct {
	Workload                           hold.Workload
	Replicas, MinReplicas, MaxReplicas ReplicaCount
}

// ReplicaCount is a fixed number, or the number in a field of the event.
type ReplicaCount struct {
	Value int32
	// Field is the name of the field; empty: Value counts. MaxValue caps the number in the field.
	Field    string
	MaxValue int32
}

// resolveEventReplicas returns the number for an event.
func (n ReplicaCount) resolveEventReplicas(e *Event) (int32, error) {
	if n.Field == "" {
		return n.Value, nil
	}
	text, ok := formatScalarField(e.Fields[n.Field]) // headers, and the fields of some programs, are numbers as text
	if !ok {
		return 0, fmt.Errorf("field %s: must be a number", n.Field)
	}
	digits, zeros, _ := strings.Cut(text, ".") // some programs write 20 as 20.0
	if strings.Trim(zeros, "0") != "" {
		digits = text
	}
	v, err := strconv.ParseInt(digits, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange) && v > 0:
		return n.MaxValue, nil
	case err != nil || v < 0:
		return 0, fmt.Errorf("field %s: must be a whole number from 0, not %s", n.Field, strict.ShortenPlain(text))
	}
	return int32(min(v, int64(n.MaxValue))), nil
}
