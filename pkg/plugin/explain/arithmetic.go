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

// arithmetic is the HPA's calculation for one metric whose pods are all ready and all have a value. Amounts are in thousandths.
type arithmetic struct {
	known         bool
	total, target int64
	replicas      int64 // what the ratio is multiplied with, or what the target is
	perPod        bool  // the target is a share for each pod
	ofPods        bool  // every pod has a value: the HPA cuts their mean to whole thousandths
	up, down      float64
}

// newExplainedArithmetic returns the calculation for a total. The target of type Value is compared with the whole total.
func newExplainedArithmetic(hpa *autoscalingv2.HorizontalPodAutoscaler, target autoscalingv2.MetricTarget, total, replicas int64) arithmetic {
	a := arithmetic{known: replicas > 0, total: total, replicas: replicas, up: explainedTolerance(hpa, true), down: explainedTolerance(hpa, false)}
	switch {
	case target.AverageValue != nil:
		a.target, a.perPod = target.AverageValue.MilliValue(), true
	case target.Value != nil:
		a.target = target.Value.MilliValue()
	}
	a.known = a.known && a.target > 0
	return a
}

// ratio returns the usage ratio: the mean over pods, or the total, divided by the target.
func (a arithmetic) ratio() float64 {
	switch {
	case a.ofPods:
		return float64(a.total/a.replicas) / float64(a.target)
	case a.perPod:
		return float64(a.total) / float64(a.replicas) / float64(a.target)
	}
	return float64(a.total) / float64(a.target)
}

// tolerated reports whether the ratio is so near to 1 that the HPA keeps the number.
func (a arithmetic) tolerated() bool { return 1-a.down <= a.ratio() && a.ratio() <= 1+a.up }

// wanted returns the number of pods before rounding: 6.9.
func (a arithmetic) wanted() float64 {
	if a.perPod && !a.ofPods {
		return float64(a.total) / float64(a.target)
	}
	return a.ratio() * float64(a.replicas)
}

// wish returns the number of pods that the metric asks for.
func (a arithmetic) wish() int32 {
	if a.tolerated() {
		return int32(a.replicas)
	}
	return int32(math.Ceil(a.wanted()))
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
	var total int64
	for _, v := range answer.Values {
		total += v.Value.MilliValue()
	}
	m.Total = formatExplainedAmount(answer.Metric, total)
	ofPods := spec.Object == nil && spec.External == nil
	switch unready := countUnreadyPods(pods); {
	case target.AverageUtilization != nil:
		m.Steps = append(m.Steps, "a utilization is a share of the pods' requests: the controller's own last value is in its status")
		return m
	case ofPods && len(answer.Values) < len(pods):
		m.Steps = append(m.Steps, fmt.Sprintf("%d of %s have no value: the HPA counts them as 0 on the way up and at the target on the way down",
			len(pods)-len(answer.Values), output.Count(len(pods), "pod")))
		return m
	case ofPods && unready > 0:
		m.Steps = append(m.Steps, fmt.Sprintf("%d of %s are not ready: the HPA counts them as 0 on the way up", unready, output.Count(len(pods), "pod")))
		return m
	}
	replicas := int64(hpa.Status.CurrentReplicas)
	if ofPods {
		replicas = int64(len(answer.Values))
	}
	a := newExplainedArithmetic(hpa, target, total, replicas)
	a.ofPods = ofPods
	m.explainMetricArithmetic(a)
	return m
}

// explainMetricArithmetic adds the steps of the calculation.
func (m *Metric) explainMetricArithmetic(a arithmetic) {
	m.arithmetic = a
	if !a.known {
		return
	}
	m.Ratio = strconv.FormatFloat(a.ratio(), 'f', 3, 64)
	wish := a.wish()
	m.Wish = &wish
	if a.perPod {
		m.Steps = append(m.Steps, fmt.Sprintf("%s over %s is %s per pod", m.Total, output.Count(int(a.replicas), "pod"), formatExplainedAmount(m.Name, a.total/a.replicas)))
	}
	m.Steps = append(m.Steps, fmt.Sprintf("divided by the target %s: ratio %s", m.Target, m.Ratio))
	if a.tolerated() {
		m.Steps = append(m.Steps, fmt.Sprintf("within the tolerance, %.3g to %.3g: keeps %d", 1-a.down, 1+a.up, wish))
		return
	}
	m.Steps = append(m.Steps, fmt.Sprintf("ratio × %d = %.2f, rounded up: %d", a.replicas, a.wanted(), wish))
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
		if !a.known || m.Error != "" {
			continue
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
