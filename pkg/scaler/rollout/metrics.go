// The self-metrics of rollouts.

package rollout

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/tachometer-metrics/tachometer/pkg/panics"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// Metrics are the metrics of rollouts.
type Metrics struct {
	transitions *prometheus.CounterVec
	stepSeconds *prometheus.HistogramVec
	conflicts   prometheus.Counter
	yields      prometheus.Counter
	leftOpen    prometheus.Counter
	watchReads  *prometheus.CounterVec

	// Panics ends a panic in the work on a workload, so that other workloads go on.
	Panics *panics.Guard
}

// NewMetrics returns metrics, registered with reg unless reg is nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	m := &Metrics{
		transitions: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tachometer_scaler_hold_transitions_total", Help: "Transitions of holds to a state, by state.",
		}, []string{"state"}),
		stepSeconds: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tachometer_scaler_hold_transition_seconds", Help: "Time from the start of a hold until its transition to a state, by state.",
			Buckets: []float64{.05, .1, .2, .3, .5, 1, 2, 5, 10, 30, 60, 120, 300, 600},
		}, []string{"state"}),
		conflicts: f.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_scaler_conflicts_total", Help: "Writes that conflicted with another client's write, and were retried.",
		}),
		yields: f.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_scaler_yields_total", Help: "Numbers that holds left to another client, which had set them, or did not get from their autoscaler.",
		}),
	}
	m.leftOpen = f.NewCounter(prometheus.CounterOpts{
		Name: "tachometer_scaler_gates_left_open_total", Help: "Holds with gates that stay open after them, since the configuration no longer has the gates.",
	})
	m.watchReads = f.NewCounterVec(prometheus.CounterOpts{
		Name: "tachometer_scaler_watch_reads_total", Help: "Reads of numbers that watch open gates, by outcome: success, above or error.",
	}, []string{"outcome"})
	for _, outcome := range []string{"success", "above", "error"} {
		m.watchReads.WithLabelValues(outcome)
	}
	// Alerts look at the increase, and Prometheus sees none in a counter that begins at 1.
	for _, state := range []hold.State{hold.Received, hold.Raised, hold.Scaled, hold.Ready, hold.Verified, hold.Open, hold.RolledBack, hold.Released} {
		m.transitions.WithLabelValues(string(state))
	}
	caught := f.NewCounter(prometheus.CounterOpts{
		Name: "tachometer_scaler_hold_panics_total",
		Help: "Passes over a workload's holds, verifications, and reads of watches, that panicked: each a bug in this program. The panic ends that one alone.",
	})
	m.Panics = panics.NewGuard("work on a hold", caught)
	return m
}

// countTransition counts a hold that entered a state, some time after its start. The time until Released is the length of the hold,
// and no step.
func (m *Metrics) countTransition(to hold.State, after time.Duration) {
	m.transitions.WithLabelValues(string(to)).Inc()
	if to != hold.Released {
		m.stepSeconds.WithLabelValues(string(to)).Observe(after.Seconds())
	}
}

// countWatchReading counts a reading of the numbers that watch the gates of a hold.
func (m *Metrics) countWatchReading(r WatchReading) {
	outcome := "success"
	switch {
	case r.Over:
		outcome = "above"
	case r.Err != "":
		outcome = "error"
	}
	m.watchReads.WithLabelValues(outcome).Inc()
}
