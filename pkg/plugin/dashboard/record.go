package dashboard

// This file keeps what the looks showed: the numbers over an hour, and the decisions.

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tachometer-metrics/tachometer/pkg/plugin/explain"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/top"
)

const (
	// keptTime is the age up to which numbers are kept.
	keptTime = time.Hour
	// maxDecisions bounds the decisions that are kept of an autoscaler: at one every 15 s, the last 50 minutes.
	maxDecisions = 200
)

// recordBook has a record for each autoscaler that exists.
type recordBook struct {
	started time.Time

	mu      sync.RWMutex // guards records
	records map[types.NamespacedName]*autoscalerRecord
}

var _ DecisionSource = (*recordBook)(nil)

func newRecordBook(started time.Time) *recordBook {
	return &recordBook{started: started, records: map[types.NamespacedName]*autoscalerRecord{}}
}

// autoscalerRecord is all that the looks showed of one autoscaler.
type autoscalerRecord struct {
	uid       types.UID
	since     time.Time // of the first look
	last      autoscalerLook
	points    []recordedPoint
	decisions []Decision // oldest first
}

// autoscalerLook is an autoscaler as one look showed it.
type autoscalerLook struct {
	time        time.Time
	uid         types.UID
	scaledAt    time.Time
	view        autoscalerView
	explanation *explain.Explanation
	series      []metricSeries // without columns
	amounts     []metricAmount
}

// recordedPoint has the numbers of one look.
type recordedPoint struct {
	time         time.Time
	wanted, pods int32
	ready        int // -1: unknown
	amounts      []metricAmount
}

// recordLooks adds a look at all autoscalers. Autoscalers that it lacks are gone, with their records.
func (b *recordBook) recordLooks(looks []autoscalerLook) {
	b.mu.Lock()
	defer b.mu.Unlock()
	kept := map[types.NamespacedName]*autoscalerRecord{}
	for _, look := range looks {
		key := types.NamespacedName{Namespace: look.view.Namespace, Name: look.view.Name}
		record := b.records[key]
		if record == nil || record.uid != look.uid {
			record = &autoscalerRecord{uid: look.uid, since: look.time, last: look}
		}
		record.addRecordedLook(look)
		kept[key] = record
	}
	b.records = kept
}

// addRecordedLook adds the numbers of a look, and a decision where they differ from those of the last one.
func (r *autoscalerRecord) addRecordedLook(look autoscalerLook) {
	before, row := r.last.view.Row, look.view.Row
	decision := Decision{
		Time: look.time, From: before.Wanted, To: row.Wanted,
		Sentence: look.explanation.Sentence, Metrics: look.explanation.Metrics, Changes: look.explanation.Changes,
	}
	if !look.scaledAt.Equal(r.last.scaledAt) {
		decision.ScaledAt = look.scaledAt
	}
	switch lost := isFaultyState(row.State); {
	case before.Wanted != row.Wanted, !decision.ScaledAt.IsZero():
		r.decisions = append(r.decisions, decision)
	case lost != isFaultyState(before.State):
		decision.Fault = "back"
		if lost {
			decision.Fault = "lost"
		}
		r.decisions = append(r.decisions, decision)
	}
	if n := len(r.decisions) - maxDecisions; n > 0 {
		r.decisions = slices.Delete(r.decisions, 0, n)
	}
	r.points = append(r.points, recordedPoint{look.time, row.Wanted, row.Replicas, row.Ready, look.amounts})
	old := slices.IndexFunc(r.points, func(p recordedPoint) bool { return look.time.Sub(p.time) <= keptTime })
	r.points = slices.Delete(r.points, 0, old)
	r.last = look
}

func isFaultyState(s top.State) bool { return s == top.StateBroken || s == top.StatePartial }

// ListDecisions implements DecisionSource.
func (b *recordBook) ListDecisions(_ context.Context, namespace, name string) ([]Decision, time.Time, error) {
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

// viewRecord returns the page of an autoscaler without its decisions, or nil where it does not exist.
func (b *recordBook) viewRecord(namespace, name string) *autoscalerDetail {
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
			return chartNumber(a.load), chartNumber(a.value)
		}
	}
	return nil, nil
}

// chartNumber returns nil for a number that could not be read: JSON has no NaN.
func chartNumber(n float64) *float64 {
	if math.IsNaN(n) {
		return nil
	}
	return &n
}
