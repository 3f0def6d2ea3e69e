// The self-metrics of a Catalog: its rules, their listings, and the metrics that they serve.

package promadapter

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/tachometer-metrics/tachometer/pkg/panics"
)

// Metrics are the self-metrics of a Catalog. Catalogs that follow each other may share them.
type Metrics struct {
	ruleFailing  *prometheus.GaugeVec
	knownMetrics prometheus.Gauge
	listings     *prometheus.CounterVec
	rejected     prometheus.Gauge
	panics       *panics.Guard
}

// NewMetrics returns the self-metrics, registered with reg unless reg is nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	return &Metrics{
		ruleFailing: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tachometer_promadapter_rule_failing",
			Help: "Whether a rule of prometheus-adapter fails (1) or works (0).",
		}, []string{"rule"}),
		knownMetrics: f.NewGauge(prometheus.GaugeOpts{
			Name: "tachometer_promadapter_known_metrics",
			Help: "Metrics that prometheus-adapter's rules serve.",
		}),
		listings: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tachometer_promadapter_listings_total",
			Help: "Listings of a rule's series (success or error).",
		}, []string{"outcome"}),
		rejected: f.NewGauge(prometheus.GaugeOpts{
			Name: "tachometer_promadapter_rejected_names",
			Help: "Series names left out because they are no metric names.",
		}),
		panics: panics.NewGuard("listing of a rule's series", f.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_promadapter_panics_total",
			Help: "Listings of a rule's series that panicked: each a bug in the adapter.",
		})),
	}
}

func (m *Metrics) countSeriesListing(err error) {
	outcome := "success"
	if err != nil {
		outcome = "error"
	}
	m.listings.WithLabelValues(outcome).Inc()
}

func (m *Metrics) setSeriesRuleFailing(path string, err error) {
	v := 0.0
	if err != nil {
		v = 1
	}
	m.ruleFailing.WithLabelValues(path).Set(v)
}

func (m *Metrics) setRejectedSeriesNames(n int) { m.rejected.Set(float64(n)) }

func (m *Metrics) setKnownMetrics(n int) { m.knownMetrics.Set(float64(n)) }
