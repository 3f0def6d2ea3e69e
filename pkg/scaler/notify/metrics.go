// This file has the self-metrics of a Queue, and the outcomes of notifications.

package notify

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/tachometer-metrics/tachometer/pkg/panics"
)

// The outcomes of a message, and of an attempt that was retried.
const (
	outcomeSuccess = "success"
	outcomeRetried = "retried"
	outcomeError   = "error"
	outcomeDropped = "dropped"
	outcomeSkipped = "skipped"
)

// metrics are the self-metrics of a MessageQueue.
type metrics struct {
	notifications *prometheus.CounterVec // by sender and outcome
	panics        *panics.Guard
}

func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	return &metrics{
		notifications: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tachometer_scaler_notifications_total",
			Help: "Notifications by outcome: success, error, skipped because the notifier is not for it, or dropped because the queue was full; retried counts failed attempts that another attempt followed.",
		}, []string{"sender", "outcome"}),
		panics: panics.NewGuard("sending of a message", f.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_scaler_notification_panics_total",
			Help: "Attempts to send a notification that panicked, and were retried: each a bug in this program.",
		})),
	}
}

func (m *metrics) initSenderCounters(sender string) {
	for _, outcome := range []string{outcomeSuccess, outcomeRetried, outcomeError, outcomeDropped, outcomeSkipped} {
		m.notifications.WithLabelValues(sender, outcome)
	}
}

func (m *metrics) countSendOutcome(sender, outcome string) {
	m.notifications.WithLabelValues(sender, outcome).Inc()
}
