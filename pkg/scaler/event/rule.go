package event

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// DefaultMaxFor is the longest hold of a rule without maxFor: no sender keeps a target up for ever.
const DefaultMaxFor = 24 * time.Hour

// Rule says what events of a type ask for.
type Rule struct {
	// Name is part of the id of its holds: event/NAME, or event/NAME/VALUE with a Key.
	Name string
	// Type is that of the events that raise, ReleaseOn of those that end what was raised, if any does.
	Type, ReleaseOn string
	// Match are fields, and the text they must have, of both kinds of events.
	Match map[string]string
	// Key is the field that tells one sale from another, of both kinds of events; empty: there is one at a time.
	Key string
	// Workloads are raised together.
	Workloads []WorkloadSpec
	// For is how long the hold lasts from the event's at; 0: for its ttl. MaxFor bounds it.
	For, MaxFor time.Duration
	// Within is how long new pods may take until they are ready; 0: hold.DefaultWithin.
	Within time.Duration
	// Verify is the name of a verification; empty: none.
	Verify string
	// OnSuccess, OnRelease and Notify are as in hold.Hold.
	OnSuccess, OnRelease []action.Action
	Notify               []string
}

// WorkloadSpec is what a rule asks for one target.
type WorkloadSpec struct {
	Workload                           hold.Target
	Replicas, MinReplicas, MaxReplicas ReplicaCount
}

// ReplicaCount is one that the rule says, or that a field of the event says.
type ReplicaCount struct {
	Value int32
	// Field holds the number, if not empty; what is above Max is cut to it.
	Field    string
	MaxValue int32
}

// resolveCount is the number for an event.
func (n ReplicaCount) resolveCount(e *Event) (int32, error) {
	if n.Field == "" {
		return n.Value, nil
	}
	j, ok := e.Fields[n.Field].(json.Number)
	if !ok {
		return 0, fmt.Errorf("field %s: must be a number", n.Field)
	}
	v, err := strconv.ParseInt(j.String(), 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange) && v > 0:
		return n.MaxValue, nil
	case err != nil || v < 0:
		return 0, fmt.Errorf("field %s: must be a whole number from 0, not %s", n.Field, strict.Shorten(j.String()))
	}
	return int32(min(v, int64(n.MaxValue))), nil
}

// holdCommand is what one event asks of one target.
type holdCommand struct {
	workload  hold.Target
	hold      hold.Hold // of a release, the ID alone
	release   bool
	reason    string    // of a release
	expiresAt time.Time // from then on it is not delivered
}

// handlesType tells whether the rule is about events of the type.
func (r *Rule) handlesType(kind string) bool { return kind == r.Type || kind == r.ReleaseOn }

// matchesFields tells whether the event has the fields that the rule wants.
func (r *Rule) matchesFields(e *Event) bool {
	for field, want := range r.Match {
		if got, ok := scalarText(e.Fields[field]); !ok || got != want {
			return false
		}
	}
	return true
}

// buildCommands are what the rule makes of an event that it knows and that matches.
func (r *Rule) buildCommands(e *Event, specs map[string]verify.Spec) ([]holdCommand, error) {
	id, err := r.buildHoldID(e)
	if err != nil {
		return nil, err
	}
	orders := make([]holdCommand, 0, len(r.Workloads))
	for i := range r.Workloads {
		w := &r.Workloads[i]
		o := holdCommand{workload: w.Workload, expiresAt: e.Expiry()}
		if e.Type == r.ReleaseOn {
			o.release, o.hold.ID, o.reason = true, id, fmt.Sprintf("event %s (%s)", e.ID, e.Type)
		} else if o.hold, err = r.buildHold(e, w, id, specs); err != nil {
			return nil, err
		} else if o.hold.Until.Before(o.expiresAt) {
			o.expiresAt = o.hold.Until
		}
		orders = append(orders, o)
	}
	return orders, nil
}

// buildHold depends on the event alone: delivered twice, it is the same.
func (r *Rule) buildHold(e *Event, w *WorkloadSpec, id string, specs map[string]verify.Spec) (h hold.Hold, err error) {
	h = hold.Hold{
		ID: id, Reason: e.Type, By: "event " + e.ID, Until: e.At.Add(r.holdDuration(e)), Within: r.Within,
		OnSuccess: r.OnSuccess, OnRelease: r.OnRelease, Notify: r.Notify, State: hold.Received,
	}
	if r.Verify != "" {
		spec, ok := specs[r.Verify]
		if !ok {
			return hold.Hold{}, fmt.Errorf("verification %s: not configured", r.Verify)
		}
		h.Verify = &spec
	}
	for _, n := range []struct {
		to   *int32
		from ReplicaCount
	}{{&h.Replicas, w.Replicas}, {&h.Floor, w.MinReplicas}, {&h.Ceiling, w.MaxReplicas}} {
		if *n.to, err = n.from.resolveCount(e); err != nil {
			return hold.Hold{}, err
		}
	}
	return h, nil
}

// holdDuration is how long the hold lasts from the event's at.
func (r *Rule) holdDuration(e *Event) time.Duration {
	span, most := r.For, r.MaxFor
	if span == 0 {
		span = e.TTL
	}
	if most == 0 {
		most = DefaultMaxFor
	}
	return min(span, most)
}

// holdKeyPattern is what may stand in the id of a hold.
var holdKeyPattern = regexp.MustCompile(`^[!-~]{1,128}$`)

func (r *Rule) buildHoldID(e *Event) (string, error) {
	id := "event/" + r.Name
	if r.Key == "" {
		return id, nil
	}
	value, ok := scalarText(e.Fields[r.Key])
	if !ok || !holdKeyPattern.MatchString(value) {
		return "", fmt.Errorf("field %s: must be 1 to 128 printable ASCII characters without spaces: rule %s tells its holds apart by it", r.Key, r.Name)
	}
	return id + "/" + value, nil
}

// scalarText is the text of a field with one value.
func scalarText(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}
