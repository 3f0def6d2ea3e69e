package resourcemetrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// kubeletMetrics are the self-metrics of Kubelets.
type kubeletMetrics struct {
	reads    *prometheus.CounterVec
	duration prometheus.Histogram
	nodes    prometheus.Gauge
	failing  prometheus.Gauge
}

func newKubeletMetrics(r prometheus.Registerer) *kubeletMetrics {
	f := promauto.With(r)
	i := &kubeletMetrics{
		reads: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tachometer_resource_node_reads_total",
			Help: "Reads of kubelets' resource metrics that ended, by outcome.",
		}, []string{"outcome"}),
		duration: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "tachometer_resource_node_read_duration_seconds",
			Help:    "Time from the start of a read of a kubelet until its page was parsed, or it failed.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
		nodes: f.NewGauge(prometheus.GaugeOpts{
			Name: "tachometer_resource_nodes",
			Help: "Nodes whose kubelets are read.",
		}),
		failing: f.NewGauge(prometheus.GaugeOpts{
			Name: "tachometer_resource_nodes_failing",
			Help: "Nodes whose kubelet could not be read at the last attempt.",
		}),
	}
	for _, o := range kubeletReadOutcomes() {
		i.reads.WithLabelValues(o)
	}
	return i
}

func (i *kubeletMetrics) observeKubeletRead(err error, took time.Duration) {
	outcome, _ := classifyKubeletError(err)
	i.reads.WithLabelValues(outcome).Inc()
	i.duration.Observe(took.Seconds())
}

// apiMetrics are the self-metrics of an API.
type apiMetrics struct {
	age     *prometheus.HistogramVec
	omitted *prometheus.CounterVec
}

func newAPIMetrics(r prometheus.Registerer) *apiMetrics {
	f := promauto.With(r)
	return &apiMetrics{
		age: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "tachometer_resource_age_seconds",
			Help:    "Age of the resource usage served: the time of the read minus that of the newest sample behind it.",
			Buckets: []float64{1, 2.5, 5, 10, 15, 20, 30, 45, 60, 120},
		}, []string{"resource"}),
		omitted: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tachometer_resource_omitted_total",
			Help: "Pods and nodes that were left out of an answer about resource usage, by reason.",
		}, []string{"resource", "reason"}),
	}
}

func (i *apiMetrics) countOmissions(resource string, omitted []metric.Omission) {
	for _, o := range omitted {
		i.omitted.WithLabelValues(resource, string(o.Reason)).Inc()
	}
}
