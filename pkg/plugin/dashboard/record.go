package dashboard

// This file keeps the numbers of the looks over an hour, and the decisions.

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tachometer-metrics/tachometer/pkg/plugin/explain"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/inventory"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/reading"
)

const (
	// keptTime is the age up to which numbers are kept.
	keptTime = time.Hour
	// maxDecisions bounds the decisions that are kept of an autoscaler: at one every 15 s, the last 50 minutes.
	maxDecisions = 200
)

// chartRecords have a record for each autoscaler that exists.
type chartRecords struct {
	started time.Time

	mu      sync.RWMutex // guards records
	records map[types.NamespacedName]*autoscalerRecord
}

var _ DecisionSource = (*chartRecords)(nil)

func newChartRecords(started time.Time) *chartRecords {
	return &chartRecords{started: started, records: map[types.NamespacedName]*autoscalerRecord{}}
}

// setStart corrects the begin of the records, once the cluster's clock is known.
func (b *chartRecords) setStart(started time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.started = started
}

// autoscalerRecord is all that the looks showed of one autoscaler.
type autoscalerRecord struct {
	since     time.Time // of the first look
	last      autoscalerLook
	points    []recordedPoint
	decisions []Decision // oldest first
}

// autoscalerLook is an autoscaler as one look showed it, with the answers of that look.
type autoscalerLook struct {
	time        time.Time
	autoscaler  *autoscalingv2.HorizontalPodAutoscaler
	objects     *inventory.Inventory
	metrics     reading.MetricReader
	view        autoscalerView
	explanation *explain.Explanation
	series      []metricSeries // without columns
	amounts     []metricAmount
}

// lastScaleTime returns the time of the last scale; zero without one.
func (l autoscalerLook) lastScaleTime() time.Time {
	if l.autoscaler.Status.LastScaleTime == nil {
		return time.Time{}
	}
	return l.autoscaler.Status.LastScaleTime.Time
}

// recordedPoint has the numbers of one look.
type recordedPoint struct {
	time         time.Time
	wanted, pods int32
	ready        int // -1: unknown
	amounts      []metricAmount
}

// recordLooks adds a look at all autoscalers. Autoscalers that it lacks are gone, with their records. While a scale is under way, the
// reason of the decision replaces the reason by the pods of the moment. Calls come one after the other.
func (b *chartRecords) recordLooks(ctx context.Context, looks []autoscalerLook) {
	decisions := make([]*Decision, len(looks))
	for i := range looks {
		if record := b.findAutoscalerRecord(looks[i]); record != nil {
			decisions[i] = findChartedDecision(ctx, record.last, looks[i])
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	kept := map[types.NamespacedName]*autoscalerRecord{}
	for i := range looks {
		record := b.findAutoscalerRecord(looks[i])
		if record == nil {
			record = &autoscalerRecord{since: looks[i].time}
		}
		record.addRecordedLook(&looks[i], decisions[i])
		kept[looks[i].autoscalerLookKey()] = record
	}
	b.records = kept
}

func (l autoscalerLook) autoscalerLookKey() types.NamespacedName {
	return types.NamespacedName{Namespace: l.view.Namespace, Name: l.view.Name}
}

// findAutoscalerRecord returns the record of an autoscaler, or nil if the autoscaler is new or was made anew.
func (b *chartRecords) findAutoscalerRecord(look autoscalerLook) *autoscalerRecord {
	record := b.records[look.autoscalerLookKey()]
	if record == nil || record.last.autoscaler.UID != look.autoscaler.UID {
		return nil
	}
	return record
}

// addRecordedLook adds the numbers of a look, and its decision.
func (r *autoscalerRecord) addRecordedLook(look *autoscalerLook, decision *Decision) {
	if decision != nil {
		r.decisions = append(r.decisions, *decision)
	}
	if n := len(r.decisions) - maxDecisions; n > 0 {
		r.decisions = slices.Delete(r.decisions, 0, n)
	}
	row := look.view.Row
	if n := len(r.decisions); n > 0 && row.Wanted != row.Replicas && r.decisions[n-1].To == row.Wanted && r.decisions[n-1].From == row.Replicas {
		under := r.decisions[n-1]
		look.view.Sentence = under.Sentence
		look.explanation.Sentence, look.explanation.Metrics, look.explanation.Changes = under.Sentence, under.Metrics, under.Changes
	}
	// After a clock was set back, the points of the time to come would stay until it is there.
	r.points = slices.DeleteFunc(r.points, func(p recordedPoint) bool { return p.time.After(look.time) })
	r.points = append(r.points, recordedPoint{look.time, row.Wanted, row.Replicas, row.Ready, look.amounts})
	old := slices.IndexFunc(r.points, func(p recordedPoint) bool { return look.time.Sub(p.time) <= keptTime })
	r.points = slices.Delete(r.points, 0, old)
	r.last = *look
}

// ListDecisions implements DecisionSource.
func (b *chartRecords) ListDecisions(_ context.Context, namespace, name string) ([]Decision, time.Time, error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	record := b.records[types.NamespacedName{Namespace: namespace, Name: name}]
	if record == nil {
		return nil, b.started, nil
	}
	decisions := slices.Clone(record.decisions)
	slices.Reverse(decisions)
	return decisions, record.since, nil
}

// viewAutoscalerRecord returns the page of an autoscaler without its decisions, or nil where it does not exist.
func (b *chartRecords) viewAutoscalerRecord(namespace, name string) *autoscalerDetail {
	b.mu.RLock()
	defer b.mu.RUnlock()
	record := b.records[types.NamespacedName{Namespace: namespace, Name: name}]
	if record == nil {
		return nil
	}
	return &autoscalerDetail{
		autoscalerView: record.last.view, Time: record.last.time, Explanation: record.last.explanation, Series: record.listRecordedSeries(),
	}
}

// listRecordedSeries returns the points by column, for the metrics that the autoscaler has now.
func (r *autoscalerRecord) listRecordedSeries() autoscalerSeries {
	s := autoscalerSeries{Metrics: slices.Clone(r.last.series)}
	for _, p := range r.points {
		s.Time = append(s.Time, p.time.Unix())
		s.Wanted, s.Pods = append(s.Wanted, p.wanted), append(s.Pods, p.pods)
		var ready *int
		if p.ready >= 0 {
			ready = &p.ready
		}
		s.Ready = append(s.Ready, ready)
		for i := range s.Metrics {
			m := &s.Metrics[i]
			load, value := p.findRecordedAmount(m.Name)
			m.Load, m.Value = append(m.Load, load), append(m.Value, value)
		}
	}
	return s
}

func (p recordedPoint) findRecordedAmount(name string) (load, value *float64) {
	for _, a := range p.amounts {
		if a.name == name {
			return newChartNumber(a.load), newChartNumber(a.value)
		}
	}
	return nil, nil
}

// newChartNumber returns nil for a number that could not be read or is beyond a float: JSON has no NaN and no infinity.
func newChartNumber(n float64) *float64 {
	if math.IsNaN(n) || math.IsInf(n, 0) {
		return nil
	}
	return &n
}
