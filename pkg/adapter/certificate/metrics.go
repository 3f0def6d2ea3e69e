package certificate

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics are the self-metrics of the package.
type metrics struct {
	checks   *prometheus.CounterVec
	renewals prometheus.Counter
	writes   prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	m := &metrics{
		checks: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tachometer_certificate_checks_total",
			Help: "Checks of the Secret and the APIServices (success or error).",
		}, []string{"outcome"}),
		renewals: f.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_certificate_renewals_total",
			Help: "Certificates made and stored by this replica.",
		}),
		writes: f.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_certificate_ca_bundle_writes_total",
			Help: "Writes of an APIService's caBundle by this replica.",
		}),
	}
	for _, outcome := range []string{"success", "error"} {
		m.checks.WithLabelValues(outcome) // present from the start, so a rate sees the first increase
	}
	return m
}

func (m *metrics) countCertificateCheck(err error) {
	if err != nil {
		m.checks.WithLabelValues("error").Inc()
		return
	}
	m.checks.WithLabelValues("success").Inc()
}

// registerExpiryGauge registers the gauge of the certificate's end of validity; r may be nil.
func registerExpiryGauge(r prometheus.Registerer, timestamp func() float64) {
	promauto.With(r).NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tachometer_certificate_expiry_timestamp_seconds",
		Help: "Expiry of the serving certificate; 0 without one.",
	}, timestamp)
}
