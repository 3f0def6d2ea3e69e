package controller

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/rollout"
)

// Metrics are the metrics of a controller.
type Metrics struct {
	heldWorkloads prometheus.Gauge
	failingGates  prometheus.Gauge
	paused        *prometheus.GaugeVec // by kind and name
}

// NewMetrics returns metrics, registered with reg unless reg is nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	return &Metrics{
		heldWorkloads: f.NewGauge(prometheus.GaugeOpts{
			Name: "tachometer_scaler_workloads_held", Help: "Workloads with a hold.",
		}),
		failingGates: f.NewGauge(prometheus.GaugeOpts{
			Name: "tachometer_scaler_gates_failing_to_shut", Help: "Holds that are over or failed, with gates that the scaler cannot shut yet.",
		}),
		paused: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tachometer_scaler_paused", Help: "1 for a schedule or rule that the configuration pauses, else 0.",
		}, []string{"kind", "name"}),
	}
}

// countFailingGates counts the holds with gates that cannot be shut yet.
func (m *Metrics) countFailingGates(all []hold.Object) {
	n := 0
	for i := range all {
		if rollout.FailsToShutGates(&all[i]) {
			n++
		}
	}
	m.failingGates.Set(float64(n))
}

// setWorkloadPaused sets whether the configuration pauses a schedule or rule.
func (m *Metrics) setWorkloadPaused(kind, name string, paused bool) {
	value := 0.0
	if paused {
		value = 1
	}
	m.paused.WithLabelValues(kind, name).Set(value)
}
