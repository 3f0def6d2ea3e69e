package explain

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/tachometer-metrics/tachometer/pkg/hpa"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/inventory"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/output"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/reading"
	"github.com/tachometer-metrics/tachometer/pkg/replay"
)

// explainMetricDecision completes the i-th metric with the steps of the HPA's arithmetic.
func (e *Explanation) explainMetricDecision(i int, in hpa.Input) {
	decision, m := hpa.Decide(in, replay.Settings()), &e.Metrics[i]
	if m.Error != "" {
		return
	}
	if i < len(decision.Metrics) {
		e.noteCountedPods(i, in, &decision.Metrics[i])
	}
	if i >= len(decision.Metrics) {
		m.Steps = []string{"the HPA does not look at metrics: the number of pods is outside of its limits, or 0"}
		return
	}
	d := decision.Metrics[i]
	m.decision = d
	if d.Err != nil {
		m.Error = d.Err.Error()
		return
	}
	spec := in.HPA.Spec.Metrics[i]
	target := reading.TargetOf(spec)
	m.ofPods = spec.Object == nil && spec.External == nil
	m.shared = target.Value == nil
	m.pods = int64(in.StatusReplicas)
	switch {
	case m.ofPods:
		m.pods, m.total = sumAnswerValues(d, in.Answers[i])
	case spec.Object != nil:
		m.total = in.Answers[i].Object
	default:
		for _, v := range in.Answers[i].External {
			m.total += v
		}
	}
	m.Total = m.formatExplainedAmount(m.total)
	if m.utilization = target.AverageUtilization != nil; m.utilization {
		m.Total = fmt.Sprintf("%d%%", d.Usage)
	}
	m.Ratio, m.Wish = formatUsageRatio(d), new(d.Replicas)
	m.Steps = m.listDecisionSteps()
}

// noteCountedPods notes the pods without a value that counts, with the number in its place.
func (e *Explanation) noteCountedPods(metric int, in hpa.Input, d *hpa.MetricDecision) {
	m := MetricSteps{decision: *d, utilization: reading.TargetOf(in.HPA.Spec.Metrics[metric]).AverageUtilization != nil}
	for i := range e.Pods {
		p := &e.Pods[i]
		v := p.findExplainedPodValue(e.Metrics[metric].Name)
		switch {
		case v == nil:
		case slices.Contains(d.Pods.Ignored, p.Name):
			v.Note = "failed or being deleted: left out"
		case slices.Contains(d.Pods.Unready, p.Name) && d.Unready == "":
			v.Note = "starting: left out"
		case slices.Contains(d.Pods.Unready, p.Name):
			v.CountsAs = "0"
			v.NoteCause("starting")
		case slices.Contains(d.Pods.Missing, p.Name) && d.Missing != "":
			v.CountsAs = m.describeSubstitute("its")
			v.NoteCause(v.Note)
		}
	}
}

// findExplainedPodValue returns the value of a metric in words, or nil.
func (p *Pod) findExplainedPodValue(metric string) *PodValue {
	for i := range p.Values {
		if p.Values[i].Metric == metric {
			return &p.Values[i]
		}
	}
	return nil
}

// sumAnswerValues returns the pods with a value that counts, and the sum of their values.
func sumAnswerValues(d hpa.MetricDecision, answer hpa.Answer) (pods, total int64) {
	for _, names := range [][]string{d.Pods.Ready, d.Pods.Unknown} {
		for _, name := range names {
			total += answer.Pods[name].Value
			pods++
		}
	}
	return pods, total
}

// wanted returns the number of pods before rounding, without regard to pods without a value: 6.9.
func (m *MetricSteps) wanted() float64 {
	if m.decision.Stage == hpa.StageFromZero {
		return m.decision.UsageRatio
	}
	if m.shared && !m.ofPods {
		return float64(m.total) / float64(m.decision.Target)
	}
	if !m.ofPods && m.decision.Counted > 0 {
		return m.decision.UsageRatio * float64(m.decision.Counted)
	}
	return m.decision.UsageRatio * float64(m.pods)
}

// countWithoutValue returns the pods that have no value and were counted.
func (m *MetricSteps) countWithoutValue() int {
	n := 0
	if m.decision.Missing != "" {
		n += len(m.decision.Pods.Missing)
	}
	if m.decision.Unready != "" {
		n += len(m.decision.Pods.Unready)
	}
	return n
}

// listDecisionSteps returns the steps of the calculation in words.
func (m *MetricSteps) listDecisionSteps() []string {
	d := m.decision
	var steps []string
	if m.shared && m.pods > 0 && !m.utilization {
		steps = append(steps, fmt.Sprintf("%s over %s is %s per pod", m.Total, output.Count(int(m.pods), "pod"), m.formatExplainedAmount(d.Usage)))
	}
	if d.IsShareOfNone() {
		return append(steps, fmt.Sprintf("%s divided by the target %s, rounded up: %d", m.Total, m.Target, d.Replicas))
	}
	steps = append(steps, fmt.Sprintf("divided by the target %s: ratio %.3f", m.Target, d.UsageRatio))
	if d.NewUsageRatio != nil {
		pronoun := "their"
		if m.countWithoutValue() == 1 {
			pronoun = "its"
		}
		steps = append(steps, fmt.Sprintf("%s without a value counted as %s: ratio %.3f", output.Count(m.countWithoutValue(), "pod"), m.describeSubstitute(pronoun), *d.NewUsageRatio))
	}
	switch d.Stage {
	case hpa.StageTolerated:
		return append(steps, fmt.Sprintf("within the tolerance, %.3g to %.3g: keeps %d", 1-d.Tolerance.Down, 1+d.Tolerance.Up, d.Replicas))
	case hpa.StageRatioReversed, hpa.StageCountReversed:
		return append(steps, fmt.Sprintf("the direction is not sure: keeps %d", d.Replicas))
	case hpa.StageFailed, hpa.StageScaled, hpa.StageFromZero:
	}
	if d.Counted > 0 {
		steps = append(steps, "times "+output.Count(d.Counted, m.nameCountedPods()))
	}
	return append(steps, fmt.Sprintf("rounded up: %d", d.Replicas))
}

// nameCountedPods names the pods that the ratio is multiplied with: of a total these are the ready ones.
func (m *MetricSteps) nameCountedPods() string {
	if m.ofPods {
		return "pod"
	}
	return "ready pod"
}

// formatUsageRatio returns the ratio of a usage to its target; nothing where no pods share a total.
func formatUsageRatio(d hpa.MetricDecision) string {
	if d.IsShareOfNone() {
		return ""
	}
	return strconv.FormatFloat(d.UsageRatio, 'f', 3, 64)
}

// describeSubstitute says at which value pods without a value were counted. On the way down a pod without a utilization counts as if it
// used its whole request, or the target where that is higher.
func (m *MetricSteps) describeSubstitute(pronoun string) string {
	as := cmp.Or(m.decision.Missing, m.decision.Unready)
	switch {
	case as != hpa.AssumedTarget:
		return string(as)
	case m.utilization:
		return fmt.Sprintf("%d%% of %s request", max(100, m.decision.Target), pronoun)
	}
	return "the target"
}

// formatExplainedAmount returns thousandths as an amount of the metric.
func (m *MetricSteps) formatExplainedAmount(milli int64) string {
	return formatExplainedMetricAmount(m.Name, reading.FormatAmount(m.Target, milli), milli)
}

// formatWishBound returns thousandths as a bound of the metric, rounded up or down by round.
func (m *MetricSteps) formatWishBound(milli int64, round func(float64) float64) string {
	return formatExplainedMetricAmount(m.Name, reading.FormatBound(m.Target, milli, round), milli)
}

// formatExplainedMetricAmount returns the text of thousandths, with /s behind the number of a rate: 343/s, 1536Mi, 61m of CPU.
func formatExplainedMetricAmount(metric, text string, milli int64) string {
	switch {
	case !inventory.IsRateMetric(metric):
		return text
	case strings.HasSuffix(text, "m"):
		text = strconv.FormatFloat(float64(milli)/1000, 'f', -1, 64)
	}
	return text + "/s"
}

// addWishChanges says at which totals the wishes change within the limits. With pods that have no value it depends on theirs.
func (e *Explanation) addWishChanges(in hpa.Input) {
	for i := range e.Metrics {
		m := &e.Metrics[i]
		if m.Wish == nil || m.countWithoutValue() > 0 || m.pods == 0 || m.utilization {
			continue
		}
		s := newWishSearch(m, i, in)
		if to, at := s.findNextHigherWish(); to <= int64(e.Max) && to > int64(e.Min) {
			e.Changes = append(e.Changes, fmt.Sprintf("above %s %s asks for %d", m.formatWishBound(at, math.Ceil), inventory.BareMetricName(m.Name), to))
		}
		if to, at, includes := s.findNextLowerWish(); to >= int64(e.Min) && to < int64(e.Max) {
			words := "below %s"
			if includes {
				words = "at %s or less"
			}
			e.Changes = append(e.Changes, fmt.Sprintf(words+" %s asks for %d", m.formatWishBound(at, math.Floor), inventory.BareMetricName(m.Name), to))
		}
	}
}

// wishSearch finds the totals at which a wish changes.
type wishSearch struct {
	total, step int64   // the present total, and the least change of it that the HPA sees: a thousandth, of each pod
	edges       []int64 // sorted totals at which the wish may change
	wishAt      func(total int64) int32
}

// newWishSearch returns the search for the i-th metric. Totals of pods are spread evenly. The edges are the two ends of the tolerance,
// and the totals for whole numbers of pods beside the present wish.
func newWishSearch(m *MetricSteps, i int, in hpa.Input) wishSearch {
	unit := float64(m.decision.Target) // the total for a ratio of 1
	if m.shared {
		unit *= float64(m.pods)
	}
	perPod, wish, tolerance := unit/float64(m.countMultipliedPods(in.Pods)), float64(*m.Wish), m.decision.Tolerance
	s := wishSearch{total: m.total, step: 1, wishAt: func(total int64) int32 { return decideWishForTotal(m, i, in, total) }}
	if m.ofPods {
		s.step = m.pods
	}
	for _, at := range []float64{unit * (1 - tolerance.Down), unit * (1 + tolerance.Up), perPod * wish, perPod * (wish - 1)} {
		s.edges = append(s.edges, int64(math.Floor(at+1e-3)))
	}
	slices.Sort(s.edges)
	return s
}

// countMultipliedPods returns the pods that the ratio is multiplied with: for a target of the total the ready ones, at least one.
func (m *MetricSteps) countMultipliedPods(pods []*corev1.Pod) int64 {
	if m.shared || m.ofPods {
		return m.pods
	}
	ready := int64(0)
	for _, p := range pods {
		if p.Status.Phase == corev1.PodRunning && inventory.IsReady(p) {
			ready++
		}
	}
	return max(1, ready)
}

// decideWishForTotal returns the wish of the i-th metric for another total.
func decideWishForTotal(m *MetricSteps, i int, in hpa.Input, total int64) int32 {
	in.Answers = slices.Clone(in.Answers)
	answer := hpa.Answer{Object: total, External: []int64{total}}
	if m.ofPods {
		answer.Pods = map[string]hpa.PodValue{}
		for name, v := range in.Answers[i].Pods {
			v.Value = total / m.pods
			answer.Pods[name] = v
		}
	}
	in.Answers[i] = answer
	return hpa.Decide(in, replay.Settings()).Metrics[i].Replicas
}

// findNextHigherWish returns the next higher wish, and the total above which it begins.
func (s wishSearch) findNextHigherWish() (wish, total int64) {
	present := s.wishAt(s.total)
	for _, edge := range s.edges {
		for _, at := range listTotalsBesideEdge(edge) {
			if above := s.wishAt(at + s.step); at >= s.total && above > present && s.wishAt(at) < above {
				return int64(above), at
			}
		}
	}
	return math.MaxInt64, 0
}

// findNextLowerWish returns the next lower wish, and the total below which it begins, or at which already.
func (s wishSearch) findNextLowerWish() (wish, total int64, includes bool) {
	present := s.wishAt(s.total)
	for _, edge := range slices.Backward(s.edges) {
		for _, at := range listTotalsBesideEdge(edge) {
			if at > s.total || at < s.step {
				continue
			}
			here := s.wishAt(at)
			if here < present && here < s.wishAt(at+s.step) {
				return int64(here), at, true
			}
			if below := s.wishAt(at - s.step); below < present && below < here {
				return int64(below), at, false
			}
		}
	}
	return -1, 0, false
}

// listTotalsBesideEdge returns an edge and its neighbours: the last bit of a product may be wrong.
func listTotalsBesideEdge(edge int64) [3]int64 { return [3]int64{edge, edge - 1, edge + 1} }
