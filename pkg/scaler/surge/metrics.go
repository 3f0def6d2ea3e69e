// The self-metrics of the lane.

package surge

import (
	"cmp"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/tachometer-metrics/tachometer/pkg/panics"
)

// Metrics are the metrics of the lane.
type Metrics struct {
	autoscalers prometheus.Gauge
	looks       *prometheus.CounterVec
	raises      *prometheus.CounterVec
	unmatched   prometheus.Counter
	lead        prometheus.Histogram
	panics      *panics.Guard
}

// NewMetrics returns metrics, registered with reg unless reg is nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	return &Metrics{
		autoscalers: f.NewGauge(prometheus.GaugeOpts{
			Name: "tachometer_scaler_surge_autoscalers", Help: "Autoscalers in the surge lane.",
		}),
		looks: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tachometer_scaler_surge_looks_total", Help: "Looks of the surge lane at an autoscaler, by outcome.",
		}, []string{"outcome"}),
		raises: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tachometer_scaler_surge_raises_total", Help: "Raises of the surge lane, by mode.",
		}, []string{"mode"}),
		unmatched: f.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_scaler_surge_unmatched_total", Help: "Raises of the mode observe that the autoscaler did not make within five minutes.",
		}),
		lead: f.NewHistogram(prometheus.HistogramOpts{
			Name: "tachometer_scaler_surge_lead_seconds", Help: "Time from a raise of the mode observe until the autoscaler had as many replicas.",
			Buckets: []float64{1, 2, 5, 10, 15, 20, 30, 45, 60, 120, 300},
		}),
		panics: panics.NewGuard("look of the surge lane", f.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_scaler_surge_panics_total", Help: "Looks that panicked: each a bug in this program. The panic ends that one alone.",
		})),
	}
}

// countLaneDecision counts a look and its decision.
func (m *Metrics) countLaneDecision(mode Mode, d LaneDecision) {
	m.looks.WithLabelValues(cmp.Or(string(d.Skip), "success")).Inc()
	if d.IsNew {
		m.raises.WithLabelValues(string(mode)).Inc()
	}
	m.unmatched.Add(float64(d.Unmatched))
	for _, lead := range d.Leads {
		m.lead.Observe(lead.Seconds())
	}
}
