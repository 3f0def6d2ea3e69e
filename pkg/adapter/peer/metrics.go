// The self-metrics of reads of other replicas.

package peer

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/tachometer-metrics/tachometer/pkg/panics"
)

// newReadGuard returns a guard that counts panics over other replicas' answers; r may be nil.
func newReadGuard(r prometheus.Registerer) *panics.Guard {
	return panics.NewGuard("read of another replica", promauto.With(r).NewCounter(prometheus.CounterOpts{
		Name: "tachometer_apiserver_peer_panics_total",
		Help: "Reads of another replica's records that ended in a panic: a bug in the adapter.",
	}))
}
