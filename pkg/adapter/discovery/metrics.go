package discovery

import "github.com/prometheus/client_golang/prometheus"

// metrics are the package's self-metrics.
type metrics struct {
	targets, demands, autoscalers, unresolved prometheus.Gauge
	selectorLookups, watchErrors              *prometheus.CounterVec
	rejectedDemands                           prometheus.Counter
}

// newMetrics registers with r unless it is nil. pods counts the pods known now.
func newMetrics(r prometheus.Registerer, pods func() int) *metrics {
	m := &metrics{
		targets: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tachometer_discovery_targets", Help: "Pods that are scraped.",
		}),
		demands: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tachometer_discovery_demands", Help: "Distinct demands of autoscalers, and of readers in the last ten minutes.",
		}),
		autoscalers: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tachometer_discovery_hpas", Help: "HorizontalPodAutoscalers known, whatever their metrics.",
		}),
		unresolved: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tachometer_discovery_unresolved_namespaces",
			Help: "Namespaces with a HorizontalPodAutoscaler whose pods could not be found out.",
		}),
		selectorLookups: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tachometer_discovery_resolve_total",
			Help: "Requests for the pod selector of an object, by outcome: ok, not_found, no_selector, forbidden or error.",
		}, []string{"outcome"}),
		watchErrors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tachometer_discovery_watch_errors_total", Help: "Lists and watches that failed, by resource.",
		}, []string{"resource"}),
		rejectedDemands: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_discovery_demands_refused_total",
			Help: "Demands of readers that were not remembered because there are too many.",
		}),
	}
	if r != nil {
		known := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "tachometer_discovery_pods", Help: "Pods known, live or not.",
		}, func() float64 { return float64(pods()) })
		r.MustRegister(known, m.targets, m.demands, m.autoscalers, m.unresolved, m.selectorLookups, m.watchErrors, m.rejectedDemands)
	}
	return m
}
