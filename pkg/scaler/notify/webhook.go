package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/webhook"
)

// SenderOptions are what a sender does without.
type SenderOptions struct {
	// Client sends, without following redirects; nil: one with a timeout of 5 s.
	Client *http.Client
	// Headers are sent along by a Webhook.
	Headers map[string]string
}

// Webhook posts messages as JSON.
type Webhook struct {
	readURL func() (string, error)
	client  *http.Client
	header  http.Header
}

var _ Sender = (*Webhook)(nil)

// NewWebhook returns a sender to the URL that the function returns before each attempt.
func NewWebhook(url func() (string, error), opts SenderOptions) *Webhook {
	header := http.Header{}
	for name, value := range opts.Headers {
		header.Set(name, value)
	}
	return &Webhook{readURL: url, client: webhook.NewClient(opts.Client), header: header}
}

// Send posts a message.
func (w *Webhook) Send(ctx context.Context, m Message) error {
	body, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("write message: %w", err)
	}
	return webhook.Post(ctx, w.client, w.readURL, w.header, body)
}
