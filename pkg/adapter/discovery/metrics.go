// This file has the self-metrics.

package discovery

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/tachometer-metrics/tachometer/pkg/panics"
)

// metrics are the package's self-metrics.
type metrics struct {
	targets, demands, autoscalers, unresolved prometheus.Gauge
	rejectedMetrics, rejectedFamilies         prometheus.Gauge
	selectorLookups, watchErrors              *prometheus.CounterVec
	rejectedDemands, optedOut                 prometheus.Counter
	panics                                    *panics.Guard
}

// newMetrics returns the self-metrics and registers them with r unless it is nil.
func newMetrics(r prometheus.Registerer, pods *watchedPodTable) *metrics {
	f := promauto.With(r)
	registerPodTableMetrics(f, pods)
	return &metrics{
		targets: f.NewGauge(prometheus.GaugeOpts{
			Name: "tachometer_discovery_targets", Help: "Pods that are scraped.",
		}),
		demands: f.NewGauge(prometheus.GaugeOpts{
			Name: "tachometer_discovery_demands", Help: "Demands of autoscalers, and of readers in the last ten minutes.",
		}),
		autoscalers: f.NewGauge(prometheus.GaugeOpts{
			Name: "tachometer_discovery_hpas", Help: "HorizontalPodAutoscalers in the cluster.",
		}),
		unresolved: f.NewGauge(prometheus.GaugeOpts{
			Name: "tachometer_discovery_unresolved_namespaces",
			Help: "Namespaces with an HPA on unknown pods.",
		}),
		selectorLookups: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tachometer_discovery_resolve_total",
			Help: "Reads of an object's pod selector: success, not_found, no_selector, forbidden or error.",
		}, []string{"outcome"}),
		watchErrors: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tachometer_discovery_watch_errors_total", Help: "Failed lists and watches.",
		}, []string{"resource"}),
		rejectedDemands: f.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_discovery_demands_rejected_total",
			Help: "Demands of readers dropped at a limit.",
		}),
		rejectedMetrics: f.NewGauge(prometheus.GaugeOpts{
			Name: "tachometer_discovery_rejected_hpa_metrics",
			Help: "Metrics of HPAs beyond 50 for each, or a limit in bytes.",
		}),
		rejectedFamilies: f.NewGauge(prometheus.GaugeOpts{
			Name: "tachometer_discovery_rejected_families",
			Help: "Demanded families beyond 1000 for a group of pods.",
		}),
		optedOut: f.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_discovery_opted_out_pods_total",
			Help: "Pods without annotation that left external metrics with their last HPA.",
		}),
		panics: panics.NewGuard("read of an object", f.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_discovery_panics_total",
			Help: "Panics over a pod, an HPA or a demand, which is left out, or over the targets, which stay: a bug in the adapter.",
		})),
	}
}

// registerPodTableMetrics registers the self-metrics that are read from the table.
func registerPodTableMetrics(f promauto.Factory, pods *watchedPodTable) {
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tachometer_discovery_pods", Help: "Pods in the cluster, live or not.",
	}, func() float64 { count, _ := pods.countStoredPods(); return float64(count) })
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tachometer_discovery_departed_pods", Help: "Deleted pods with counts still within a window.",
	}, func() float64 { kept, _ := pods.countDepartures(); return float64(kept) })
	f.NewCounterFunc(prometheus.CounterOpts{
		Name: "tachometer_discovery_departed_pods_dropped_total",
		Help: "Deleted pods forgotten early, at the limit of 10000.",
	}, func() float64 { _, dropped := pods.countDepartures(); return float64(dropped) })
}
