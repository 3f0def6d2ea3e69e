package httpevent

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics are the self-metrics of a Receiver.
type metrics struct {
	requests *prometheus.CounterVec // by code
}

func newMetrics(r prometheus.Registerer) *metrics {
	return &metrics{
		requests: promauto.With(r).NewCounterVec(prometheus.CounterOpts{
			Name: "tachometer_scaler_http_requests_total",
			Help: "Requests to the endpoint for events, by the status of the response.",
		}, []string{"code"}),
	}
}
