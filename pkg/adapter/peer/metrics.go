// Self-metrics of the reads of other replicas.

package peer

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/tachometer-metrics/tachometer/pkg/panics"
)

// newPanicGuard returns a guard that counts in a self-metric.
func newPanicGuard(r prometheus.Registerer) *panics.Guard {
	counter := promauto.With(r).NewCounter(prometheus.CounterOpts{
		Name: "tachometer_apiserver_peer_panics_total",
		Help: "Reads of another replica's records that ended in a panic: a bug in the adapter.",
	})
	return panics.NewGuard("read of another replica", counter)
}
