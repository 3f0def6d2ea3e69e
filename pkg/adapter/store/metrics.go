package store

import "github.com/prometheus/client_golang/prometheus"

// The values of the label reason of tachometer_store_refused_total.
const (
	reasonTooManySeries = "too_many_series"
	reasonOutOfOrder    = "out_of_order"
)

// metrics are the store's self-metrics.
type metrics struct {
	tooMany, outOfOrder, droppedSeries prometheus.Counter
}

// newMetrics builds the self-metrics of s and registers them with r, unless that is nil.
func newMetrics(s *Store, r prometheus.Registerer) metrics {
	refused := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tachometer_store_refused_total",
		Help: "Samples that the store did not take, by reason.",
	}, []string{"reason"})
	m := metrics{
		tooMany:    refused.WithLabelValues(reasonTooManySeries),
		outOfOrder: refused.WithLabelValues(reasonOutOfOrder),
		droppedSeries: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_store_series_dropped_total",
			Help: "Series that left the store because nothing was appended to them for the retention.",
		}),
	}
	if r == nil {
		return m
	}
	r.MustRegister(refused, m.droppedSeries,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "tachometer_store_series",
			Help: "Series that the store holds.",
		}, func() float64 { return float64(s.Stats().Series) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "tachometer_store_samples",
			Help: "Samples that the store holds.",
		}, func() float64 { return float64(s.Stats().Samples) }),
	)
	return m
}
