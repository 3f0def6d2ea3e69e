package explain

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/tachometer-metrics/tachometer/pkg/plugin/output"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/reading"
)

// defaultTolerance is kube-controller-manager's --horizontal-pod-autoscaler-tolerance.
const defaultTolerance = 0.1

// arithmetic is the HPA's calculation for one metric. Amounts are in thousandths.
type arithmetic struct {
	known         bool
	total, target int64
	perPod        bool  // the target is a share for each pod
	ofPods        bool  // the total is over pods, each with a value of its own; else of an object or an external metric
	replicas      int64 // pods behind the total: with a value, ready, or all of them for a share of an external total
	current       int32 // the number that the HPA keeps within the tolerance
	// missing and pending are pods of the workload without a value, running or not yet; only with ofPods.
	missing, pending int64
	up, down         float64
}

// ratio returns the usage ratio: the mean over pods, or the total, divided by the target. The HPA cuts a mean to whole thousandths.
func (a arithmetic) ratio() float64 {
	switch {
	case a.ofPods:
		return float64(a.total/a.replicas) / float64(a.target)
	case a.perPod:
		return float64(a.total) / (float64(a.target) * float64(a.replicas))
	}
	return float64(a.total) / float64(a.target)
}

// isTolerated reports whether a ratio is so near to 1 that the HPA keeps the number.
func (a arithmetic) isTolerated(ratio float64) bool { return 1-a.down <= ratio && ratio <= 1+a.up }

// wanted returns the number of pods before rounding, without regard to pods without a value: 6.9.
func (a arithmetic) wanted() float64 {
	if a.perPod && !a.ofPods {
		return float64(a.total) / float64(a.target)
	}
	return a.ratio() * float64(a.replicas)
}

// isRebalanced reports whether pods without a value are counted: running ones always, and pending ones on the way up.
func (a arithmetic) isRebalanced() bool { return a.missing > 0 || a.pending > 0 && a.ratio() > 1 }

// rebalance counts pods without a value as at the target on the way down and as 0 on the way up, so that they damp the step.
func (a arithmetic) rebalance() arithmetic {
	counted := a
	counted.missing, counted.pending = 0, 0
	switch ratio := a.ratio(); {
	case ratio < 1:
		counted.total += a.missing * a.target
		counted.replicas += a.missing
	case ratio > 1:
		counted.replicas += a.missing + a.pending
	}
	return counted
}

// wish returns the number of pods that the metric asks for.
func (a arithmetic) wish() int32 {
	if !a.isRebalanced() {
		if a.isTolerated(a.ratio()) {
			return a.current
		}
		return int32(min(math.Ceil(a.wanted()), math.MaxInt32))
	}
	before, counted := a.ratio(), a.rebalance()
	after := counted.ratio()
	if a.isTolerated(after) || before < 1 && after > 1 || before > 1 && after < 1 {
		return a.current // the direction is not sure
	}
	wish := int32(min(math.Ceil(counted.wanted()), math.MaxInt32))
	if after < 1 && wish > a.current || after > 1 && wish < a.current {
		return a.current
	}
	return wish
}

// listSteps returns the steps of the calculation in words.
func (a arithmetic) listSteps(metric, target string) []string {
	var steps []string
	if a.perPod {
		steps = append(steps, fmt.Sprintf("%s over %s is %s per pod", formatExplainedAmount(metric, a.total),
			output.Count(int(a.replicas), "pod"), formatExplainedAmount(metric, a.total/a.replicas)))
	}
	steps = append(steps, fmt.Sprintf("divided by the target %s: ratio %.3f", target, a.ratio()))
	last := a
	if a.isRebalanced() {
		last = a.rebalance()
		as := "at the target"
		if a.ratio() > 1 {
			as = "as 0"
		}
		steps = append(steps, fmt.Sprintf("%s without a value counted %s: ratio %.3f", output.Count(int(last.replicas-a.replicas), "pod"), as, last.ratio()))
	}
	wish := a.wish()
	switch {
	case a.isTolerated(last.ratio()):
		return append(steps, fmt.Sprintf("within the tolerance, %.3g to %.3g: keeps %d", 1-a.down, 1+a.up, wish))
	case a.isRebalanced() && wish == a.current:
		return append(steps, fmt.Sprintf("the direction is not sure: keeps %d", wish))
	}
	return append(steps, fmt.Sprintf("ratio × %d = %.2f, rounded up: %d", last.replicas, last.wanted(), wish))
}

// explainedTolerance returns the tolerance of a direction.
func explainedTolerance(hpa *autoscalingv2.HorizontalPodAutoscaler, up bool) float64 {
	if t := explainedScalingRules(hpa, up).Tolerance; t != nil {
		return t.AsApproximateFloat64()
	}
	return defaultTolerance
}

// explainMetricAnswer returns a metric with the steps from its answer to a wish.
func explainMetricAnswer(hpa *autoscalingv2.HorizontalPodAutoscaler, spec autoscalingv2.MetricSpec, answer reading.Answer, pods []*corev1.Pod) Metric {
	target := reading.TargetOf(spec)
	m := Metric{Name: answer.Metric, Target: reading.FormatTarget(target)}
	if answer.Err != nil {
		m.Error = answer.Err.Error()
		return m
	}
	a := newExplainedArithmetic(hpa, spec, answer, pods)
	m.Total = formatExplainedAmount(answer.Metric, a.total)
	switch {
	case target.AverageUtilization != nil:
		m.Steps = []string{"a utilization is a share of the pods' requests: the controller's own last value is in its status"}
		a.known = false
	case spec.Resource != nil && spec.Resource.Name == corev1.ResourceCPU && countUnreadyPods(pods) > 0,
		spec.ContainerResource != nil && spec.ContainerResource.Name == corev1.ResourceCPU && countUnreadyPods(pods) > 0:
		m.Steps = []string{"pods that are starting count as 0 on the way up, by times that only the controller knows"}
		a.known = false
	case !a.known:
		m.Steps = []string{"no pod is known that could be multiplied"}
	}
	m.arithmetic = a
	if a.known {
		m.Ratio, m.Wish, m.Steps = strconv.FormatFloat(a.ratio(), 'f', 3, 64), new(a.wish()), a.listSteps(m.Name, m.Target)
	}
	return m
}

// newExplainedArithmetic returns the calculation for an answer.
func newExplainedArithmetic(hpa *autoscalingv2.HorizontalPodAutoscaler, spec autoscalingv2.MetricSpec, answer reading.Answer, pods []*corev1.Pod) arithmetic {
	a := arithmetic{
		current: hpa.Status.CurrentReplicas, up: explainedTolerance(hpa, true), down: explainedTolerance(hpa, false),
		ofPods: spec.Object == nil && spec.External == nil,
	}
	switch target := reading.TargetOf(spec); {
	case target.AverageValue != nil:
		a.target, a.perPod = target.AverageValue.MilliValue(), true
	case target.Value != nil:
		a.target = target.Value.MilliValue()
	}
	switch {
	case a.ofPods:
		a.countExplainedValues(answer, pods)
	case a.perPod:
		a.replicas = int64(hpa.Status.CurrentReplicas)
	default: // the HPA multiplies with the ready pods
		a.replicas = int64(len(pods) - countUnreadyPods(pods))
	}
	if !a.ofPods {
		for _, v := range answer.Values {
			a.total += v.Value.MilliValue()
		}
	}
	a.known = a.replicas > 0 && a.target > 0
	return a
}

// countExplainedValues adds the values of pods, and counts pods without one. Pods that end count for nothing, and pending pods have no
// value even if the API gives one.
func (a *arithmetic) countExplainedValues(answer reading.Answer, pods []*corev1.Pod) {
	values := map[string]int64{}
	for _, v := range answer.Values {
		values[v.Object] = v.Value.MilliValue()
	}
	for _, p := range pods {
		value, found := values[p.Name]
		switch {
		case p.DeletionTimestamp != nil:
			delete(values, p.Name)
		case p.Status.Phase == corev1.PodPending:
			delete(values, p.Name)
			a.pending++
		case !found:
			a.missing++
		default:
			a.total += value
			a.replicas++
			delete(values, p.Name)
		}
	}
	for _, value := range values { // of pods that began after the pods were listed
		a.total += value
		a.replicas++
	}
}

// formatExplainedAmount returns thousandths as a number, with /s for a rate: 343/s.
func formatExplainedAmount(metric string, milli int64) string {
	text := resource.NewMilliQuantity(milli, resource.DecimalSI).String()
	if strings.HasSuffix(text, "m") {
		text = strconv.FormatFloat(float64(milli)/1000, 'f', -1, 64)
	}
	if name, _, _ := strings.Cut(metric, " "); strings.HasSuffix(strings.TrimSuffix(name, ","), "_per_second") {
		text += "/s"
	}
	return text
}

// addExplainedChanges says at which totals the wishes change.
func (e *Explanation) addExplainedChanges() {
	for _, m := range e.Metrics {
		a := m.arithmetic
		if !a.known || m.Error != "" || a.missing+a.pending > 0 {
			continue // with pods that have no value, it depends on theirs
		}
		if to, at := a.nextUp(); to <= int64(e.Max) {
			e.Changes = append(e.Changes, fmt.Sprintf("above %s %s asks for %d", formatExplainedAmount(m.Name, at), explainedMetricName(m.Name), to))
		}
		if to, at := a.nextDown(); to >= int64(e.Min) {
			e.Changes = append(e.Changes, fmt.Sprintf("at %s or less %s asks for %d", formatExplainedAmount(m.Name, at), explainedMetricName(m.Name), to))
		}
	}
}

// nextUp returns the next higher wish, and the total above which it begins.
func (a arithmetic) nextUp() (wish, total int64) {
	for _, at := range a.listExplainedEdges() {
		above := a
		above.total = at + a.replicas // a mean is cut to whole thousandths
		if at >= a.total && above.wish() > a.wish() {
			return int64(above.wish()), at
		}
	}
	return math.MaxInt64, 0
}

// nextDown returns the next lower wish, and the total at or below which it begins.
func (a arithmetic) nextDown() (wish, total int64) {
	for _, at := range slices.Backward(a.listExplainedEdges()) {
		below := a
		below.total = at - a.replicas
		if at <= a.total && below.total >= 0 && below.wish() < a.wish() {
			return int64(below.wish()), at
		}
	}
	return -1, 0
}

// listExplainedEdges returns the totals at which the wish may change, sorted: the two ends of the tolerance, and the totals for whole
// numbers of pods beside the present wish.
func (a arithmetic) listExplainedEdges() []int64 {
	unit := float64(a.target) // the total for a ratio of 1
	if a.perPod {
		unit *= float64(a.replicas)
	}
	perPod, wish := unit/float64(a.replicas), float64(a.wish())
	var edges []int64
	for _, at := range []float64{unit * (1 - a.down), unit * (1 + a.up), perPod * wish, perPod * (wish - 1)} {
		edges = append(edges, int64(math.Round(at)))
	}
	slices.Sort(edges)
	return edges
}

// explainedMetricName returns the bare name of a metric in words.
func explainedMetricName(words string) string {
	name, _, _ := strings.Cut(words, " of ")
	name, _, _ = strings.Cut(name, ",")
	return name
}
