// Self-metrics of the explain API.

package explain

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/tachometer-metrics/tachometer/pkg/panics"
)

// newPanicGuard returns a guard that counts in a self-metric.
func newPanicGuard(r prometheus.Registerer) *panics.Guard {
	counter := promauto.With(r).NewCounter(prometheus.CounterOpts{
		Name: "tachometer_apiserver_page_panics_total",
		Help: "Reads of a page for the explain API that ended in a panic: a bug in the adapter.",
	})
	return panics.NewGuard("read of a page", counter)
}
