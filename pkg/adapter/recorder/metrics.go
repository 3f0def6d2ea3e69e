// This file has the self-metrics of the package.

package recorder

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
)

// The stages of a reaction, from the sample to the pod that serves.
const (
	stageSample   = "sample"
	stagePeriod   = "period"
	stageDecision = "decision"
	stageStart    = "start"
)

const (
	// maxReactionRules bounds the rules with observations of their own: a rule has some 80 series.
	maxReactionRules = 50
	// otherRules is the label value that all further rules share.
	otherRules = "other"
)

// metrics are the self-metrics of the package.
type metrics struct {
	decisions *prometheus.CounterVec
	reaction  *prometheus.HistogramVec
	saves     *prometheus.CounterVec

	mu    sync.Mutex
	rules map[string]bool // with observations of their own; guarded by mu
}

func newMetrics(reg prometheus.Registerer, r *Recorder) *metrics {
	f := promauto.With(reg)
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tachometer_hpa_record_bytes",
		Help: "Memory of the records of HPAs.",
	}, func() float64 {
		r.usageMu.Lock()
		defer r.usageMu.Unlock()
		return float64(r.used)
	})
	reaction := f.NewHistogramVec(prometheus.HistogramOpts{
		Name: "tachometer_reaction_seconds",
		Help: "Stages of the reaction by rule (an HPA's first with a value; beyond 50 rules, other): sample (age of a read's oldest sample), period (between two looks of an HPA), decision (first read to scaled status), start (a pod's creation to readiness).",
		// A sample is 0 to 2 s old, a look comes every 15 s, and a pod starts in seconds to minutes.
		Buckets: []float64{.05, .1, .25, .5, 1, 2, 3, 5, 10, 15, 20, 30, 45, 60, 120, 300},
	}, []string{"rule", "stage"})
	return &metrics{
		saves: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tachometer_hpa_record_saves_total",
			Help: "Saves of the records of HPAs in --record-dir (success or error).",
		}, []string{"outcome"}),
		reaction: reaction, rules: map[string]bool{},
		decisions: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tachometer_hpa_decisions_total",
			Help: "Changed statuses of HPAs: scaled_up, scaled_down, failed, stabilized, limited or kept.",
		}, []string{"reason"}),
	}
}

// observeReaction observes a stage of a reaction by a rule; an empty name stands for a metric without a rule, of which nothing is observed.
func (m *metrics) observeReaction(rule, stage string, took time.Duration) {
	if rule != "" {
		m.reaction.WithLabelValues(m.boundReactionRule(rule), stage).Observe(took.Seconds())
	}
}

// boundReactionRule returns the name of a rule, or otherRules where enough rules have observations of their own.
func (m *metrics) boundReactionRule(rule string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.rules[rule] && len(m.rules) >= maxReactionRules {
		return otherRules
	}
	m.rules[rule] = true
	return rule
}

// observeSampleAge observes the age of the oldest value of a read.
func (m *metrics) observeSampleAge(rule string, values []explainapi.Value) {
	if len(values) == 0 {
		return
	}
	oldest := values[0].AgeMillis
	for i := range values {
		oldest = max(oldest, values[i].AgeMillis)
	}
	m.observeReaction(rule, stageSample, time.Duration(oldest)*time.Millisecond)
}

// countSave counts a save of the records.
func (m *metrics) countSave(err error) {
	outcome := "success"
	if err != nil {
		outcome = "error"
	}
	m.saves.WithLabelValues(outcome).Inc()
}

// countHPADecision counts a changed status by its reason.
func (m *metrics) countHPADecision(before, after *explainapi.Status) {
	m.decisions.WithLabelValues(classifyHPADecision(before, after)).Inc()
}

// classifyHPADecision returns the reason of a status as a label value.
func classifyHPADecision(before, after *explainapi.Status) string {
	limited, failed := false, false
	for _, c := range after.Conditions {
		limited = limited || c.Type == "ScalingLimited" && c.Status == "True"
		failed = failed || c.Type == "ScalingActive" && c.Status == "False" || c.Type == "AbleToScale" && c.Status == "False"
	}
	isScaled := !before.LastScaleTime.Equal(after.LastScaleTime)
	switch {
	case isScaled && after.DesiredReplicas > after.CurrentReplicas:
		return "scaled_up"
	case isScaled:
		return "scaled_down"
	case failed:
		return "failed"
	case after.HasReason("ScaleDownStabilized") || after.HasReason("ScaleUpStabilized"):
		return "stabilized"
	case limited:
		return "limited"
	}
	return "kept"
}
