// This file sends messages to PagerDuty.

package notify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/webhook"
	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// pagerDutyKind is the kind pagerduty of the configuration. Its URL is the same for all accounts of a region; its routing key is the secret.
var pagerDutyKind = senderKind{
	secretKey: "routingKeyFile", secret: "routing key", url: pagerDutyURL, endsTrouble: true,
	newSender: func(c SenderConfig, opts SenderOptions) Sender {
		url := func() (string, error) { return pagerDutyURL, nil }
		if c.urlFile != "" {
			url = c.ReadURL
		}
		return NewPagerDuty(url, webhook.URLFromFile(c.keyFile), opts)
	},
	fields: func(d *strict.Decoder, c *SenderConfig) map[string]strict.FieldDecoder {
		return map[string]strict.FieldDecoder{
			"routingKeyFile": func(path string, n *yaml.Node) { notifierFileFromYAML(d, &c.keyFile, "routing key")(path, n) },
		}
	},
}

// pagerDutyURL is the URL of PagerDuty's Events API v2, except for accounts in Europe.
const pagerDutyURL = "https://events.pagerduty.com/v2/enqueue"

// PagerDuty opens an incident for each hold in trouble, and resolves it when the trouble ends.
type PagerDuty struct {
	readURL, readKey func() (string, error)
	client           *http.Client
}

var _ Sender = (*PagerDuty)(nil)

// NewPagerDuty returns a sender to the Events API v2. It calls url and routingKey before each attempt.
func NewPagerDuty(url, routingKey func() (string, error), opts SenderOptions) *PagerDuty {
	return &PagerDuty{readURL: url, readKey: routingKey, client: webhook.NewClient(opts.Client)}
}

// Send triggers or resolves the incident of the message's hold. Other news is no incident.
func (p *PagerDuty) Send(ctx context.Context, m Message) error {
	if m.isMessageNews() {
		return errNotMeant
	}
	key, err := p.readKey()
	if err != nil {
		return fmt.Errorf("read the routing key: %w", err)
	}
	return postMessageJSON(ctx, p.client, p.readURL, nil, newPagerDutyBody(key, m))
}

// The limits of PagerDuty, in characters.
const (
	maxSummaryChars  = 1000
	maxDedupKeyChars = 250
)

// pagerDutyBody is the body of a request to the Events API v2.
type pagerDutyBody struct {
	RoutingKey  string            `json:"routing_key"`
	EventAction string            `json:"event_action"`
	DedupKey    string            `json:"dedup_key"`
	Payload     *pagerDutyPayload `json:"payload,omitempty"` // of a trigger
}

type pagerDutyPayload struct {
	Summary       string         `json:"summary"`
	Source        string         `json:"source"`
	Severity      string         `json:"severity"`
	Timestamp     string         `json:"timestamp"`
	Component     string         `json:"component"`
	Group         string         `json:"group"`
	Class         string         `json:"class,omitempty"`
	CustomDetails map[string]any `json:"custom_details"`
}

// shortenPagerDutyKey returns the key of an incident. A hash ends a long key: the keys of two holds may begin alike.
func shortenPagerDutyKey(key string) string {
	if utf8.RuneCountInString(key) <= maxDedupKeyChars {
		return key
	}
	hash := sha256.Sum256([]byte(key))
	end := hex.EncodeToString(hash[:16])
	return cutNotifierMessageText(key, maxDedupKeyChars-len(end)-1) + end
}

func newPagerDutyBody(routingKey string, m Message) pagerDutyBody {
	body := pagerDutyBody{RoutingKey: routingKey, EventAction: "resolve", DedupKey: shortenPagerDutyKey(m.holdIdentity())}
	if m.isEndOfTrouble() {
		return body
	}
	severity := m.Severity
	if severityRanks[severity] == 0 {
		severity = SeverityWarning
	}
	details := map[string]any{}
	for name, value := range map[string]string{"hold": m.Hold, "reason": m.Reason, "by": m.By, "why": m.Why} {
		if value != "" {
			details[name] = value
		}
	}
	if m.Report != nil {
		details["verification"] = m.Report.SummaryLine()
	}
	body.EventAction = "trigger"
	body.Payload = &pagerDutyPayload{
		Summary: cutNotifierMessageText(m.notifierMessageTitle(), maxSummaryChars), Source: "tachometer-scaler", Severity: string(severity),
		Timestamp: m.Time.UTC().Format(time.RFC3339), Component: m.Workload.Name, Group: m.Workload.Namespace, Class: string(m.Kind), CustomDetails: details,
	}
	return body
}
