// This file matches an event with the rules, and builds the commands that the rules derive from it.

package event

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
)

// holdCommand is the change that an event makes to the holds of a workload.
type holdCommand struct {
	workload  hold.Workload
	hold      hold.Hold // a release has only its ID
	release   bool
	reason    string    // of a release
	at        time.Time // of the event
	fresh     time.Time // until this moment the event is fresh: its ttl, or the end of its hold
	expiresAt time.Time // no attempt begins from this moment on; of an end, not before the end of its longest hold
	until     time.Time // from this moment on, no earlier event of the hold can hold anything
}

// matchEventRules returns the commands of all rules that match an event, or the reason to reject the event.
func (h *Handler) matchEventRules(e *Event, now time.Time) ([]holdCommand, *OutcomeError) {
	known := false
	var commands []holdCommand
	for i := range h.rules {
		r := &h.rules[i]
		if !r.handlesEventType(e.Type) {
			continue
		}
		known = true
		if !r.matchesEventFields(e) {
			continue
		}
		built, err := r.buildHoldCommands(e, h.opts.VerifySpecs)
		if err != nil {
			return nil, newEventOutcomeError(Malformed, "rule %s: %v", r.Name, err)
		}
		commands = append(commands, built...)
	}
	switch {
	case !known:
		return nil, newEventOutcomeError(Unknown, "no rule is about type %s", e.Type)
	case len(commands) == 0:
		return nil, newEventOutcomeError(Unmatched, "no rule about type %s matches its fields", e.Type)
	case e.At.After(now.Add(maxSkew)):
		return nil, newEventOutcomeError(Future, "at is %s ahead of this clock; the limit is %s", e.At.Sub(now).Round(time.Second), maxSkew)
	}
	for i := range commands {
		if !now.Before(commands[i].expiresAt) {
			return nil, newEventOutcomeError(Expired, "expired %s ago", now.Sub(commands[i].expiresAt).Round(time.Second))
		}
	}
	return commands, nil
}

// handlesEventType reports whether the rule raises or releases on events of the type.
func (r *HoldRule) handlesEventType(eventType string) bool {
	return eventType == r.Type || eventType == r.ReleaseOn
}

// matchesEventFields reports whether the event has the fields of the rule's match.
func (r *HoldRule) matchesEventFields(e *Event) bool {
	for field, want := range r.Match {
		if got, ok := formatScalarField(e.Fields[field]); !ok || got != want {
			return false
		}
	}
	return true
}

// buildHoldCommands returns a command for each workload of the rule. The event must match the rule.
func (r *HoldRule) buildHoldCommands(e *Event, specs map[string]verify.Spec) ([]holdCommand, error) {
	id, err := r.buildEventHoldID(e)
	if err != nil {
		return nil, err
	}
	commands := make([]holdCommand, 0, len(r.Workloads))
	for i := range r.Workloads {
		w := &r.Workloads[i]
		c := holdCommand{workload: w.Workload, at: e.At, expiresAt: e.Expiry(), until: e.At.Add(cmp.Or(r.MaxFor, DefaultMaxFor))}
		if e.Type == r.ReleaseOn {
			c.release, c.hold.ID, c.reason = true, id, fmt.Sprintf("event %s (%s)", e.ID, e.Type)
		} else if c.hold, err = r.buildEventHold(e, w, id, specs); err != nil {
			return nil, err
		} else if c.hold.Until.Before(c.expiresAt) {
			c.expiresAt = c.hold.Until
		}
		if c.fresh = c.expiresAt; c.release && c.until.After(c.expiresAt) { // an end is owed for as long as its hold may last
			c.expiresAt = c.until
		}
		commands = append(commands, c)
	}
	return commands, nil
}

// buildEventHold returns the hold of a workload. It depends on the event alone, so that a second delivery builds an equal hold. Numbers from
// the event's fields that conflict are cut to maxReplicas: at a sale, fewer replicas are better than none.
func (r *HoldRule) buildEventHold(e *Event, w *WorkloadSpec, id string, specs map[string]verify.Spec) (h hold.Hold, err error) {
	h = hold.Hold{
		ID: id, Reason: e.Type, By: "event " + e.ID, Until: e.At.Add(r.eventHoldDuration(e)), Within: r.Within,
		Notify: r.Notify, Paused: r.Paused,
	}
	h.Gates = slices.Clone(r.Gates)
	if len(r.OnSuccess) > 0 {
		h.Gates = append(h.Gates, r.Name)
	}
	if len(r.Workloads) > 1 {
		h.Group, h.GroupSize = id, len(r.Workloads)
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
	}{{&h.Replicas, w.Replicas}, {&h.MinReplicas, w.MinReplicas}, {&h.MaxReplicas, w.MaxReplicas}} {
		if *n.to, err = n.from.resolveEventReplicas(e); err != nil {
			return hold.Hold{}, err
		}
	}
	if h.MaxReplicas > 0 {
		h.Replicas = min(h.Replicas, h.MaxReplicas)
	}
	h.MinReplicas = min(h.MinReplicas, max(h.Replicas, 1))
	return h, nil
}

// eventHoldDuration returns the length of the hold, counted from the event's at.
func (r *HoldRule) eventHoldDuration(e *Event) time.Duration {
	duration, limit := r.For, r.MaxFor
	if duration == 0 {
		duration = e.TTL
	}
	if limit == 0 {
		limit = DefaultMaxFor
	}
	return min(duration, limit)
}

// holdKeyPattern matches the text of a key field, which becomes part of a hold's ID.
var holdKeyPattern = regexp.MustCompile(`^[!-~]{1,128}$`)

func (r *HoldRule) buildEventHoldID(e *Event) (string, error) {
	id := hold.EventPrefix + r.Name
	if r.Key == "" {
		return id, nil
	}
	value, ok := formatScalarField(e.Fields[r.Key])
	if !ok || !holdKeyPattern.MatchString(value) {
		return "", fmt.Errorf("field %s: must be 1 to 128 printable ASCII characters without spaces: it is the key of rule %s", r.Key, r.Name)
	}
	return id + "/" + value, nil
}

// formatScalarField returns a string, number or bool as text, and false for any other value.
func formatScalarField(v any) (string, bool) {
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
