// Package top shows autoscalers as a table: the value of each metric beside its target, the pods, and the state in a word.
package top

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"

	"github.com/tachometer-metrics/tachometer/pkg/hpa"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/inventory"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/output"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/reading"
)

// maxParallelReads bounds the reads at a time: kube-apiserver serves others too.
const maxParallelReads = 8

// Row is one autoscaler.
type Row struct {
	Namespace string   `json:"namespace"`
	Name      string   `json:"name"`
	Target    string   `json:"target"`
	Metrics   []Metric `json:"metrics"`
	Min       int32    `json:"min"`
	Max       int32    `json:"max"`
	Replicas  int32    `json:"replicas"`
	Wanted    int32    `json:"wanted"`
	// Ready is -1 where the pods could not be read.
	Ready  int       `json:"ready"`
	Oldest time.Time `json:"oldestValue,omitzero"`
	State  State     `json:"state"`

	ahead time.Duration // of the clock that dates the values before this machine's
}

// Metric is a value beside its target, in the target's terms.
type Metric struct {
	Name   string `json:"name"`
	Value  string `json:"value"` // "?" without one
	Target string `json:"target"`
	Error  string `json:"error,omitempty"`
}

// State is the state of an autoscaler in a word.
type State string

// The states, from the worst to the best.
const (
	StateBroken  State = "broken"  // no metric gives a wish, or the controller cannot scale
	StatePartial State = "partial" // some metric gives none
	StateOff     State = "off"     // switched off by 0 replicas
	StateLimited State = "limited" // wants more than maxReplicas
	StateRising  State = "rising"
	StateFalling State = "falling"
	StateHeld    State = "held"    // an earlier, higher wish holds the number up
	StateMinimum State = "minimum" // wants less than minReplicas
	StateNew     State = "new"     // the controller has not looked yet
	StateSteady  State = "steady"
)

// Report is a table of autoscalers, with the resources that could not be read.
type Report struct {
	Items  []Row              `json:"items"`
	Unread []inventory.Unread `json:"unread,omitempty"`
}

// Read reads the metrics of all autoscalers of the inventory.
func Read(ctx context.Context, objects *inventory.Inventory, metrics reading.MetricReader, now time.Time) *Report {
	report := &Report{Items: make([]Row, len(objects.HPAs)), Unread: objects.Unread}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxParallelReads)
	for i := range objects.HPAs {
		group.Go(func() error {
			report.Items[i] = readAutoscalerRow(ctx, objects, metrics, &objects.HPAs[i], now)
			return nil
		})
	}
	_ = group.Wait() // no read fails the table: a row shows the failure
	return report
}

// topRead is an autoscaler with the answers to the reads of its metrics.
type topRead struct {
	autoscaler *autoscalingv2.HorizontalPodAutoscaler
	workload   *inventory.Workload  // nil if unknown
	pods       []*corev1.Pod        // that have not ended
	selected   []*corev1.Pod        // all, as the HPA controller lists them
	answers    []reading.Answer     // without a metric's name where the read needs unknown pods
	decisions  []hpa.MetricDecision // the HPA's own on the answers; none without pods
}

func readAutoscalerRow(ctx context.Context, objects *inventory.Inventory, metrics reading.MetricReader, autoscaler *autoscalingv2.HorizontalPodAutoscaler, now time.Time) Row {
	row := Row{
		Namespace: autoscaler.Namespace, Name: autoscaler.Name,
		Target: strings.ToLower(autoscaler.Spec.ScaleTargetRef.Kind) + "/" + autoscaler.Spec.ScaleTargetRef.Name,
		Min:    inventory.MinReplicasOf(autoscaler), Max: autoscaler.Spec.MaxReplicas,
		Replicas: autoscaler.Status.CurrentReplicas, Wanted: autoscaler.Status.DesiredReplicas, Ready: -1,
		Metrics: []Metric{}, // JSON writes none as a list
	}
	r := topRead{autoscaler: autoscaler, workload: objects.WorkloadOf(autoscaler), answers: make([]reading.Answer, len(autoscaler.Spec.Metrics))}
	selector := ""
	if r.workload != nil {
		selector, r.pods, r.selected = r.workload.PodSelector().String(), objects.PodsOf(r.workload), objects.SelectedPodsOf(r.workload)
		if !objects.IsUnread("pods") {
			row.Ready = countReadyRowPods(r.pods)
		}
	}
	for i, spec := range autoscaler.Spec.Metrics {
		if r.workload != nil || spec.Object != nil || spec.External != nil {
			r.answers[i] = metrics.ReadMetric(ctx, autoscaler.Namespace, selector, spec, inventory.DescribeMetric(spec))
		}
	}
	row.ahead = reading.FindClockAhead(r.answers)
	r.decideRowMetrics(now.Add(row.ahead))
	failed := 0
	for i := range autoscaler.Spec.Metrics {
		m, isFailed := r.newRowMetric(i)
		if isFailed {
			failed++
		}
		if oldest := r.answers[i].Oldest(); m.Error == "" && !oldest.IsZero() && (row.Oldest.IsZero() || oldest.Before(row.Oldest)) {
			row.Oldest = oldest
		}
		row.Metrics = append(row.Metrics, m)
	}
	row.State = judgeAutoscalerState(autoscaler, failed)
	return row
}

// decideRowMetrics lets the HPA's arithmetic decide on the answers, where there are pods.
func (r *topRead) decideRowMetrics(now time.Time) {
	if len(r.pods) == 0 {
		return
	}
	in := reading.NewDecisionInput(r.autoscaler, r.answers, r.selected, now)
	in.StatusReplicas = cmp.Or(r.workload.StatusReplicas, in.StatusReplicas)
	r.decisions = reading.DecideMetrics(in)
}

// newRowMetric returns the i-th metric, and whether the HPA controller has no wish of it. At 0 replicas no metric of pods has a value.
func (r *topRead) newRowMetric(i int) (m Metric, isFailed bool) {
	spec, answer := r.autoscaler.Spec.Metrics[i], r.answers[i]
	target := reading.TargetOf(spec)
	m = Metric{Name: inventory.DescribeMetric(spec), Value: "?", Target: reading.FormatTarget(target)}
	err := answer.Err
	if err == nil && i < len(r.decisions) {
		err = r.decisions[i].Err
	}
	switch {
	case answer.Metric == "":
		m.Error, m.Value = "its pods are unknown", formatRowStatusValue(r.autoscaler, i)
	case reading.IsOwnFailure(err):
		m.Error, m.Value = err.Error(), formatRowStatusValue(r.autoscaler, i)
	case err != nil:
		m.Error = err.Error()
		isAtZero := r.autoscaler.Status.CurrentReplicas == 0 && len(r.autoscaler.Status.Conditions) > 0 && len(r.pods) == 0
		return m, !isAtZero || spec.Object != nil || spec.External != nil
	case i < len(r.decisions) && target.AverageUtilization == nil:
		m.Value = reading.FormatAmount(m.Target, r.decisions[i].Usage)
	default:
		m.Value = formatRowMetricValue(r.autoscaler, i, answer.Values)
	}
	return m, false
}

func countReadyRowPods(pods []*corev1.Pod) int {
	ready := 0
	for _, p := range pods {
		if inventory.IsReady(p) {
			ready++
		}
	}
	return ready
}

// formatRowMetricValue returns values in the terms of the metric's target: the mean over pods, the total, or the total shared by the replicas.
func formatRowMetricValue(hpa *autoscalingv2.HorizontalPodAutoscaler, i int, values []reading.Value) string {
	spec := hpa.Spec.Metrics[i]
	target := reading.TargetOf(spec)
	if target.AverageUtilization != nil {
		return formatRowStatusValue(hpa, i) // the requests of the pods are behind it; the controller has done the sum
	}
	var sum int64
	for _, v := range values {
		sum += v.Value.MilliValue()
	}
	shares := int64(1)
	switch {
	case spec.Object == nil && spec.External == nil:
		shares = int64(len(values))
	case target.AverageValue != nil:
		shares = max(1, int64(hpa.Status.CurrentReplicas)) // at 0 replicas the total
	}
	if len(values) == 0 || shares == 0 {
		return "?"
	}
	share := float64(sum) / float64(shares)
	if spec.Object != nil || spec.External != nil { // the HPA controller rounds the share of a total up
		share = math.Ceil(share)
	}
	return reading.FormatAmount(reading.FormatTarget(target), int64(share))
}

// formatRowStatusValue returns the value that the HPA controller wrote last.
func formatRowStatusValue(hpa *autoscalingv2.HorizontalPodAutoscaler, i int) string {
	if i >= len(hpa.Status.CurrentMetrics) {
		return "?"
	}
	current, target := reading.CurrentOf(hpa.Status.CurrentMetrics[i]), "?"
	if i < len(hpa.Spec.Metrics) {
		target = reading.FormatTarget(reading.TargetOf(hpa.Spec.Metrics[i]))
	}
	switch {
	case current.AverageUtilization != nil:
		return strconv.Itoa(int(*current.AverageUtilization)) + "%"
	case current.AverageValue != nil:
		return reading.FormatAmount(target, current.AverageValue.MilliValue())
	case current.Value != nil:
		return reading.FormatAmount(target, current.Value.MilliValue())
	}
	return "?"
}

// judgeAutoscalerState returns the state of an autoscaler of which so many metrics could not be read.
func judgeAutoscalerState(hpa *autoscalingv2.HorizontalPodAutoscaler, failed int) State {
	reasons := map[string]bool{}
	active, able := corev1.ConditionUnknown, corev1.ConditionUnknown
	for _, c := range hpa.Status.Conditions {
		reasons[c.Reason] = true
		if c.Type == autoscalingv2.ScalingActive {
			active = c.Status
		}
		if c.Type == autoscalingv2.AbleToScale {
			able = c.Status
		}
	}
	wanted, now := hpa.Status.DesiredReplicas, hpa.Status.CurrentReplicas
	switch {
	case reasons["ScalingDisabled"]:
		return StateOff
	case active == corev1.ConditionFalse, able == corev1.ConditionFalse, failed > 0 && failed == len(hpa.Spec.Metrics):
		return StateBroken
	case failed > 0:
		return StatePartial
	case reasons["TooManyReplicas"]:
		return StateLimited
	case len(hpa.Status.Conditions) == 0 && wanted == 0 && now == 0:
		return StateNew
	case wanted > now:
		return StateRising
	case wanted < now:
		return StateFalling
	case reasons["ScaleDownStabilized"]:
		return StateHeld
	case reasons["TooFewReplicas"]:
		return StateMinimum
	}
	return StateSteady
}

// Print writes the table. Wide adds the target, the limits and the errors.
func (r *Report) Print(out io.Writer, now time.Time, opts output.TableOptions) error {
	table := output.Table{Header: []string{"NAME", "METRICS", "REPLICAS", "WANTED", "READY", "AGE", "STATE"}}
	if opts.WithNamespace {
		table.Header = append([]string{"NAMESPACE"}, table.Header...)
	}
	if opts.Wide {
		table.Header = append(table.Header, "REFERENCE", "MIN", "MAX", "ERROR")
	}
	for _, row := range r.Items {
		cells := row.formatRowCells(now)
		if opts.WithNamespace {
			cells = append([]string{row.Namespace}, cells...)
		}
		if opts.Wide {
			cells = append(cells, row.Target, strconv.Itoa(int(row.Min)), strconv.Itoa(int(row.Max)), row.firstRowMetricError())
		}
		table.Add(cells...)
	}
	return table.Print(out, opts)
}

func (r Row) formatRowCells(now time.Time) []string {
	var metrics []string
	for _, m := range r.Metrics {
		metrics = append(metrics, fmt.Sprintf("%s: %s/%s", strings.TrimSuffix(m.Name, " of pods"), m.Value, m.Target))
	}
	ready := "?"
	if r.Ready >= 0 {
		ready = strconv.Itoa(r.Ready)
	}
	return []string{
		r.Name, strings.Join(metrics, ", "), strconv.Itoa(int(r.Replicas)), strconv.Itoa(int(r.Wanted)), ready,
		output.Age(r.Oldest, now.Add(r.ahead)), string(r.State),
	}
}

func (r Row) firstRowMetricError() string {
	for _, m := range r.Metrics {
		if m.Error != "" {
			return m.Error
		}
	}
	return ""
}
