// The self-metrics of rollouts.

package rollout

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// Metrics are the metrics of rollouts.
type Metrics struct {
	transitions *prometheus.CounterVec
	stepSeconds *prometheus.HistogramVec
	conflicts   prometheus.Counter
}

// NewMetrics returns metrics, registered with reg unless reg is nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		transitions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tachometer_scaler_hold_transitions_total", Help: "Transitions of holds to a state, by state.",
		}, []string{"state"}),
		stepSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tachometer_scaler_hold_transition_seconds", Help: "Time from the start of a hold until its transition to a state, by state.",
			Buckets: []float64{.05, .1, .2, .3, .5, 1, 2, 5, 10, 30, 60, 120, 300, 600},
		}, []string{"state"}),
		conflicts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_scaler_conflicts_total", Help: "Writes that conflicted with another client's write, and were retried.",
		}),
	}
	if reg != nil {
		reg.MustRegister(m.transitions, m.stepSeconds, m.conflicts)
	}
	return m
}

// recordRolloutTransition counts a hold that entered a state, some time after its start. The time until Released is the length of the hold,
// and no step.
func (m *Metrics) recordRolloutTransition(to hold.State, after time.Duration) {
	state := string(to)
	m.transitions.WithLabelValues(state).Inc()
	if to != hold.Released {
		m.stepSeconds.WithLabelValues(state).Observe(after.Seconds())
	}
}
