// This file has the self-metrics.

package discovery

import "github.com/prometheus/client_golang/prometheus"

// metrics are the package's self-metrics.
type metrics struct {
	targets, demands, autoscalers, unresolved prometheus.Gauge
	selectorLookups, watchErrors              *prometheus.CounterVec
	rejectedDemands                           prometheus.Counter
}

// newMetrics returns the self-metrics and registers them with r unless it is nil. pods returns the current number of pods.
func newMetrics(r prometheus.Registerer, pods func() int) *metrics {
	m := &metrics{
		targets: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tachometer_discovery_targets", Help: "Pods that are scraped.",
		}),
		demands: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tachometer_discovery_demands", Help: "Distinct demands of autoscalers, and of readers in the last ten minutes.",
		}),
		autoscalers: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tachometer_discovery_hpas", Help: "HorizontalPodAutoscalers in the cluster, including autoscalers without custom or external metrics.",
		}),
		unresolved: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tachometer_discovery_unresolved_namespaces",
			Help: "Namespaces with a HorizontalPodAutoscaler whose pods are unknown.",
		}),
		selectorLookups: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tachometer_discovery_resolve_total",
			Help: "Requests for the pod selector of an object, by outcome: success, not_found, no_selector, forbidden or error.",
		}, []string{"outcome"}),
		watchErrors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tachometer_discovery_watch_errors_total", Help: "Failed lists and watches, by resource.",
		}, []string{"resource"}),
		rejectedDemands: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_discovery_demands_rejected_total",
			Help: "Demands of readers dropped because the limit of 10000 is reached.",
		}),
	}
	if r != nil {
		known := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "tachometer_discovery_pods", Help: "Pods in the cluster, live or not.",
		}, func() float64 { return float64(pods()) })
		r.MustRegister(known, m.targets, m.demands, m.autoscalers, m.unresolved, m.selectorLookups, m.watchErrors, m.rejectedDemands)
	}
	return m
}
