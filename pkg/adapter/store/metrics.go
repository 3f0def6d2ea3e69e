package store

// The self-metrics.

import "github.com/prometheus/client_golang/prometheus"

// Values of the label reason of tachometer_store_rejected_total.
const (
	reasonTooManySeries = "too_many_series"
	reasonOutOfOrder    = "out_of_order"
)

// metrics are the store's self-metrics.
type metrics struct {
	tooMany, outOfOrder, droppedSeries prometheus.Counter
}

// newMetrics returns the self-metrics of s. It registers them with r unless r is nil.
func newMetrics(s *Store, r prometheus.Registerer) metrics {
	rejected := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tachometer_store_rejected_total",
		Help: "Samples that the store rejected, by reason.",
	}, []string{"reason"})
	m := metrics{
		tooMany:    rejected.WithLabelValues(reasonTooManySeries),
		outOfOrder: rejected.WithLabelValues(reasonOutOfOrder),
		droppedSeries: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_store_series_dropped_total",
			Help: "Series dropped from the store after the retention without a new sample.",
		}),
	}
	if r == nil {
		return m
	}
	r.MustRegister(rejected, m.droppedSeries,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "tachometer_store_series",
			Help: "Series in the store.",
		}, func() float64 { return float64(s.Stats().Series) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "tachometer_store_samples",
			Help: "Samples in the store.",
		}, func() float64 { return float64(s.Stats().Samples) }),
	)
	return m
}
