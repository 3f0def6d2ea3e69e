// This file has the self-metrics of a Handler.

package event

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/tachometer-metrics/tachometer/pkg/panics"
)

// metrics are the self-metrics of a Handler.
type metrics struct {
	events  *prometheus.CounterVec
	retries prometheus.Counter
	waiting prometheus.Gauge
	delay   prometheus.Histogram
	panics  *panics.Guard
}

func newMetrics(r prometheus.Registerer, sources []string) *metrics {
	f := promauto.With(r)
	m := &metrics{
		events: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tachometer_scaler_events_total",
			Help: "Events read, by source and outcome.",
		}, []string{"source", "outcome"}),
		retries: f.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_scaler_event_retries_total",
			Help: "Failed deliveries of an event to a workload that were retried.",
		}),
		waiting: f.NewGauge(prometheus.GaugeOpts{
			Name: "tachometer_scaler_events_waiting",
			Help: "Holds requested by events and not delivered yet, counted once for each workload.",
		}),
		delay: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "tachometer_scaler_event_delivery_seconds",
			Help:    "Time from reading an event until its hold is on every workload.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}),
		panics: panics.NewGuard("delivery of an event", f.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_scaler_event_panics_total",
			Help: "Attempts to deliver an event to a workload that panicked, and were retried: each a bug in this program.",
		})),
	}
	for _, s := range sources {
		for _, o := range allOutcomes {
			m.events.WithLabelValues(s, string(o))
		}
	}
	return m
}
