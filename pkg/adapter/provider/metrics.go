// The self-metrics of the package.

package provider

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/apistatus"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// The values of the label api.
const (
	customAPI   = "custom"
	externalAPI = "external"
)

// metrics are the self-metrics of the package.
type metrics struct {
	requests    *prometheus.CounterVec
	duration    *prometheus.HistogramVec
	age         prometheus.Histogram
	omissions   *prometheus.CounterVec
	substituted prometheus.Counter
	fallbacks   prometheus.Counter
	panics      prometheus.Counter
}

// newMetrics registers the self-metrics; active returns the number of metrics served with their fallback now.
func newMetrics(reg prometheus.Registerer, active func() float64) *metrics {
	f := promauto.With(reg)
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tachometer_provider_active_fallbacks",
		Help: "Metrics last answered with the rule's fallback, within ten minutes.",
	}, active)
	m := &metrics{
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tachometer_provider_requests_total",
			Help: "Requests by API (custom or external) and outcome (success, not_found, unavailable, invalid or internal).",
		}, []string{"api", "outcome"}),
		duration: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tachometer_provider_request_duration_seconds",
			Help: "Time to answer a request for a metric.",
			// From memory alone (well under a millisecond) to waiting for a backend.
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .5, 1, 5},
		}, []string{"api"}),
		age: f.NewHistogram(prometheus.HistogramOpts{
			Name: "tachometer_provider_value_age_seconds",
			Help: "Age of served values, by their newest sample.",
			// A scrape every 2 s makes 0 to 2 s; the rest of the range shows targets and backends that lag.
			Buckets: []float64{.25, .5, 1, 1.5, 2, 2.5, 3, 4, 5, 7.5, 10, 15, 30, 45, 60, 120, 300},
		}),
		omissions: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tachometer_provider_omissions_total",
			Help: "Objects without a value in a response.",
		}, []string{"reason"}),
		substituted: f.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_provider_substituted_total",
			Help: "Missing values replaced by the rule's onMissing.",
		}),
		fallbacks: f.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_provider_fallbacks_total",
			Help: "Requests answered with the rule's fallback.",
		}),
		panics: f.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_provider_panics_total",
			Help: "Panics in requests for metrics, each a bug.",
		}),
	}
	for _, api := range []string{customAPI, externalAPI} {
		for _, outcome := range []string{"success", "not_found", "unavailable", "invalid", "internal"} {
			m.requests.WithLabelValues(api, outcome) // present from the start, so a rate sees the first increase
		}
	}
	return m
}

// countFinishedRequest counts one finished request.
func (m *metrics) countFinishedRequest(api string, took time.Duration, err error) {
	m.requests.WithLabelValues(api, getMetricRequestOutcome(err)).Inc()
	m.duration.WithLabelValues(api).Observe(took.Seconds())
}

// countOmissionReasons counts omissions by reason.
func (m *metrics) countOmissionReasons(omissions []metric.Omission) {
	for _, o := range omissions {
		m.omissions.WithLabelValues(string(o.Reason)).Inc()
	}
}

func getMetricRequestOutcome(err error) string {
	if err == nil {
		return "success"
	}
	switch apistatus.KindOf(err) {
	case metric.KindNotFound:
		return "not_found"
	case metric.KindUnavailable:
		return "unavailable"
	case metric.KindInvalid:
		return "invalid"
	case metric.KindInternal:
		return "internal"
	default:
		panic("provider: an error kind has no outcome")
	}
}
