package store

// The self-metrics.

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Values of the label reason of tachometer_store_rejected_total.
const (
	reasonTooManySeries = "too_many_series"
	reasonOutOfOrder    = "out_of_order"
)

// metrics are the store's self-metrics.
type metrics struct {
	tooMany, outOfOrder, droppedSeries, evictedSeries prometheus.Counter
}

// newMetrics returns the self-metrics of s. It registers them with r unless r is nil.
func newMetrics(s *Store, r prometheus.Registerer) metrics {
	rejected := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tachometer_store_rejected_total",
		Help: "Samples that the store rejected.",
	}, []string{"reason"})
	m := metrics{
		tooMany:    rejected.WithLabelValues(reasonTooManySeries),
		outOfOrder: rejected.WithLabelValues(reasonOutOfOrder),
		droppedSeries: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_store_series_dropped_total",
			Help: "Series dropped after the retention without a new sample.",
		}),
		evictedSeries: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_store_series_evicted_total",
			Help: "Series that the largest namespace lost in a full store.",
		}),
	}
	if r == nil {
		return m
	}
	series, bytes := newNamespaceUsageGauges(s)
	r.MustRegister(rejected, m.droppedSeries, m.evictedSeries, series, bytes,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "tachometer_store_series",
			Help: "Series in the store.",
		}, func() float64 { return float64(s.Stats().Series) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "tachometer_store_bytes",
			Help: "Memory of all series.",
		}, func() float64 { return float64(s.byteCount.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "tachometer_store_samples",
			Help: "Samples in the store.",
		}, func() float64 { return float64(s.Stats().Samples) }),
	)
	return m
}

// shownNamespaces bounds the namespaces in the self-metrics.
const shownNamespaces = 10

// namespaceUsageGauge shows the largest usages of namespaces, as of each reading.
type namespaceUsageGauge struct {
	*prometheus.GaugeVec
	store *Store
	value func(NamespaceUsage) int64
	mu    sync.Mutex // held while the values are set and read
}

// newNamespaceUsageGauges returns the gauges of series and of bytes.
func newNamespaceUsageGauges(s *Store) (series, bytes *namespaceUsageGauge) {
	label := []string{"namespace"}
	series = &namespaceUsageGauge{store: s, value: func(u NamespaceUsage) int64 { return u.Series }, GaugeVec: prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "tachometer_store_namespace_series",
		Help: "Series of the ten largest namespaces.",
	}, label)}
	bytes = &namespaceUsageGauge{store: s, value: func(u NamespaceUsage) int64 { return u.Bytes }, GaugeVec: prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "tachometer_store_namespace_bytes",
		Help: "Memory of the ten largest namespaces.",
	}, label)}
	return series, bytes
}

// Collect sends the values.
func (g *namespaceUsageGauge) Collect(values chan<- prometheus.Metric) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.Reset()
	for _, u := range g.store.TopNamespaces(shownNamespaces) {
		g.WithLabelValues(u.Namespace).Set(float64(g.value(u)))
	}
	g.GaugeVec.Collect(values)
}
