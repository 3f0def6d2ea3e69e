// The self-metrics of the server, and the reasons of rejected requests.

package apiserver

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/tachometer-metrics/tachometer/pkg/panics"
)

// metrics are the self-metrics of the package.
type metrics struct {
	rejections      *prometheus.CounterVec
	evictions       prometheus.Counter
	handshakeErrors prometheus.Counter
	panics          *panics.Guard
	connections     atomic.Pointer[func() int] // nil before the server serves
}

// Reasons of rejected requests, as label values.
const (
	reasonURI         = "uri_too_long"
	reasonToken       = "token_too_long"
	reasonMethod      = "method_too_long"
	reasonHeader      = "header_too_long"
	reasonSelector    = "selector_too_large"
	reasonResponse    = "unread_responses"
	reasonAnonymous   = "no_credentials"
	reasonUnproven    = "too_many_unauthenticated"
	reasonProbes      = "too_many_probes"
	reasonProcessors  = "processors_busy"
	reasonAutoscaling = "autoscaling_lane_full"
	reasonReaders     = "readers_lane_full"
	reasonStrangers   = "strangers_lane_full"
)

func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	m := &metrics{
		rejections: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tachometer_apiserver_rejected_requests_total",
			Help: "Requests rejected for a limit, by reason. Reasons ending in lane_full, processors_busy or unread_responses: after authentication; all others before.",
		}, []string{"reason"}),
		evictions: f.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_apiserver_evicted_connections_total",
			Help: "Connections closed for new ones at the limit.",
		}),
		handshakeErrors: f.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_apiserver_handshake_errors_total",
			Help: "Connections that ended in their TLS handshake.",
		}),
		panics: panics.NewGuard("handshake of a connection", f.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_apiserver_handshake_panics_total",
			Help: "Connections that ended in a panic over their handshake: a bug in the adapter.",
		})),
	}
	for _, reason := range []string{
		reasonURI, reasonToken, reasonMethod, reasonHeader, reasonSelector, reasonResponse, reasonAnonymous, reasonUnproven, reasonProbes, reasonProcessors, reasonAutoscaling, reasonReaders, reasonStrangers,
	} {
		m.rejections.WithLabelValues(reason) // present from the start, so a rate sees the first increase
	}
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tachometer_apiserver_connections",
		Help: "Open connections of others than kube-apiserver's front proxy.",
	}, m.readConnectionCount)
	return m
}

// observeClientConnections makes count the source of the number of connections.
func (m *metrics) observeClientConnections(count func() int) { m.connections.Store(&count) }

func (m *metrics) readConnectionCount() float64 {
	if count := m.connections.Load(); count != nil {
		return float64((*count)())
	}
	return 0
}
