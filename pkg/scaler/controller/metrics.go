package controller

import "github.com/prometheus/client_golang/prometheus"

// Metrics are the metrics of a controller.
type Metrics struct{ heldWorkloads prometheus.Gauge }

// NewMetrics returns metrics, registered with reg unless reg is nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{heldWorkloads: prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "tachometer_scaler_workloads_held", Help: "Workloads with a hold.",
	})}
	if reg != nil {
		reg.MustRegister(m.heldWorkloads)
	}
	return m
}
