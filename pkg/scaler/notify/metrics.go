// This file has the self-metrics of a Queue, and the outcomes of notifications.

package notify

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
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
}

func newMetrics(r prometheus.Registerer) *metrics {
	return &metrics{
		notifications: promauto.With(r).NewCounterVec(prometheus.CounterOpts{
			Name: "tachometer_scaler_notifications_total",
			Help: "Notifications by outcome: success, error, skipped because the notifier is not for it, or dropped because the queue was full; retried counts failed attempts that another attempt followed.",
		}, []string{"sender", "outcome"}),
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
