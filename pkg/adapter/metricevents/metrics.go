package metricevents

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics are the self-metrics of the package.
type metrics struct {
	events *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{events: promauto.With(reg).NewCounterVec(prometheus.CounterOpts{
		Name: "tachometer_hpa_events_total",
		Help: "Events written on HPAs (success or error).",
	}, []string{"outcome"})}
	m.events.WithLabelValues("success")
	m.events.WithLabelValues("error")
	return m
}

func (m *metrics) countEventOutcome(outcome string) { m.events.WithLabelValues(outcome).Inc() }
