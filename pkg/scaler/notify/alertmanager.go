// This file sends messages to Alertmanager.

package notify

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/webhook"
)

// alertmanagerKind is the kind alertmanager of the configuration.
var alertmanagerKind = senderKind{endsTrouble: true, newSender: func(c SenderConfig, opts SenderOptions) Sender { return NewAlertmanager(c.ReadURL, opts) }}

// alertsPath is the path of Alertmanager's API for alerts.
const alertsPath = "/api/v2/alerts"

// Alertmanager posts an alert for each hold in trouble, and resolves it when the trouble ends.
type Alertmanager struct {
	readURL func() (string, error)
	client  *http.Client
}

var _ Sender = (*Alertmanager)(nil)

// NewAlertmanager returns a sender to an Alertmanager. It calls url, which returns the URL with or without the path of the API, before each
// attempt.
func NewAlertmanager(url func() (string, error), opts SenderOptions) *Alertmanager {
	readURL := func() (string, error) {
		text, err := url()
		if err != nil || strings.HasSuffix(text, alertsPath) {
			return text, err
		}
		return strings.TrimSuffix(text, "/") + alertsPath, nil
	}
	return &Alertmanager{readURL: readURL, client: webhook.NewClient(opts.Client)}
}

// Send posts the alerts of the message's hold. Other news is no alert.
func (a *Alertmanager) Send(ctx context.Context, m Message) error {
	if m.isMessageNews() {
		return errNotMeant
	}
	return postMessageJSON(ctx, a.client, a.readURL, nil, newAlertmanagerAlerts(m))
}

// alertDuration is how long an alert stays unless a later message ends it: Alertmanager itself would resolve it after five minutes.
const alertDuration = 24 * time.Hour

// alertClockSkew is how far the clock of an Alertmanager may be behind. It ignores an end that is still to come: the alert would stay for alertDuration.
const alertClockSkew = time.Minute

// postedAlert is an alert of Alertmanager's API.
type postedAlert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations,omitempty"`
	StartsAt    time.Time         `json:"startsAt,omitzero"`
	EndsAt      time.Time         `json:"endsAt"`
}

// newAlertmanagerAlerts returns the alert of the message, or the end of all alerts of its hold.
func newAlertmanagerAlerts(m Message) []postedAlert {
	at := m.Time.UTC()
	if m.isEndOfTrouble() {
		var all []postedAlert
		for _, k := range troubleKinds {
			all = append(all, postedAlert{Labels: alertmanagerLabels(&m, k, k.Severity()), EndsAt: at.Add(-alertClockSkew)})
		}
		return all
	}
	annotations := map[string]string{"summary": m.notifierMessageTitle()}
	for name, value := range map[string]string{"reason": m.Reason, "by": m.By, "description": m.Why} {
		if value != "" {
			annotations[name] = value
		}
	}
	return []postedAlert{{Labels: alertmanagerLabels(&m, m.Kind, m.Severity), Annotations: annotations, StartsAt: at, EndsAt: at.Add(alertDuration)}}
}

// alertmanagerLabels returns the labels that identify an alert.
func alertmanagerLabels(m *Message, k Kind, severity Severity) map[string]string {
	labels := map[string]string{
		"alertname": "TachometerHold" + string(k), "namespace": m.Workload.Namespace, "kind": m.Workload.Kind, "workload": m.Workload.Name, "hold": m.Hold,
	}
	if severity != "" {
		labels["severity"] = string(severity)
	}
	return labels
}
