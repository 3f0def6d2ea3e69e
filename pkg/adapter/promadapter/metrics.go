package promadapter

import "github.com/prometheus/client_golang/prometheus"

// Metrics are the self-metrics of a Catalog. One after the other may use the same.
type Metrics struct {
	ruleFailing  *prometheus.GaugeVec
	knownMetrics prometheus.Gauge
	listings     *prometheus.CounterVec
}

// NewMetrics registers the self-metrics with reg; nil means that they are not registered.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		ruleFailing: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tachometer_promadapter_rule_failing",
			Help: "Whether a rule of prometheus-adapter's configuration cannot be served as it should be (1) or can be (0).",
		}, []string{"rule"}),
		knownMetrics: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tachometer_promadapter_known_metrics",
			Help: "The number of metrics that the rules of prometheus-adapter's configuration serve.",
		}),
		listings: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tachometer_promadapter_listings_total",
			Help: "The number of times that the series of a rule were listed, by outcome (ok or failed).",
		}, []string{"outcome"}),
	}
	if reg != nil {
		reg.MustRegister(m.ruleFailing, m.knownMetrics, m.listings)
	}
	return m
}

func (m *Metrics) countListing(err error) {
	outcome := "ok"
	if err != nil {
		outcome = "failed"
	}
	m.listings.WithLabelValues(outcome).Inc()
}

func (m *Metrics) setRuleFailing(path string, err error) {
	v := 0.0
	if err != nil {
		v = 1
	}
	m.ruleFailing.WithLabelValues(path).Set(v)
}

func (m *Metrics) setKnownMetrics(n int) { m.knownMetrics.Set(float64(n)) }
