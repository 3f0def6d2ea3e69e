package explain

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/hpa"
	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/inventory"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/output"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/reading"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/records"
	"github.com/tachometer-metrics/tachometer/pkg/replay"
)

// logTime is the form of a time within a cause: the decision's own time has the date, if it is of another day.
const logTime = output.ClockLayout

// Log is the recorded decisions of an autoscaler with their causes.
type Log struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Source is the replica that recorded them, and from when on it knows them.
	Source    explainapi.Source `json:"source"`
	Decisions []LoggedDecision  `json:"decisions"`
}

// LoggedDecision is a decision, or several in a row with the same number and the same cause.
type LoggedDecision struct {
	Time time.Time `json:"time"`
	// Looks is the number of looks of the controller that decided the same.
	Looks    int    `json:"looks"`
	Replicas int32  `json:"replicas"`
	Wanted   int32  `json:"wanted"`
	Cause    string `json:"cause"`
	// Unknown is set where the two numbers are not known.
	Unknown bool `json:"unknown,omitempty"`
	// Failed is set where a metric had no value.
	Failed bool `json:"failed,omitempty"`
	// Metrics are the metrics at the first of the looks, with the steps of the arithmetic; empty where it did not look at metrics, or an
	// input is not recorded.
	Metrics []MetricSteps `json:"metrics,omitempty"`

	kind string // of the cause: looks with the same kind are alike, though their values differ
}

// NewLog returns the decisions of a complete record with their causes. Looks in a row that decide the same for the same reason are one
// entry, with the cause of the first.
func NewLog(log *explainapi.DecisionLog) *Log {
	out := &Log{Namespace: log.Namespace, Name: log.Name, Source: log.Source, Decisions: []LoggedDecision{}}
	for i, look := range replay.Reproduce(log, replay.Settings()) {
		d := newLoggedDecision(&log.Decisions[i], look, &log.Specs[log.Decisions[i].Spec].Spec)
		if n := len(out.Decisions); n > 0 {
			if last := &out.Decisions[n-1]; last.kind == d.kind && last.Replicas == d.Replicas && last.Wanted == d.Wanted {
				last.Looks++
				continue
			}
		}
		out.Decisions = append(out.Decisions, d)
	}
	return out
}

func newLoggedDecision(d *explainapi.Decision, look replay.Look, spec *autoscalingv2.HorizontalPodAutoscalerSpec) LoggedDecision {
	out := LoggedDecision{Time: d.Time, Looks: 1, Replicas: look.Replicas, Wanted: look.Recorded, Unknown: look.Unknown}
	if look.Missing == "" {
		out.Failed, out.Metrics = look.Decision.Err != nil, listLoggedMetrics(d, look, spec)
	}
	switch {
	case look.Missing != "":
		out.kind, out.Cause = "missing", "not computed: "+look.Missing
	case len(look.Decision.Metrics) == 0:
		out.kind, out.Cause = "limits", describeLoggedLimits(look, spec)
	case look.Decision.Winner < 0 && look.Decision.Err != nil:
		out.kind, out.Cause = "failed", "no value, so it keeps the number: "+shortenLoggedError(d)
	case look.Decision.Winner < 0:
		out.kind, out.Cause = "failed", "no metric gives a wish"
	default:
		out.kind, out.Cause = describeLoggedSteps(look, spec)
	}
	switch {
	case look.ScaleFailed && !look.Differs():
		out.kind += " unwritten"
		out.Cause += fmt.Sprintf("; %d could not be written: %s", look.Decision.Replicas, describeFailedScale(d.Status))
	case look.Differs() && look.AfterGap:
		out.kind += " unjudged"
		out.Cause += "; not judged: the record has a gap"
	case look.Differs():
		out.kind += " differs"
		out.Cause += fmt.Sprintf("; by its inputs it would be %d: an input changed within the look, or an earlier wish is not in the record", look.Computed)
	}
	return out
}

// describeFailedScale returns the status's words about a scale that could not be written.
func describeFailedScale(s *explainapi.Status) string {
	at := slices.IndexFunc(s.Conditions, func(c explainapi.Condition) bool { return c.Reason == "FailedUpdateScale" })
	if at < 0 || s.Conditions[at].Message == "" {
		return "FailedUpdateScale"
	}
	return strings.TrimPrefix(s.Conditions[at].Message, "the HPA controller was unable to update the target scale: ")
}

// shortenLoggedError returns the first error that was answered.
func shortenLoggedError(d *explainapi.Decision) string {
	for _, r := range d.Reads {
		if r.Error != "" {
			return r.Error
		}
	}
	return "a metric of another API failed"
}

func describeLoggedLimits(look replay.Look, spec *autoscalingv2.HorizontalPodAutoscalerSpec) string {
	switch {
	case look.Replicas == 0:
		return "scaled to 0, which switches the autoscaler off"
	case look.Replicas > spec.MaxReplicas:
		return fmt.Sprintf("above maxReplicas %d", spec.MaxReplicas)
	case len(spec.Metrics) == 0:
		return "the autoscaler has no metric"
	}
	return "below minReplicas"
}

// describeLoggedSteps returns the way from the winning metric to the number, and the kind of the cause.
func describeLoggedSteps(look replay.Look, spec *autoscalingv2.HorizontalPodAutoscalerSpec) (kind, cause string) {
	d := look.Decision
	m := d.Metrics[d.Winner]
	kind = string(m.Stage)
	cause = fmt.Sprintf("%s %s, target %s → %d", loggedMetricName(&spec.Metrics[d.Winner]), formatLoggedUsage(m, &spec.Metrics[d.Winner]),
		reading.FormatTarget(reading.TargetOf(spec.Metrics[d.Winner])), m.Replicas)
	if m.Stage == hpa.StageTolerated {
		cause += ", within the tolerance"
	}
	if n := len(m.Pods.Missing); n > 0 {
		cause += fmt.Sprintf(", %s without a value", output.Count(n, "pod"))
	}
	if d.Err != nil {
		kind += " partly"
		cause += "; another metric has no value"
	}
	if st := d.Stabilization; st != nil && st.Holding != nil {
		kind += " held"
		held := replay.NewHeldWish(look)
		cause += fmt.Sprintf("; held by the %d wanted at %s, until %s", held.Replicas, held.Time.Format(logTime), held.Until.Format(logTime))
	}
	if d.Limit != nil && d.Limit.Replicas != d.Stabilization.Replicas {
		kind += " " + d.Limit.Reason
		cause += "; " + describeLoggedLimit(d.Limit)
	}
	return kind, cause
}

// listLoggedMetrics returns the metrics of a look with the steps of its arithmetic.
func listLoggedMetrics(d *explainapi.Decision, look replay.Look, spec *autoscalingv2.HorizontalPodAutoscalerSpec) []MetricSteps {
	var metrics []MetricSteps
	for i, decision := range look.Decision.Metrics {
		target := reading.TargetOf(spec.Metrics[i])
		m := MetricSteps{Name: loggedMetricName(&spec.Metrics[i]), Target: reading.FormatTarget(target), decision: decision, shared: target.Value == nil}
		if decision.Err != nil {
			m.Error = decision.Err.Error()
			metrics = append(metrics, m)
			continue
		}
		m.ofPods = spec.Metrics[i].Object == nil && spec.Metrics[i].External == nil
		if m.pods = int64(look.Replicas); m.ofPods {
			m.pods = int64(len(decision.Pods.Ready) + len(decision.Pods.Unknown))
		}
		m.total = sumLoggedValues(d, i, decision)
		m.Total = m.formatExplainedAmount(m.total)
		if m.utilization = target.AverageUtilization != nil; m.utilization {
			m.Total = strconv.FormatInt(decision.Usage, 10) + "%"
		}
		m.Ratio, m.Wish = formatUsageRatio(decision), new(decision.Replicas)
		m.Steps = m.listDecisionSteps()
		metrics = append(metrics, m)
	}
	return metrics
}

// sumLoggedValues returns the sum of the values that a metric's decision counted.
func sumLoggedValues(d *explainapi.Decision, metric int, decision hpa.MetricDecision) int64 {
	total := int64(0)
	for _, r := range d.Reads {
		if r.Metric != metric {
			continue
		}
		for _, v := range r.Values {
			if v.Pod == "" || slices.Contains(decision.Pods.Ready, v.Pod) || slices.Contains(decision.Pods.Unknown, v.Pod) {
				total += v.Milli
			}
		}
		break
	}
	return total
}

func describeLoggedLimit(l *hpa.Limit) string {
	switch l.Reason {
	case "TooManyReplicas":
		return fmt.Sprintf("maxReplicas is %d", l.Replicas)
	case "TooFewReplicas":
		return fmt.Sprintf("minReplicas is %d", l.Replicas)
	case "ScaleUpLimit":
		return fmt.Sprintf("the rate of scale-up permits %d", l.Replicas)
	case "ScaleDownLimit":
		return fmt.Sprintf("the rate of scale-down permits %d", l.Replicas)
	}
	return l.Reason
}

// formatLoggedUsage returns the usage that the target is compared with: a mean per pod, a total or a utilization.
func formatLoggedUsage(m hpa.MetricDecision, spec *autoscalingv2.MetricSpec) string {
	target := reading.TargetOf(*spec)
	if target.AverageUtilization != nil {
		return strconv.FormatInt(m.Usage, 10) + "%"
	}
	if m.IsShareOfNone() {
		return formatExplainedMetricAmount(loggedMetricName(spec), reading.FormatAmount(reading.FormatTarget(target), m.Total), m.Total) + " over 0 pods"
	}
	text := formatExplainedMetricAmount(loggedMetricName(spec), reading.FormatAmount(reading.FormatTarget(target), m.Usage), m.Usage)
	switch {
	case target.Value == nil:
		text += " per pod"
	case m.Counted > 0:
		text += " with " + output.Count(m.Counted, "ready pod")
	}
	return text
}

func loggedMetricName(m *autoscalingv2.MetricSpec) string {
	return inventory.BareMetricName(inventory.DescribeMetric(*m))
}

// Print writes the log as a table, and the replica that recorded it.
func (l *Log) Print(out io.Writer, opts output.TableOptions) error {
	table := output.Table{Header: []string{"TIME (UTC)", "LOOKS", "PODS", "WANTED", "CAUSE"}}
	layout := l.chooseLogLayout()
	for _, d := range l.Decisions {
		pods, wanted := fmt.Sprint(d.Replicas), fmt.Sprint(d.Wanted)
		if d.Unknown {
			pods, wanted = "?", "?"
		}
		table.Add(d.Time.UTC().Format(layout), strconv.Itoa(d.Looks), pods, wanted, d.Cause)
	}
	if len(table.Rows) > 0 {
		if err := table.Print(out, opts); err != nil {
			return err
		}
		fmt.Fprintln(out)
	}
	_, err := fmt.Fprintln(out, plaintext.Clean(strings.Join(l.listLogNotes(), " ")))
	return err
}

// chooseLogLayout returns the layout of the times of decisions.
func (l *Log) chooseLogLayout() string {
	if len(l.Decisions) == 0 {
		return logTime
	}
	return output.ChooseTimeLayout(l.Source.Time, l.Decisions[0].Time, l.Decisions[len(l.Decisions)-1].Time)
}

// listLogNotes returns the sentences below the table.
func (l *Log) listLogNotes() []string {
	notes := []string{fmt.Sprintf("Recorded by %s; %s.", records.NameRecorders(l.Source), records.DescribeBegin(l.Source))}
	notes = append(notes, records.ListSourceNotes(l.Source)...)
	if len(l.Decisions) == 0 {
		notes = append(notes, "It saw no decision in this time.")
	}
	return notes
}
