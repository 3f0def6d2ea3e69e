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
	tooMany, outOfOrder, droppedSeries, evictedSeries prometheus.Counter
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
		evictedSeries: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_store_series_evicted_total",
			Help: "Series that the namespace with the most lost in a full store, to namespaces with less.",
		}),
	}
	if r == nil {
		return m
	}
	r.MustRegister(rejected, m.droppedSeries, m.evictedSeries, newNamespaceUsageCollector(s),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "tachometer_store_series",
			Help: "Series in the store.",
		}, func() float64 { return float64(s.Stats().Series) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "tachometer_store_bytes",
			Help: "Memory that the series take from the budget, in the store and in the parsers.",
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

// namespaceUsageCollector shows what the namespaces with the most hold.
type namespaceUsageCollector struct {
	store         *Store
	series, bytes *prometheus.Desc
}

func newNamespaceUsageCollector(s *Store) *namespaceUsageCollector {
	return &namespaceUsageCollector{
		store: s,
		series: prometheus.NewDesc("tachometer_store_namespace_series",
			"Series in the store by namespace, of the ten namespaces with the most memory.", []string{"namespace"}, nil),
		bytes: prometheus.NewDesc("tachometer_store_namespace_bytes",
			"Memory that the series of a namespace take from the budget, of the ten namespaces with the most.", []string{"namespace"}, nil),
	}
}

// Describe sends the descriptions.
func (c *namespaceUsageCollector) Describe(descs chan<- *prometheus.Desc) {
	descs <- c.series
	descs <- c.bytes
}

// Collect sends the values.
func (c *namespaceUsageCollector) Collect(values chan<- prometheus.Metric) {
	for _, u := range c.store.TopNamespaces(shownNamespaces) {
		values <- prometheus.MustNewConstMetric(c.series, prometheus.GaugeValue, float64(u.Series), u.Namespace)
		values <- prometheus.MustNewConstMetric(c.bytes, prometheus.GaugeValue, float64(u.Bytes), u.Namespace)
	}
}
