// This file holds the outcomes of events, and how they are counted and logged.

package event

import (
	"context"
	"fmt"
	"time"

	"k8s.io/klog/v2"
)

// Outcome is the result of an event.
type Outcome string

// The outcomes. Every event passed to Handle has exactly one. There is no outcome if the handler ends first, or if the caller gives up
// before the set of ids is loaded.
const (
	Delivered   Outcome = "delivered"   // the sink took it for every workload
	Superseded  Outcome = "superseded"  // a later event of the same hold was delivered instead
	Duplicate   Outcome = "duplicate"   // its id was seen before
	Malformed   Outcome = "malformed"   // it is not an event, or lacks a field that a rule needs
	Unknown     Outcome = "unknown"     // no rule is about its type
	Unmatched   Outcome = "unmatched"   // rules are about its type, but its fields match none of them
	Expired     Outcome = "expired"     // it was read after its expiry
	Future      Outcome = "future"      // its at is too far ahead
	Refused     Outcome = "refused"     // the sink rejected the hold of a workload for good
	Undelivered Outcome = "undelivered" // the sink did not take it for a workload before it expired
)

var allOutcomes = []Outcome{Delivered, Superseded, Duplicate, Malformed, Unknown, Unmatched, Expired, Future, Refused, Undelivered}

// OutcomeError is the error of an event that was not delivered.
type OutcomeError struct {
	Outcome Outcome
	// Reason is text for the sender.
	Reason string
}

// Error returns the outcome and its reason.
func (r *OutcomeError) Error() string { return fmt.Sprintf("event %s: %s", r.Outcome, r.Reason) }

func newEventOutcomeError(o Outcome, format string, args ...any) *OutcomeError {
	return &OutcomeError{Outcome: o, Reason: fmt.Sprintf(format, args...)}
}

// eventOutcomeRank orders the outcomes of an event on its workloads. The outcome with the highest rank becomes the event's.
func (o Outcome) eventOutcomeRank() int {
	switch o {
	case Undelivered:
		return 3
	case Refused:
		return 2
	case Delivered:
		return 1
	case Superseded, Duplicate, Malformed, Unknown, Unmatched, Expired, Future, outcomeRequeued:
		return 0
	}
	return 0
}

const (
	// maxLinesPerOutcome lines of each outcome in a throttlePeriod show the problem, and bound the log in any burst.
	maxLinesPerOutcome = 5
	throttlePeriod     = 10 * time.Second
)

// recordEventOutcome counts and logs the outcome of an event. The event's id and type are empty if they could not be read.
func (h *Handler) recordEventOutcome(ctx context.Context, e *Event, source string, o Outcome, reason string) {
	h.metrics.events.WithLabelValues(source, string(o)).Inc()
	suppressed, ok := h.throttle.AllowLine(string(o), time.Now())
	if !ok {
		return
	}
	log := klog.FromContext(ctx).WithValues("source", source, "outcome", o, "event", e.ID, "type", e.Type)
	if suppressed > 0 {
		log = log.WithValues("suppressed", suppressed)
	}
	if reason != "" {
		log = log.WithValues("reason", reason)
	}
	switch {
	case o == Delivered:
		log.Info("Event delivered")
	case o == Superseded && reason == "", o == Duplicate, o == Unmatched:
		log.V(1).Info("Event handled")
	default:
		log.Info("Event not delivered")
	}
}
