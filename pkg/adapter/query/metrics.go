// The self-metrics of an Engine.

package query

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// The values of the label outcome of tachometer_query_evaluations_total.
const (
	outcomeSuccess = "success"
	outcomeNoValue = "no_value"
	outcomeTimeout = "timeout"
	outcomeError   = "error"
)

// metrics are the engine's self-metrics.
type metrics struct {
	evaluations map[string]prometheus.Counter
	duration    prometheus.Histogram
	window      prometheus.Histogram
	panics      prometheus.Counter
}

// newMetrics makes the self-metrics and registers them with r, unless r is nil.
func newMetrics(r prometheus.Registerer) metrics {
	f := promauto.With(r)
	evaluations := f.NewCounterVec(prometheus.CounterOpts{
		Name: "tachometer_query_evaluations_total",
		Help: "Evaluations of rules on the embedded backend.",
	}, []string{"outcome"})
	m := metrics{
		evaluations: map[string]prometheus.Counter{},
		duration: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "tachometer_query_duration_seconds",
			Help:    "Duration of an evaluation, with the wait for a slot.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 8), // 0.1 ms to 1.6 s
		}),
		window: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "tachometer_query_window_seconds",
			Help:    "Longest window of an evaluation.",
			Buckets: []float64{2, 4, 6, 10, 15, 20, 30, 45, 60, 120, 300},
		}),
	}
	m.panics = f.NewCounter(prometheus.CounterOpts{
		Name: "tachometer_query_panics_total",
		Help: "Panics in evaluations, each a bug.",
	})
	for _, outcome := range []string{outcomeSuccess, outcomeNoValue, outcomeTimeout, outcomeError} {
		m.evaluations[outcome] = evaluations.WithLabelValues(outcome)
	}
	return m
}

// observePromQLQuery counts an evaluation.
func (m *metrics) observePromQLQuery(took time.Duration, values []metric.Value, err error) {
	m.evaluations[evaluatedQueryOutcome(values, err)].Inc()
	m.duration.Observe(took.Seconds())
	var longest time.Duration
	for _, v := range values {
		longest = max(longest, v.Window)
	}
	if longest > 0 {
		m.window.Observe(longest.Seconds())
	}
}

func evaluatedQueryOutcome(values []metric.Value, err error) string {
	switch {
	case err != nil && metric.KindOf(err) == metric.KindUnavailable:
		return outcomeTimeout
	case err != nil:
		return outcomeError
	case len(values) == 0:
		return outcomeNoValue
	}
	return outcomeSuccess
}
