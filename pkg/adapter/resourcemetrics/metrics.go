// The self-metrics of the reads of kubelets, and of the resource metrics API.

package resourcemetrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// kubeletMetrics are the self-metrics of a KubeletSource.
type kubeletMetrics struct {
	reads    *prometheus.CounterVec
	duration prometheus.Histogram
	nodes    prometheus.Gauge
	failing  prometheus.Gauge
	panics   prometheus.Counter
}

func newKubeletMetrics(r prometheus.Registerer) *kubeletMetrics {
	f := promauto.With(r)
	m := &kubeletMetrics{
		reads: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tachometer_resource_node_reads_total",
			Help: "Reads of kubelets.",
		}, []string{"outcome"}),
		duration: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "tachometer_resource_node_read_duration_seconds",
			Help:    "Duration of a read of a kubelet.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
		nodes: f.NewGauge(prometheus.GaugeOpts{
			Name: "tachometer_resource_nodes",
			Help: "Nodes with a kubelet to read.",
		}),
		failing: f.NewGauge(prometheus.GaugeOpts{
			Name: "tachometer_resource_nodes_failing",
			Help: "Nodes with a failed last read.",
		}),
		panics: f.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_resource_node_read_panics_total",
			Help: "Panics in reads of kubelets, each a bug.",
		}),
	}
	for _, o := range listKubeletReadOutcomes() {
		m.reads.WithLabelValues(o)
	}
	return m
}

func (m *kubeletMetrics) observeKubeletRead(err error, took time.Duration) {
	outcome, _ := classifyKubeletError(err)
	m.reads.WithLabelValues(outcome).Inc()
	m.duration.Observe(took.Seconds())
}

// apiMetrics are the self-metrics of an API.
type apiMetrics struct {
	age       *prometheus.HistogramVec
	omissions *prometheus.CounterVec
}

func newUsageAPIMetrics(r prometheus.Registerer) *apiMetrics {
	f := promauto.With(r)
	return &apiMetrics{
		age: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "tachometer_resource_age_seconds",
			Help:    "Age of served resource usage.",
			Buckets: []float64{1, 2.5, 5, 10, 15, 20, 30, 45, 60, 120},
		}, []string{"resource"}),
		omissions: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tachometer_resource_omissions_total",
			Help: "Pods and nodes without usage in a response.",
		}, []string{"resource", "reason"}),
	}
}

func (m *apiMetrics) countUsageOmissions(resource string, omitted []metric.Omission) {
	for _, o := range omitted {
		m.omissions.WithLabelValues(resource, string(o.Reason)).Inc()
	}
}
