package dashboard

// This file reads decisions from the adapter's record.

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tachometer-metrics/tachometer/pkg/plugin/explain"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/reading"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/records"
)

// recordPause is the time for which a record is shown before it is read again: several pages share a read, and the HPA controller decides
// every 15 s.
const recordPause = 5 * time.Second

// RecordedDecisions has the decisions of the last hour that the adapter recorded. It may be used concurrently.
type RecordedDecisions struct {
	reader reading.Reader
	now    func() time.Time

	mu    sync.Mutex // guards reads
	reads map[types.NamespacedName]recordedRead
}

// recordedRead is an autoscaler's record as it was read at a time.
type recordedRead struct {
	time      time.Time
	decisions []Decision
	since     time.Time
	err       error
}

var _ DecisionSource = (*RecordedDecisions)(nil)

// NewRecordedDecisions returns a source that reads with the user's own rights.
func NewRecordedDecisions(reader reading.Reader, now func() time.Time) *RecordedDecisions {
	return &RecordedDecisions{reader: reader, now: now, reads: map[types.NamespacedName]recordedRead{}}
}

// ListDecisions implements DecisionSource. Beside decisions, the error says which replica's part is missing.
func (r *RecordedDecisions) ListDecisions(ctx context.Context, namespace, name string) ([]Decision, time.Time, error) {
	key := types.NamespacedName{Namespace: namespace, Name: name}
	read, known := r.findRecordedRead(key)
	if !known {
		read = r.readRecordedDecisions(ctx, key)
		if ctx.Err() != nil { // the page went away
			return nil, time.Time{}, ctx.Err()
		}
		r.mu.Lock()
		r.reads[key] = read
		r.mu.Unlock()
	}
	return slices.Clone(read.decisions), read.since, read.err
}

// findRecordedRead returns the last read of an autoscaler unless it is old, and forgets all old ones.
func (r *RecordedDecisions) findRecordedRead(key types.NamespacedName) (read recordedRead, known bool) {
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.reads, func(_ types.NamespacedName, read recordedRead) bool {
		return now.Sub(read.time) >= recordPause || read.time.After(now) // the clock was set back
	})
	read, known = r.reads[key]
	return read, known
}

func (r *RecordedDecisions) readRecordedDecisions(ctx context.Context, key types.NamespacedName) recordedRead {
	read := recordedRead{time: r.now()}
	log, err := records.ReadLog(ctx, r.reader, key.Namespace, key.Name, keptTime)
	if err != nil {
		read.err = err
		return read
	}
	read.decisions, read.since = listRecordedDecisions(explain.NewLog(log)), log.Source.UnknownBefore
	if begin := read.time.Add(-keptTime); read.since.Before(begin) {
		read.since = begin
	}
	if notes := records.ListSourceNotes(log.Source); len(notes) > 0 {
		read.err = errors.New(strings.Join(notes, " "))
	}
	return read
}

// listRecordedDecisions returns the changes of the wish and of the ability to decide, the newest first.
func listRecordedDecisions(log *explain.Log) []Decision {
	decisions := []Decision{}
	for i, d := range log.Decisions {
		from, failed := d.Replicas, false
		if i > 0 {
			from, failed = log.Decisions[i-1].Wanted, log.Decisions[i-1].Failed
		}
		change := Decision{Time: d.Time, From: from, To: d.Wanted, Sentence: d.Cause + ".", Metrics: d.Metrics}
		switch {
		case d.Wanted != from:
		case d.Failed && !failed:
			change.Fault = "lost"
		case failed && !d.Failed:
			change.Fault = "back"
		default:
			continue
		}
		decisions = append(decisions, change)
	}
	if n := len(decisions) - maxDecisions; n > 0 {
		decisions = decisions[n:]
	}
	slices.Reverse(decisions)
	return decisions
}
