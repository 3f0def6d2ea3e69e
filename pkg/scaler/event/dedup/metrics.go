package dedup

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics are the self-metrics of a DeliveryStore.
type metrics struct {
	ids                         prometheus.Gauge
	forgotten, writes, failures prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	return &metrics{
		ids: f.NewGauge(prometheus.GaugeOpts{
			Name: "tachometer_scaler_event_ids",
			Help: "Remembered ids of events, as of the last read or write.",
		}),
		forgotten: f.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_scaler_event_ids_forgotten_total",
			Help: "Ids of events forgotten before their expiry, because there were too many.",
		}),
		writes: f.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_scaler_event_ids_writes_total",
			Help: "Writes of the ConfigMap with the ids of events.",
		}),
		failures: f.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_scaler_event_ids_failures_total",
			Help: "Failed reads and writes of the ConfigMap with the ids of events.",
		}),
	}
}
