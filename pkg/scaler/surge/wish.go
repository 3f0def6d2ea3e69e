// Wish: the autoscaler's wish at a look, from the metric with the most urgent demand. It reads and writes nothing.

package surge

import (
	"fmt"
	"math"

	autoscalingv2 "k8s.io/api/autoscaling/v2"

	"github.com/tachometer-metrics/tachometer/pkg/hpa"
)

// surgeWish is the autoscaler's wish, and its weight.
type surgeWish struct {
	replicas int32   // within the maximum of a raise
	isSurge  bool    // the demand exceeds the replicas that are there by enough
	isWake   bool    // it is the first pod of a workload that its autoscaler scaled to zero
	demand   float64 // before it is rounded
	score    float64 // standard deviations of the demand above the steady one
	metric   int     // index of its metric
	reading  Reading // of this metric
	cause    string
}

// computeLaneWish returns the wish of the autoscaler, or false if it computes none. A look without a surge teaches the steady demands.
func (d *LaneDecision) computeLaneWish(o *LaneAutoscaler) (surgeWish, bool) {
	if o.hasFailedSurgeReading() {
		return surgeWish{}, false
	}
	in := hpa.Input{HPA: o.Autoscaler, SpecReplicas: o.Replicas, StatusReplicas: o.Replicas, Pods: o.Pods, Now: o.Now}
	for _, r := range o.Readings {
		in.Answers = append(in.Answers, r.Answer)
	}
	decided := hpa.Decide(in, hpa.DefaultSettings(hpaMinor))
	if decided.Winner < 0 {
		return surgeWish{}, false
	}
	d.limitPodsOfSurgeBudget(o, decided.Metrics)
	i := d.findWishMetric(o, decided.Metrics)
	m, demand := decided.Metrics[i], computeLaneWish(decided.Metrics[i], o.Replicas)
	w := surgeWish{
		replicas: min(m.Replicas, o.maxRaisedReplicas()), demand: demand, metric: i, reading: o.Readings[i],
		score: d.scoreWishMetric(o, i, demand),
		cause: fmt.Sprintf("%s wants %d replicas, %d are there", describeSurgeMetricSpec(o.Autoscaler.Spec.Metrics[i]), m.Replicas, o.Replicas),
	}
	least := max(minSurplus, m.Tolerance.Up)
	if d.hasYoungRaise(o) { // it follows any change that the autoscaler would not tolerate
		least = m.Tolerance.Up
	}
	w.isSurge = w.replicas > o.Replicas && min(demand, float64(o.maxRaisedReplicas())) > (1+least)*float64(o.Replicas)
	if o.Replicas == 0 && w.isSurge {
		w.replicas, w.isWake = 1, true
	}
	if !w.isSurge {
		d.learnSteadyDemands(o, decided.Metrics)
	}
	return w, true
}

// limitPodsOfSurgeBudget limits the ready pods that a target of the type Value multiplies to the workload's pods before a raise. The pods of a
// raise or of a rollout are no further load, and such a wish would grow by its own pods.
func (d *LaneDecision) limitPodsOfSurgeBudget(o *LaneAutoscaler, metrics []hpa.MetricDecision) {
	before := max(1, d.replicasBeforeSurge(o))
	for i := range metrics {
		m := &metrics[i]
		if isValueTarget(o.Autoscaler.Spec.Metrics[i]) && m.Counted > int(before) {
			m.Counted = int(before)
			m.Replicas = min(m.Replicas, max(o.Replicas, int32(min(math.Ceil(m.UsageRatio*float64(before)), maxHoldReplicas))))
		}
	}
}

// findWishMetric returns the metric with the largest wish among metrics with a demand that is no chance; of all, if there is none. A restless metric
// with a larger wish hides no surge of another.
func (d *LaneDecision) findWishMetric(o *LaneAutoscaler, metrics []hpa.MetricDecision) (found int) {
	isFoundCertain := false
	for i, m := range metrics {
		if m.Err != nil {
			continue
		}
		isCertain := m.Replicas > o.Replicas && d.scoreWishMetric(o, i, computeLaneWish(m, o.Replicas)) >= minScore
		if metrics[found].Err != nil || isCertain && !isFoundCertain || isCertain == isFoundCertain && m.Replicas > metrics[found].Replicas {
			found, isFoundCertain = i, isCertain
		}
	}
	return found
}

// scoreWishMetric returns by how many standard deviations the demand of a metric exceeds its steady demand.
func (d *LaneDecision) scoreWishMetric(o *LaneAutoscaler, metric int, demand float64) float64 {
	return d.Memory.Metrics[metric].scoreDemand(demand, o.Readings[metric].Window, d.replicasBeforeSurge(o))
}

// isValueTarget reports whether the target of a metric is a number for the whole workload.
func isValueTarget(m autoscalingv2.MetricSpec) bool {
	return m.Object != nil && m.Object.Target.Type == autoscalingv2.ValueMetricType || m.External != nil && m.External.Target.AverageValue == nil
}

// learnSteadyDemands notes the demands of metrics that all pods have. After a change of the replicas an answer may still be that of the
// pods before.
func (d *LaneDecision) learnSteadyDemands(o *LaneAutoscaler, metrics []hpa.MetricDecision) {
	if d.Memory.Replicas != o.Replicas {
		d.Memory.Replicas = o.Replicas
		for i := range d.Memory.Metrics {
			if m := &d.Memory.Metrics[i]; !m.SteadyAt.IsZero() {
				m.interruptSteadyDemand(o.Now)
			}
		}
		return
	}
	for i, m := range metrics {
		if m.Err == nil && len(m.Pods.Missing)+len(m.Pods.Unready) == 0 {
			d.Memory.Metrics[i].noteSteadyDemand(o.Readings[i], computeLaneWish(m, o.Replicas), o.Now)
		}
	}
}

// hpaMinor is the version of the arithmetic. The wish is the same in all versions that pkg/hpa has.
const hpaMinor = 37

// computeLaneWish returns a metric's wish before tolerance and rounding. Without replicas it is the wish: there is no ratio to them.
func computeLaneWish(m hpa.MetricDecision, replicas int32) float64 {
	if replicas == 0 {
		return float64(m.Replicas)
	}
	ratio, pods := m.UsageRatio, float64(replicas)
	if m.NewUsageRatio != nil {
		ratio = *m.NewUsageRatio
	}
	if m.Counted > 0 {
		pods = float64(m.Counted)
	}
	return ratio * pods
}
