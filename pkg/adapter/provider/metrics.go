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
}

// newMetrics registers them; inForce counts the fallbacks that are served now.
func newMetrics(reg prometheus.Registerer, inForce func() float64) *metrics {
	f := promauto.With(reg)
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tachometer_provider_fallbacks_in_force",
		Help: "External metrics that were answered with the rule's fallback when they were read last, within ten minutes.",
	}, inForce)
	return &metrics{
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tachometer_provider_requests_total",
			Help: "Reads of a metric by API (custom or external) and outcome (ok, not_found, unavailable, invalid or internal).",
		}, []string{"api", "outcome"}),
		duration: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tachometer_provider_request_duration_seconds",
			Help: "Time to answer a read of a metric, without the API server's own work, by API.",
			// From a read of memory (well under a millisecond) to one that waits for a backend.
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .5, 1, 5},
		}, []string{"api"}),
		age: f.NewHistogram(prometheus.HistogramOpts{
			Name: "tachometer_provider_value_age_seconds",
			Help: "Age of served values: now minus the time of the newest sample behind the value.",
			// A scrape every 2 s makes 0 to 2 s; the rest of the range shows targets and backends that lag.
			Buckets: []float64{.25, .5, 1, 1.5, 2, 2.5, 3, 4, 5, 7.5, 10, 15, 30, 60, 120, 300},
		}),
		omissions: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tachometer_provider_omissions_total",
			Help: "Objects left out of an answer, or that made it an error, by reason.",
		}, []string{"reason"}),
		substituted: f.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_provider_substituted_total",
			Help: "Values served in place of missing ones because the rule's onMissing says so.",
		}),
		fallbacks: f.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_provider_fallbacks_total",
			Help: "Reads of external metrics that were answered with the rule's fallback.",
		}),
	}
}

// countRead counts one finished read.
func (i *metrics) countRead(api string, took time.Duration, err error) {
	i.requests.WithLabelValues(api, readOutcome(err)).Inc()
	i.duration.WithLabelValues(api).Observe(took.Seconds())
}

// countOmissions counts what was left out, by reason.
func (i *metrics) countOmissions(omissions []metric.Omission) {
	for _, o := range omissions {
		i.omissions.WithLabelValues(string(o.Reason)).Inc()
	}
}

func readOutcome(err error) string {
	if err == nil {
		return "ok"
	}
	switch apistatus.KindOf(err) {
	case metric.KindNotFound:
		return "not_found"
	case metric.KindUnavailable:
		return "unavailable"
	case metric.KindInvalid:
		return "invalid"
	default:
		return "internal"
	}
}
