// This file sends messages to any webhook; template.go renders them.

package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"

	template "github.com/DataDog/datadog-agent/pkg/template/text"
	"go.yaml.in/yaml/v3"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/webhook"
	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// SenderOptions are the optional settings of a sender.
type SenderOptions struct {
	// Client sends the requests and follows no redirects; nil: a client with a timeout of 5 s.
	Client *http.Client
	// Headers are added to the requests of a Webhook.
	Headers map[string]string
}

// webhookKind is the kind webhook of the configuration.
var webhookKind = senderKind{
	newSender: func(c SenderConfig, opts SenderOptions) Sender {
		headers := maps.Clone(opts.Headers)
		if headers == nil {
			headers = map[string]string{}
		}
		maps.Copy(headers, c.headers)
		opts.Headers = headers
		w := NewWebhook(c.ReadURL, opts)
		w.body = c.body
		return w
	},
	fields: func(d *strict.Decoder, c *SenderConfig) map[string]strict.FieldDecoder {
		return map[string]strict.FieldDecoder{
			"headers":  func(path string, n *yaml.Node) { c.headers = notifierHeadersFromYAML(d, path, n) },
			"template": func(path string, n *yaml.Node) { c.body = notifierTemplateFromYAML(d, path, n) },
		}
	},
}

// Webhook posts messages as JSON, or in the form of a template.
type Webhook struct {
	readURL func() (string, error)
	client  *http.Client
	header  http.Header
	body    *template.Template
}

var _ Sender = (*Webhook)(nil)

// NewWebhook returns a sender to a URL. It calls url before each attempt.
func NewWebhook(url func() (string, error), opts SenderOptions) *Webhook {
	header := http.Header{}
	for name, value := range opts.Headers {
		header.Set(name, value)
	}
	return &Webhook{readURL: url, client: webhook.NewClient(opts.Client), header: header}
}

// idempotencyHeader has the message's Key, by which a receiver tells a repeated message from a new one.
const idempotencyHeader = "Idempotency-Key"

// Send posts a message.
func (w *Webhook) Send(ctx context.Context, m Message) error {
	header := w.header.Clone()
	if m.Key != "" && header.Get(idempotencyHeader) == "" {
		header.Set(idempotencyHeader, m.Key)
	}
	if w.body != nil {
		body, err := renderMessageTemplate(w.body, m)
		if err != nil {
			return err
		}
		return webhook.Post(ctx, w.client, w.readURL, header, body)
	}
	return postMessageJSON(ctx, w.client, w.readURL, header, m)
}

// postMessageJSON posts a body as JSON to the URL of a notifier.
func postMessageJSON(ctx context.Context, client *http.Client, readURL func() (string, error), header http.Header, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("write message: %w", err)
	}
	return webhook.Post(ctx, client, readURL, header, text)
}
