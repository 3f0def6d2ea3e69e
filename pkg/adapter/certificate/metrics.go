package certificate

import "github.com/prometheus/client_golang/prometheus"

// metrics are the self-metrics of the package.
type metrics struct {
	checks   *prometheus.CounterVec
	renewals prometheus.Counter
	writes   prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		checks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tachometer_certificate_checks_total",
			Help: "Checks of the Secret and the APIServices (success or error).",
		}, []string{"outcome"}),
		renewals: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_certificate_renewals_total",
			Help: "Serving certificates that this replica made and stored.",
		}),
		writes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_certificate_ca_bundle_writes_total",
			Help: "Writes of the caBundle of an APIService by this replica.",
		}),
	}
	for _, outcome := range []string{"success", "error"} {
		m.checks.WithLabelValues(outcome) // present from the start, so a rate sees the first increase
	}
	if r != nil {
		r.MustRegister(m.checks, m.renewals, m.writes)
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

// registerCertificateExpiry registers the gauge of the certificate's end of validity; r may be nil.
func registerCertificateExpiry(r prometheus.Registerer, timestamp func() float64) {
	gauge := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tachometer_certificate_expiry_timestamp_seconds",
		Help: "When the serving certificate expires; 0 while there is none.",
	}, timestamp)
	if r != nil {
		r.MustRegister(gauge)
	}
}
