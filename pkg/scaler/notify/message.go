// Package notify sends messages about holds to people in the background: queues, templates, and the senders to Slack, Teams, PagerDuty,
// Alertmanager and webhooks with their configuration.
package notify

import (
	"context"
	"slices"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
)

// This file holds messages, their kinds and severities, and the interface of senders.

// Message is a step in the life of a hold, such as its outcome.
type Message struct {
	// Key identifies the message: a queue sends a key once to each notifier, however often it is posted. Empty: each post is a message.
	Key      string    `json:"key,omitempty"`
	Kind     Kind      `json:"kind,omitempty"`
	Severity Severity  `json:"severity,omitempty"` // empty: the severity of the kind
	Time     time.Time `json:"time"`
	Outcome  string    `json:"outcome"` // in a few words, such as failed and rolled back to 2 replicas

	Workload hold.Workload  `json:"workload"`
	Hold     string         `json:"hold"`             // its ID
	Reason   string         `json:"reason,omitempty"` // of the hold
	By       string         `json:"by,omitempty"`     // owner of the hold
	Why      string         `json:"why,omitempty"`    // reason of the outcome
	Report   *verify.Report `json:"report,omitempty"` // nil: no verification
}

// Kind is a step in the life of a hold of which people are told.
type Kind string

// The kinds.
const (
	KindStarted    Kind = "Started"    // the hold asks for its replicas
	KindUp         Kind = "Up"         // all replicas are up and verified, and the gate is open
	KindYielded    Kind = "Yielded"    // another client changed a number, and the hold leaves it
	KindUnwatched  Kind = "Unwatched"  // the number that watches an open gate cannot be read
	KindStuck      Kind = "Stuck"      // the scaler cannot set the workload's numbers, or shut the gate
	KindRolledBack Kind = "RolledBack" // the hold failed
	KindPaused     Kind = "Paused"     // the original numbers are back until the hold is resumed
	KindResumed    Kind = "Resumed"    // the hold asks for its replicas again
	KindEnded      Kind = "Ended"      // the original numbers are back
)

// Severity is how urgent a message is.
type Severity string

// The severities, in their order.
const (
	SeverityInfo     Severity = "info"
	SeverityWarning  Severity = "warning"
	SeverityCritical Severity = "critical"
)

// severityRanks orders the severities. An unknown severity is above all: nobody should miss it.
var severityRanks = map[Severity]int{SeverityInfo: 1, SeverityWarning: 2, SeverityCritical: 3}

// Severity returns the severity of messages of the kind; empty for an unknown kind.
func (k Kind) Severity() Severity {
	switch k {
	case KindStarted, KindUp, KindPaused, KindResumed, KindEnded:
		return SeverityInfo
	case KindYielded, KindUnwatched:
		return SeverityWarning
	case KindStuck, KindRolledBack:
		return SeverityCritical
	}
	return ""
}

// withMessageSeverity returns the message with the severity of its kind, unless the message has a severity.
func (m Message) withMessageSeverity() Message {
	if m.Severity == "" {
		m.Severity = m.Kind.Severity()
	}
	return m
}

// withCleanTexts returns the message with its texts cleaned: others write reasons and owners of holds, and responses of pods.
func (m Message) withCleanTexts() Message {
	for _, text := range []*string{&m.Outcome, &m.Hold, &m.Reason, &m.By, &m.Why} {
		*text = plaintext.Clean(*text)
	}
	return m
}

// troubleKinds are the kinds of messages that report trouble, and calmKinds all others.
var (
	troubleKinds = []Kind{KindYielded, KindUnwatched, KindStuck, KindRolledBack}
	calmKinds    = []Kind{KindStarted, KindUp, KindPaused, KindResumed, KindEnded}
)

// isEndOfTrouble reports whether the message ends the trouble that earlier messages about the hold reported.
func (m *Message) isEndOfTrouble() bool {
	return m.Kind == KindUp || m.Kind == KindPaused || m.Kind == KindEnded
}

// isMessageNews reports whether the message neither reports trouble nor ends it. A message of an unknown kind may report trouble.
func (m *Message) isMessageNews() bool {
	return slices.Contains(calmKinds, m.Kind) && !m.isEndOfTrouble()
}

// notifierMessageTitle returns the workload and the outcome.
func (m *Message) notifierMessageTitle() string { return m.Workload.String() + ": " + m.Outcome }

// holdIdentity returns a text that all messages about the hold share.
func (m *Message) holdIdentity() string {
	return m.Workload.Namespace + "/" + m.Workload.Kind + "/" + m.Workload.Name + "/" + m.Hold
}

// Sender sends messages to a receiver. Send makes a single attempt. It may be called concurrently. Its errors contain no part of the
// receiver's URL.
type Sender interface {
	Send(ctx context.Context, m Message) error
}
