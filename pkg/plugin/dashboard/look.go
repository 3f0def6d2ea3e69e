package dashboard

// This file reads the cluster once: the same reads as `top` and `explain`, each path once.

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/tachometer-metrics/tachometer/pkg/plugin/explain"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/inventory"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/reading"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/records"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/top"
)

// Look reads the cluster once, and keeps the result. Where autoscalers cannot be listed, the last look stays, with the cause.
func (s *PageServer) Look(ctx context.Context) {
	s.looks.Lock()
	defer s.looks.Unlock()
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	s.compareClocks(ctx)
	now, last := s.now(), s.last.Load()
	next := *last
	next.Sequence, next.Command = last.Sequence+1, s.newCommandWriter("").writeTopCommand()
	metrics := s.opts.Metrics
	metrics.Reader = newOnceReader(metrics.Reader)
	if metrics.Now != nil {
		metrics.Now = s.now
	}
	objects := inventory.ReadScaled(ctx, s.opts.Client, s.opts.Namespace)
	objects.AddScaleTargets(ctx, metrics)
	if reason := findAutoscalerFailure(objects.Unread); reason != "" {
		next.Failed = &failedLook{Since: now, Reason: reason}
		if last.Failed != nil {
			next.Failed.Since = last.Failed.Since
		}
		s.last.Store(&next)
		return
	}
	looks := s.readAutoscalerLooks(ctx, objects, metrics, now)
	s.records.recordLooks(ctx, looks)
	next.Time, next.Failed, next.Unread = now, nil, slices.Clone(objects.Unread)
	next.Targets = s.readTargetList(ctx, metrics.Reader, last.Targets, now)
	next.Families = s.readFamilyList(ctx, metrics.Reader, last.Families, now)
	next.Autoscalers, next.Faults = make([]autoscalerView, len(looks)), []faultView{}
	for i, look := range looks {
		next.Autoscalers[i] = look.view
		next.Faults = append(next.Faults, listLookFaults(look)...)
		next.Unread = append(next.Unread, listUnreadRowMetrics(look)...)
	}
	if next.Holds = s.readHoldList(ctx, metrics.Reader); next.Holds.Installed {
		next.Calendars = s.readCalendarList(ctx, last.Calendars, now)
	}
	s.last.Store(&next)
}

// findAutoscalerFailure returns the cause for which autoscalers could not be listed, or nothing.
func findAutoscalerFailure(unread []inventory.Unread) string {
	for _, u := range unread {
		if u.Resource == "horizontalpodautoscalers" {
			return u.Reason
		}
	}
	return ""
}

func (s *PageServer) readAutoscalerLooks(ctx context.Context, objects *inventory.Inventory, metrics reading.MetricReader, now time.Time) []autoscalerLook {
	rows := top.Read(ctx, objects, metrics, now).Items
	looks := make([]autoscalerLook, len(rows))
	explanations := s.explainAutoscalerLooks(ctx, objects, metrics, rows, now)
	for i, row := range rows {
		hpa, e := &objects.HPAs[i], explanations[i]
		look := autoscalerLook{
			time: now, autoscaler: hpa, objects: objects, metrics: metrics, explanation: e, view: autoscalerView{Row: row, Sentence: e.Sentence},
		}
		selector := ""
		if w := objects.WorkloadOf(hpa); w != nil {
			selector = w.PodSelector().String()
		}
		look.view.Commands = s.newCommandWriter(hpa.Namespace).writeAutoscalerCommands(hpa.Name, selector)
		for n, spec := range hpa.Spec.Metrics {
			answer := reading.Answer{}
			if selector != "" || spec.Object != nil || spec.External != nil {
				answer = metrics.ReadMetric(ctx, hpa.Namespace, selector, spec, row.Metrics[n].Name)
			}
			look.series = append(look.series, newMetricSeries(row.Metrics[n], spec))
			look.amounts = append(look.amounts, newMetricAmount(row.Metrics[n], answer))
			look.view.Commands.Values = append(look.view.Commands.Values, s.newCommandWriter(hpa.Namespace).writeRawCommand(answer.Path))
		}
		looks[i] = look
	}
	return looks
}

// explainAutoscalerLooks explains each row. The first rows that need the adapter's record get it.
func (s *PageServer) explainAutoscalerLooks(ctx context.Context, objects *inventory.Inventory, metrics reading.MetricReader, rows []top.Row, now time.Time) []*explain.Explanation {
	all := make([]*explain.Explanation, len(rows))
	for i := range rows {
		all[i] = explain.Live(ctx, &objects.HPAs[i], explain.Options{Objects: objects, Metrics: metrics, Now: now})
	}
	for i, recorded := range readLookRecords(ctx, rows, all, metrics.Reader) {
		if recorded != (explain.Recorded{}) {
			all[i] = explain.Live(ctx, &objects.HPAs[i], explain.Options{Objects: objects, Metrics: metrics, Now: now, Recorded: recorded})
		}
	}
	return all
}

// maxLookRecords bounds the records that a look reads, all at a time: the adapter asks its other replicas for each.
const maxLookRecords = 8

// rowNeedsRecord reports whether the record has more than a live read: until when a number is held, and why an answer leaves a ready pod out.
func rowNeedsRecord(row top.Row, e *explain.Explanation) bool {
	return row.State == top.StateHeld || slices.ContainsFunc(e.Pods, func(p explain.Pod) bool {
		return p.Ready && slices.ContainsFunc(p.Values, func(v explain.PodValue) bool { return v.Value == "" && !e.IsBroken(v.Metric) })
	})
}

// readLookRecords returns the adapter's record of the first rows that need it, by the index of the row.
func readLookRecords(ctx context.Context, rows []top.Row, explanations []*explain.Explanation, reader reading.Reader) []explain.Recorded {
	recorded := make([]explain.Recorded, len(rows))
	group, reads := errgroup.Group{}, 0
	for i, row := range rows {
		if reads == maxLookRecords || !rowNeedsRecord(row, explanations[i]) {
			continue
		}
		reads++
		group.Go(func() error {
			e, err := records.ReadExplanation(ctx, reader, row.Namespace, row.Name)
			if err != nil {
				recorded[i].Missing = err.Error()
				return nil
			}
			recorded[i].Explanation = e
			return nil
		})
	}
	_ = group.Wait() // no read fails the look: the page shows the gap
	return recorded
}

// listLookFaults returns the metrics of an autoscaler without a value, and the ready pods that a value lacks.
func listLookFaults(look autoscalerLook) []faultView {
	var faults []faultView
	fault := faultView{Namespace: look.view.Namespace, Name: look.view.Name, Command: look.view.Commands.Doctor}
	for _, m := range look.explanation.Metrics {
		if m.Error != "" && !m.Unread {
			fault.Metric, fault.Reason = m.Name, m.Error
			faults = append(faults, fault)
		}
	}
	for _, p := range look.explanation.Pods {
		for _, v := range p.Values {
			if p.Ready && v.Value == "" && !look.explanation.IsBroken(v.Metric) {
				fault.Metric, fault.Pod, fault.Reason = v.Metric, p.Name, v.Note
				faults = append(faults, fault)
			}
		}
	}
	return faults
}

// listUnreadRowMetrics returns the metrics of an autoscaler that the user may not read.
func listUnreadRowMetrics(look autoscalerLook) (unread []inventory.Unread) {
	for _, m := range look.explanation.Metrics {
		if m.Unread {
			unread = append(unread, inventory.Unread{Resource: fmt.Sprintf("%s for hpa/%s in namespace %s", m.Name, look.view.Name, look.view.Namespace), Reason: m.Error})
		}
	}
	return unread
}

// metricAmount has the numbers of a metric at one look, for the charts. NaN is a number that could not be read.
type metricAmount struct {
	name  string
	load  float64 // the sum of all values
	value float64 // beside the target
}

func newMetricAmount(m top.Metric, answer reading.Answer) metricAmount {
	a := metricAmount{m.Name, math.NaN(), math.NaN()}
	if m.Error != "" || answer.Err != nil || len(answer.Values) == 0 {
		return a
	}
	var sum resource.Quantity
	for _, v := range answer.Values {
		sum.Add(v.Value)
	}
	a.load, a.value = sum.AsApproximateFloat64(), parseChartNumber(m.Value)
	return a
}

// newMetricSeries returns the series of a metric without its columns.
func newMetricSeries(m top.Metric, spec autoscalingv2.MetricSpec) metricSeries {
	target := reading.TargetOf(spec)
	return metricSeries{
		Name: m.Name, Target: newChartNumber(parseChartNumber(m.Target)), Usage: target.AverageUtilization != nil, Share: target.Value == nil,
		Rate: inventory.IsRateMetric(m.Name),
	}
}

// parseChartNumber returns the number of a quantity or a percentage; NaN for "?".
func parseChartNumber(text string) float64 {
	q, err := resource.ParseQuantity(strings.TrimSuffix(text, "%"))
	if err != nil {
		return math.NaN()
	}
	return q.AsApproximateFloat64()
}

// onceReader reads each path once: the table, the explanation and the charts show the same answer.
type onceReader struct {
	reader reading.Reader

	mu    sync.Mutex // guards reads
	reads map[string]func() ([]byte, error)
}

var _ reading.Reader = (*onceReader)(nil)

func newOnceReader(r reading.Reader) *onceReader {
	return &onceReader{reader: r, reads: map[string]func() ([]byte, error){}}
}

// Read implements reading.Reader. All callers of a path share the first one's context.
func (o *onceReader) Read(ctx context.Context, path string) ([]byte, error) {
	o.mu.Lock()
	read, ok := o.reads[path]
	if !ok {
		read = sync.OnceValues(func() ([]byte, error) { return o.reader.Read(ctx, path) })
		o.reads[path] = read
	}
	o.mu.Unlock()
	return read()
}
