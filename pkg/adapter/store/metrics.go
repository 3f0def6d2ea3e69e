package store

// The self-metrics.

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
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
	f := promauto.With(r)
	rejected := f.NewCounterVec(prometheus.CounterOpts{
		Name: "tachometer_store_rejected_total",
		Help: "Samples that the store rejected.",
	}, []string{"reason"})
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tachometer_store_series",
		Help: "Series in the store.",
	}, func() float64 { return float64(s.Stats().Series) })
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tachometer_store_bytes",
		Help: "Memory of all series.",
	}, func() float64 { return float64(s.byteCount.Load()) })
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tachometer_store_samples",
		Help: "Samples in the store.",
	}, func() float64 { return float64(s.Stats().Samples) })
	if r != nil {
		r.MustRegister(newNamespaceUsageGauges(s)...)
	}
	return metrics{
		tooMany:    rejected.WithLabelValues(reasonTooManySeries),
		outOfOrder: rejected.WithLabelValues(reasonOutOfOrder),
		droppedSeries: f.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_store_series_dropped_total",
			Help: "Series dropped after the retention without a new sample.",
		}),
		evictedSeries: f.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_store_series_evicted_total",
			Help: "Series that the largest namespace lost in a full store.",
		}),
	}
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
func newNamespaceUsageGauges(s *Store) []prometheus.Collector {
	newGauge := func(name, help string, value func(NamespaceUsage) int64) prometheus.Collector {
		return &namespaceUsageGauge{store: s, value: value, GaugeVec: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{"namespace"})}
	}
	return []prometheus.Collector{
		newGauge("tachometer_store_namespace_series", "Series of the ten largest namespaces.", func(u NamespaceUsage) int64 { return u.Series }),
		newGauge("tachometer_store_namespace_bytes", "Memory of the ten largest namespaces.", func(u NamespaceUsage) int64 { return u.Bytes }),
	}
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
