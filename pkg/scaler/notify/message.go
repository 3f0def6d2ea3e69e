// Package notify tells people what became of a change.
package notify

import (
	"context"
	"time"

	"tachometer/pkg/scaler/hold"
	"tachometer/pkg/scaler/verify"
)

// Message is what became of a hold.
type Message struct {
	Time    time.Time      `json:"time"`
	Outcome string         `json:"outcome"`
	Target  hold.Target    `json:"target"`
	Hold    string         `json:"hold"`
	Reason  string         `json:"reason,omitempty"`
	By      string         `json:"by,omitempty"`
	Why     string         `json:"why,omitempty"`
	Report  *verify.Report `json:"report,omitempty"`
}

// Sender tells one receiver, once. It may be called concurrently; its errors never hold the receiver's URL.
type Sender interface {
	Send(ctx context.Context, m Message) error
}
