// Package notify sends messages about holds to people, in the background.
package notify

import (
	"context"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
)

// Message is the outcome of a hold.
type Message struct {
	Time     time.Time      `json:"time"`
	Outcome  string         `json:"outcome"` // in a few words, such as failed and rolled back to 2 replicas
	Workload hold.Workload  `json:"workload"`
	Hold     string         `json:"hold"`             // its ID
	Reason   string         `json:"reason,omitempty"` // of the hold
	By       string         `json:"by,omitempty"`     // owner of the hold
	Why      string         `json:"why,omitempty"`    // reason of the outcome
	Report   *verify.Report `json:"report,omitempty"` // nil: no verification
}

// Sender sends messages to a receiver. Send makes a single attempt. It may be called concurrently. Its errors contain no part of the
// receiver's URL.
type Sender interface {
	Send(ctx context.Context, m Message) error
}
