// The self-metrics of the API group.

package explain

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/tachometer-metrics/tachometer/pkg/panics"
)

// newPageGuard returns a guard that counts panics over pages; r may be nil.
func newPageGuard(r prometheus.Registerer) *panics.Guard {
	return panics.NewGuard("read of a page", promauto.With(r).NewCounter(prometheus.CounterOpts{
		Name: "tachometer_apiserver_page_panics_total",
		Help: "Reads of a page for the explain API that ended in a panic: a bug in the adapter.",
	}))
}
