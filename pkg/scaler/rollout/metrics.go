package rollout

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// Metrics are those of rollouts.
type Metrics struct {
	transitions *prometheus.CounterVec
	stepSeconds *prometheus.HistogramVec
	conflicts   prometheus.Counter
}

// NewMetrics returns metrics that are registered with reg; nil: with none.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		transitions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tachometer_scaler_holds_entered_total", Help: "Holds that came to a state.",
		}, []string{"state"}),
		stepSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tachometer_scaler_hold_step_seconds", Help: "Time from when a hold was asked for until it came to a state.",
			Buckets: []float64{.05, .1, .2, .3, .5, 1, 2, 5, 10, 30, 60, 120, 300, 600},
		}, []string{"state"}),
		conflicts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_scaler_conflicts_total", Help: "Writes that others' writes had overtaken, and that were made again.",
		}),
	}
	if reg != nil {
		reg.MustRegister(m.transitions, m.stepSeconds, m.conflicts)
	}
	return m
}

func (m *Metrics) recordTransition(to hold.State, after time.Duration) {
	state := strings.ReplaceAll(string(to), " ", "_")
	m.transitions.WithLabelValues(state).Inc()
	if to != hold.Released {
		m.stepSeconds.WithLabelValues(state).Observe(after.Seconds())
	}
}
