// Package explain says in a sentence why an autoscaler has its number of pods, and shows the values, the arithmetic and the conditions
// behind each metric's wish.
package explain

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/hpa"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/inventory"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/output"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/reading"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/records"
	"github.com/tachometer-metrics/tachometer/pkg/replay"
)

// Explanation is the state of an autoscaler with its reasons.
type Explanation struct {
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	Target    string    `json:"target"`
	Time      time.Time `json:"time"`
	// Sentence is the whole explanation in one sentence.
	Sentence string `json:"sentence"`
	// Replicas and Wanted are the controller's own: the pods at its last look, and its wish after all limits.
	Replicas      int32           `json:"replicas"`
	Wanted        int32           `json:"wanted"`
	Min           int32           `json:"min"`
	Max           int32           `json:"max"`
	Metrics       []MetricSteps   `json:"metrics"`
	Pods          []Pod           `json:"pods,omitempty"`
	Policies      []Policy        `json:"policies"`
	Stabilization []Stabilization `json:"stabilization"`
	Tolerance     Tolerance       `json:"tolerance"`
	Conditions    []Condition     `json:"conditions"`
	// Changes say at which value the wish of a metric changes.
	Changes []string `json:"changes,omitempty"`
	// Unknown are the parts that live reads cannot show, with the reason.
	Unknown []string `json:"unknown,omitempty"`
	// Holding is the earlier wish that a window holds, from the adapter's record; nil without one.
	Holding *explainapi.HeldWish `json:"holding,omitempty"`
}

// MetricSteps is a metric with the steps from its values to a wish.
type MetricSteps struct {
	Name   string   `json:"name"`
	Total  string   `json:"total,omitempty"`
	Target string   `json:"target"`
	Ratio  string   `json:"ratio,omitempty"`
	Wish   *int32   `json:"wish,omitempty"` // nil: not known
	Steps  []string `json:"steps,omitempty"`
	Error  string   `json:"error,omitempty"`
	// Unread marks an error of this read alone, as without a right: the HPA controller's own read may succeed.
	Unread bool `json:"unread,omitempty"`

	decision    hpa.MetricDecision
	total, pods int64 // in thousandths, and the pods behind it
	ofPods      bool  // each pod has a value of its own
	shared      bool  // the target is a share for each pod
	utilization bool  // total and target are percents of the pods' requests
}

// Pod is a pod of the scale target with its values, one for each metric of pods.
type Pod struct {
	Name   string     `json:"name"`
	Ready  bool       `json:"ready"`
	Values []PodValue `json:"values"`

	hasEnded bool // well
}

// PodValue is a value of a pod, or the note why it has none.
type PodValue struct {
	Metric string        `json:"metric"`
	Value  string        `json:"value,omitempty"`
	Time   time.Time     `json:"time,omitzero"`
	Window time.Duration `json:"window,omitempty"`
	Note   string        `json:"note,omitempty"`
	// CountsAs is the number that replaces the pod's own value; empty: its own counts, or none does.
	CountsAs string `json:"countsAs,omitempty"`
}

// NoteCause replaces the note by a cause, with the number in place of the missing value.
func (v *PodValue) NoteCause(cause string) {
	if v.Note = cause; v.CountsAs != "" {
		v.Note += ", counts as " + v.CountsAs
	}
}

// Policy is a scaling policy in force.
type Policy struct {
	Direction string `json:"direction"`
	Text      string `json:"text"`
}

// Tolerance has, for each direction, the distance between a usage ratio and 1 that changes nothing.
type Tolerance struct {
	ScaleUp   float64 `json:"scaleUp"`
	ScaleDown float64 `json:"scaleDown"`
}

// Stabilization is the window of a direction.
type Stabilization struct {
	Direction string        `json:"direction"`
	Window    time.Duration `json:"window"`
	Holds     bool          `json:"holds"` // an earlier wish holds the number now
}

// Condition is a condition of the autoscaler with its meaning.
type Condition struct {
	Type    string    `json:"type"`
	Status  string    `json:"status"`
	Reason  string    `json:"reason"`
	Meaning string    `json:"meaning"`
	Message string    `json:"message"`
	Since   time.Time `json:"since,omitzero"`
}

// Options are the inputs of an explanation.
type Options struct {
	Objects *inventory.Inventory
	Metrics reading.MetricReader
	Now     time.Time
	// Recorded is the adapter's record: the controller's memory, as far as reads and statuses show it.
	Recorded Recorded
}

// Recorded is the adapter's record of the autoscaler, or why there is none.
type Recorded struct {
	Explanation *explainapi.Explanation
	Missing     string
}

// measureClockAhead returns by how much the adapter's clock is ahead; 0 without a record.
func (r Recorded) measureClockAhead(now time.Time) time.Duration {
	if r.Explanation == nil {
		return 0
	}
	return reading.MeasureClockAhead(r.Explanation.Source.Time, now)
}

// explanationClock is the clock that dates the values.
type explanationClock struct {
	ahead time.Duration // of this machine's
	owner string
}

// chooseExplanationClock returns the adapter's clock by its record, or without a difference there the clock of the metrics API by its answers.
func (o Options) chooseExplanationClock(answers []reading.Answer) explanationClock {
	if ahead := o.Recorded.measureClockAhead(o.Now); ahead != 0 {
		return explanationClock{ahead, "the adapter's"}
	}
	return explanationClock{reading.FindClockAhead(answers), "the metrics API's"}
}

func (c explanationClock) listClockNotes() []string {
	if c.ahead == 0 {
		return nil
	}
	return []string{reading.DescribeClock(c.ahead, c.owner) + ": times and ages are by " + c.owner}
}

// Live explains an autoscaler from the cluster's present state: its status, its pods and the answers of the metrics APIs. Of two clocks that
// differ, the other one counts: it dates the values.
func Live(ctx context.Context, autoscaler *autoscalingv2.HorizontalPodAutoscaler, opts Options) *Explanation {
	workload := opts.Objects.WorkloadOf(autoscaler)
	pods := opts.Objects.SelectedPodsOf(workload)
	e := &Explanation{
		Namespace: autoscaler.Namespace, Name: autoscaler.Name,
		Target:   autoscaler.Spec.ScaleTargetRef.Kind + "/" + autoscaler.Spec.ScaleTargetRef.Name,
		Replicas: autoscaler.Status.CurrentReplicas, Wanted: autoscaler.Status.DesiredReplicas,
		Min: inventory.MinReplicasOf(autoscaler), Max: autoscaler.Spec.MaxReplicas,
		Metrics: []MetricSteps{}, Conditions: []Condition{},
	}
	if isUnseenAutoscaler(autoscaler) {
		e.Replicas = countUnseenReplicas(workload, opts.Objects.PodsOf(workload))
		e.Unknown = append(e.Unknown, "the controller's view: it has not looked at this autoscaler yet")
	}
	for _, p := range pods {
		if p.Status.Phase != corev1.PodFailed { // evictions leave many, and the controller leaves them out
			e.Pods = append(e.Pods, Pod{Name: p.Name, Ready: inventory.IsReady(p), Values: []PodValue{}, hasEnded: p.Status.Phase == corev1.PodSucceeded})
		}
	}
	selector := ""
	if workload != nil {
		selector = workload.PodSelector().String()
	}
	answers := make([]reading.Answer, len(autoscaler.Spec.Metrics))
	for i, spec := range autoscaler.Spec.Metrics {
		words := inventory.DescribeMetric(spec)
		if workload == nil && spec.Object == nil && spec.External == nil {
			answers[i] = reading.Answer{Metric: words, Err: describeMissingScaleTarget(autoscaler, opts.Objects)}
		} else {
			answers[i] = opts.Metrics.ReadMetric(ctx, autoscaler.Namespace, selector, spec, words)
		}
		m := MetricSteps{Name: words, Target: reading.FormatTarget(reading.TargetOf(spec))}
		if answers[i].Err != nil {
			m.Error, m.Unread = answers[i].Err.Error(), reading.IsOwnFailure(answers[i].Err) || errors.Is(answers[i].Err, errUnknownPods)
		}
		e.Metrics = append(e.Metrics, m)
		e.addExplainedPodValues(spec, answers[i])
	}
	clock := opts.chooseExplanationClock(answers)
	e.Time = opts.Now.Add(clock.ahead)
	e.noteRecordedOmissions(opts.Recorded.Explanation)
	in := reading.NewDecisionInput(autoscaler, answers, pods, e.Time)
	in.SpecReplicas, in.StatusReplicas = e.Replicas, e.Replicas
	if workload != nil && e.Replicas > 0 {
		in.StatusReplicas = cmp.Or(workload.StatusReplicas, e.Replicas)
	}
	for i := range e.Metrics {
		e.explainMetricDecision(i, in)
		if m := &e.Metrics[i]; m.decision.Err != nil && opts.Objects.IsUnread("pods") {
			m.Error, m.Unread = "the pods of "+e.Target+" "+errUnknownPods.Error(), true
		}
	}
	e.addScalingBehavior(autoscaler)
	e.addHPAConditions(autoscaler)
	e.addWishChanges(in)
	e.addRecordedRead(opts.Recorded)
	e.Unknown = append(e.Unknown, clock.listClockNotes()...)
	for _, u := range opts.Objects.Unread {
		e.Unknown = append(e.Unknown, u.Resource+": "+u.Reason)
	}
	e.Sentence = composeExplanationSentence(e, autoscaler)
	return e
}

// countUnseenReplicas returns the number that the scale target's spec asks for, or the number of its pods.
func countUnseenReplicas(workload *inventory.Workload, pods []*corev1.Pod) int32 {
	if workload != nil && workload.Replicas != nil {
		return *workload.Replicas
	}
	return int32(len(pods))
}

// describeMissingScaleTarget says that the scale target does not exist, or that its pods are not known because it could not be read.
func describeMissingScaleTarget(autoscaler *autoscalingv2.HorizontalPodAutoscaler, objects *inventory.Inventory) error {
	ref := autoscaler.Spec.ScaleTargetRef
	if fault := objects.TargetFaultOf(autoscaler); fault != "" {
		return fmt.Errorf("its target %s/%s %s", ref.Kind, ref.Name, fault)
	}
	resource := strings.ToLower(ref.Kind) + "s"
	if inventory.IsAppsTarget(ref) && !objects.IsUnread(resource) {
		return fmt.Errorf("its target %s/%s does not exist in namespace %s", ref.Kind, ref.Name, autoscaler.Namespace)
	}
	return fmt.Errorf("the pods of %s/%s %w", ref.Kind, ref.Name, errUnknownPods)
}

// errUnknownPods ends an error about pods that could not be read.
var errUnknownPods = errors.New("are unknown")

// addRecordedRead adds the controller's memory, as far as the adapter's record shows it.
func (e *Explanation) addRecordedRead(r Recorded) {
	if r.Explanation != nil {
		for _, note := range records.ListSourceNotes(r.Explanation.Source) {
			e.Unknown = append(e.Unknown, strings.TrimSuffix(note, "."))
		}
	}
	switch {
	case r.Explanation == nil:
		reason := "they are in the HPA controller's memory"
		if r.Missing != "" {
			reason += ", and the record cannot be read: " + r.Missing
		}
		e.Unknown = append(e.Unknown, "earlier wishes, and the changes that used up policies: "+reason)
	case r.Explanation.Source.UnknownBefore.IsZero():
		e.Unknown = append(e.Unknown, "earlier wishes: no replica of the adapter has a record of this autoscaler")
	case r.Explanation.Computed == nil:
		e.Unknown = append(e.Unknown, fmt.Sprintf("earlier wishes: %s saw no whole look of the controller within the last minutes", records.NameRecorders(r.Explanation.Source)))
	default:
		e.Holding = r.Explanation.Computed.Holding
		e.Unknown = append(e.Unknown, fmt.Sprintf("wishes before %s UTC: the record of %s begins then", r.Explanation.Source.UnknownBefore.UTC().Format(output.DateLayout), records.NameRecorders(r.Explanation.Source)))
	}
}

// addExplainedPodValues adds the values of a metric of pods to the pods, and a note to pods without one.
func (e *Explanation) addExplainedPodValues(spec autoscalingv2.MetricSpec, answer reading.Answer) {
	if spec.Object != nil || spec.External != nil {
		return
	}
	byPod := map[string]reading.Value{}
	for _, v := range answer.Values {
		byPod[v.Object] = v
	}
	for i := range e.Pods {
		value := PodValue{Metric: answer.Metric, Note: "left out of the answer"}
		if e.Pods[i].hasEnded {
			value.Note = "completed"
		}
		if answer.Err != nil {
			value.Note = answer.Err.Error()
		} else if v, ok := byPod[e.Pods[i].Name]; ok {
			value = PodValue{Metric: answer.Metric, Value: formatPodAmount(spec, v.Value), Time: v.Time, Window: v.Window}
		}
		e.Pods[i].Values = append(e.Pods[i].Values, value)
	}
}

// formatPodAmount returns a pod's value in the unit of the target. CPU and memory keep their own: their target may be a percentage.
func formatPodAmount(spec autoscalingv2.MetricSpec, value resource.Quantity) string {
	if spec.Pods == nil {
		return value.String()
	}
	return reading.FormatAmount(reading.FormatTarget(spec.Pods.Target), value.MilliValue())
}

// maxOmissionAge is the age up to which a recorded reason holds for a value that is missing now: four looks of the controller.
const maxOmissionAge = time.Minute

// noteRecordedOmissions notes the reasons of the newest recorded look at pods that the answers leave out now.
func (e *Explanation) noteRecordedOmissions(r *explainapi.Explanation) {
	if r == nil || r.Latest == nil || e.Time.Sub(r.Latest.Time) > maxOmissionAge {
		return
	}
	for _, read := range r.Latest.Reads {
		if read.Metric < 0 || read.Metric >= len(r.Spec.Metrics) {
			continue
		}
		words := inventory.DescribeMetric(r.Spec.Metrics[read.Metric])
		for _, o := range read.Omitted {
			if !e.IsBroken(words) { // the error of now is newer
				e.NoteOmission(o, func(metric string) bool { return metric == words })
			}
		}
	}
}

// IsBroken reports whether a metric, in words, has an error in place of a value.
func (e *Explanation) IsBroken(metric string) bool {
	return slices.ContainsFunc(e.Metrics, func(m MetricSteps) bool { return m.Name == metric && m.Error != "" })
}

// NoteOmission notes why a pod has no value of the metrics, in words, that isMetric chooses.
func (e *Explanation) NoteOmission(o explainapi.Omission, isMetric func(words string) bool) {
	for i := range e.Pods {
		for n := range e.Pods[i].Values {
			if v := &e.Pods[i].Values[n]; v.Value == "" && e.Pods[i].Name == o.Pod && isMetric(v.Metric) {
				v.NoteCause(DescribeOmission(o))
			}
		}
	}
}

// DescribeOmission returns the reason of an omission in words: scrape failed (connection refused).
func DescribeOmission(o explainapi.Omission) string {
	text := strings.ReplaceAll(o.Reason, "_", " ")
	if o.Detail != "" {
		text += " (" + o.Detail + ")"
	}
	return text
}

// addScalingBehavior adds the policies, windows and tolerances in force, Kubernetes' defaults included.
func (e *Explanation) addScalingBehavior(autoscaler *autoscalingv2.HorizontalPodAutoscaler) {
	tolerance := hpa.ToleranceOf(autoscaler, replay.Settings())
	e.Tolerance = Tolerance{ScaleUp: tolerance.Up, ScaleDown: tolerance.Down}
	for _, up := range []bool{true, false} {
		direction, reason := "scaleDown", "ScaleDownStabilized"
		if up {
			direction, reason = "scaleUp", "ScaleUpStabilized"
		}
		rules := effectiveScalingRules(autoscaler, up)
		if *rules.SelectPolicy == autoscalingv2.DisabledPolicySelect {
			e.Policies = append(e.Policies, Policy{direction, "disabled"})
			rules.Policies = nil
		}
		for _, p := range rules.Policies {
			amount := output.Count(int(p.Value), "pod")
			if p.Type == autoscalingv2.PercentScalingPolicy {
				amount = fmt.Sprintf("%d%%", p.Value)
			}
			text := fmt.Sprintf("%s in %ds", amount, p.PeriodSeconds)
			if len(rules.Policies) > 1 {
				text += fmt.Sprintf(" (%s of all)", *rules.SelectPolicy)
			}
			e.Policies = append(e.Policies, Policy{direction, text})
		}
		e.Stabilization = append(e.Stabilization, Stabilization{
			Direction: direction, Window: time.Duration(*rules.StabilizationWindowSeconds) * time.Second, Holds: hasConditionReason(autoscaler, reason),
		})
	}
}

// effectiveScalingRules returns the rules of a direction, completed with Kubernetes' defaults.
func effectiveScalingRules(autoscaler *autoscalingv2.HorizontalPodAutoscaler, up bool) autoscalingv2.HPAScalingRules {
	rules := autoscalingv2.HPAScalingRules{
		SelectPolicy: new(autoscalingv2.MaxChangePolicySelect), StabilizationWindowSeconds: new(int32(300)),
		Policies: []autoscalingv2.HPAScalingPolicy{{Type: autoscalingv2.PercentScalingPolicy, Value: 100, PeriodSeconds: 15}},
	}
	var own *autoscalingv2.HPAScalingRules
	if autoscaler.Spec.Behavior != nil {
		own = autoscaler.Spec.Behavior.ScaleDown
	}
	if up {
		own = nil
		if autoscaler.Spec.Behavior != nil {
			own = autoscaler.Spec.Behavior.ScaleUp
		}
		rules.StabilizationWindowSeconds = new(int32(0))
		rules.Policies = append(rules.Policies, autoscalingv2.HPAScalingPolicy{Type: autoscalingv2.PodsScalingPolicy, Value: 4, PeriodSeconds: 15})
	}
	if own == nil {
		return rules
	}
	if own.SelectPolicy != nil {
		rules.SelectPolicy = own.SelectPolicy
	}
	if own.StabilizationWindowSeconds != nil {
		rules.StabilizationWindowSeconds = own.StabilizationWindowSeconds
	}
	if len(own.Policies) > 0 {
		rules.Policies = own.Policies
	}
	return rules
}

func (e *Explanation) addHPAConditions(autoscaler *autoscalingv2.HorizontalPodAutoscaler) {
	for _, c := range autoscaler.Status.Conditions {
		e.Conditions = append(e.Conditions, Condition{
			Type: string(c.Type), Status: string(c.Status), Reason: c.Reason, Meaning: inventory.DescribeCondition(c.Reason),
			Message: c.Message, Since: c.LastTransitionTime.Time,
		})
	}
}

func hasConditionReason(autoscaler *autoscalingv2.HorizontalPodAutoscaler, reason string) bool {
	for _, c := range autoscaler.Status.Conditions {
		if c.Reason == reason {
			return true
		}
	}
	return false
}

// describePodCount returns "7 pods" for the pods at the controller's last look.
func (e *Explanation) describePodCount() string { return output.Count(int(e.Replicas), "pod") }
