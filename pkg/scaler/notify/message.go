// Package notify tells people how a target fares, without anybody waiting for it.
package notify

import (
	"context"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
)

// Message is what became of a hold.
type Message struct {
	Time     time.Time      `json:"time"`
	Outcome  string         `json:"outcome"` // in a few words, such as failed and rolled back to 2 replicas
	Workload hold.Target    `json:"target"`
	Hold     string         `json:"hold"` // its ID
	Reason   string         `json:"reason,omitempty"`
	By       string         `json:"by,omitempty"`
	Why      string         `json:"why,omitempty"`    // it came to this outcome
	Report   *verify.Report `json:"report,omitempty"` // nil: nothing was verified
}

// Sender tells one receiver, once. It may be called concurrently; no part of the receiver's URL stands in its errors.
type Sender interface {
	Send(ctx context.Context, m Message) error
}
