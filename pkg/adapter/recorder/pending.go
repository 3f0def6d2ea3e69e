// This file takes answers over: a read leaves its answer with the record, which encodes it later, off the read's path.

package recorder

import (
	"cmp"
	"context"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/memorybounds"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
)

const (
	// encodeInterval is the time between two rounds that encode the answers of all records.
	encodeInterval = 500 * time.Millisecond
	// maxPendingAnswers bounds the answers that wait in one record: two looks at eight metrics. The read of one more encodes them.
	maxPendingAnswers = 16
	// maxPendingValues bounds the values and pods that wait in all records.
	maxPendingValues = memorybounds.PendingValues
)

// pendingAnswer is an answer that is not yet encoded. It holds the provider's result: nothing changes that later.
type pendingAnswer struct {
	at      time.Time
	metric  int
	rule    ruleOfRead
	shared  bool
	err     string
	convert valueConverter // nil: no values
	values  int            // that convert returns, at most
	omitted []metric.Omission
	pods    []discovery.Pod
}

func (a *pendingAnswer) countPendingValues() int64 {
	return int64(a.values + len(a.omitted) + len(a.pods))
}

// Run encodes the answers of all records, a round each encodeInterval, until ctx ends.
func (r *Recorder) Run(ctx context.Context) error {
	ticker := time.NewTicker(encodeInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			r.encodeAllPendingAnswers()
		}
	}
}

// encodeAllPendingAnswers encodes the answers that wait in all records.
func (r *Recorder) encodeAllPendingAnswers() {
	var waiting []*record
	r.mu.RLock()
	for _, rec := range r.records {
		if rec.hasPendingAnswers() {
			waiting = append(waiting, rec)
		}
	}
	r.mu.RUnlock()
	for _, rec := range waiting {
		rec.mu.Lock()
		r.encodePendingAnswers(rec)
		rec.mu.Unlock()
	}
	r.boundRecords()
}

func (r *record) hasPendingAnswers() bool {
	r.answersMu.Lock()
	defer r.answersMu.Unlock()
	return len(r.answers) > 0
}

// queueOrEncodeAnswer adds an answer to the waiting answers, or encodes it with them if there is no room.
func (r *Recorder) queueOrEncodeAnswer(rec *record, a pendingAnswer) {
	if r.queuePendingAnswer(rec, a) {
		return
	}
	rec.mu.Lock()
	r.encodePendingAnswers(rec)
	r.encodePendingAnswer(rec, &a)
	rec.mu.Unlock()
	r.boundRecords()
}

// queuePendingAnswer adds an answer to the waiting answers. It returns false if there is no room.
func (r *Recorder) queuePendingAnswer(rec *record, a pendingAnswer) bool {
	size := a.countPendingValues()
	rec.answersMu.Lock()
	defer rec.answersMu.Unlock()
	switch {
	case rec.takesNoAnswers:
		return true
	case len(rec.answers) >= maxPendingAnswers || r.pending.Load()+size > maxPendingValues:
		return false
	}
	r.pending.Add(size)
	rec.answers = append(rec.answers, a)
	return true
}

// dropPendingAnswers drops the answers that wait in a record, and all later ones.
func (r *Recorder) dropPendingAnswers(rec *record) {
	rec.answersMu.Lock()
	defer rec.answersMu.Unlock()
	for i := range rec.answers {
		r.pending.Add(-rec.answers[i].countPendingValues())
	}
	rec.answers, rec.takesNoAnswers = nil, true
}

// encodePendingAnswers encodes the answers that wait in a record, the oldest first. The caller holds rec.mu, so that its next bytes come
// after them.
func (r *Recorder) encodePendingAnswers(rec *record) {
	rec.answersMu.Lock()
	answers := rec.answers
	rec.answers = rec.spareAnswers[:0]
	rec.answersMu.Unlock()
	for i := range answers {
		r.pending.Add(-answers[i].countPendingValues())
		r.encodePendingAnswer(rec, &answers[i])
	}
	clear(answers) // they hold responses
	rec.spareAnswers = answers[:0]
}

// encodePendingAnswer encodes an answer. Its values are kept until the next read alone, which takes their memory. The caller holds
// rec.mu.
func (r *Recorder) encodePendingAnswer(rec *record, a *pendingAnswer) {
	if rec.isForgotten || rec.spec == nil {
		return
	}
	read := explainapi.Read{Metric: a.metric, Shared: a.shared, Error: a.err, Omitted: convertReadOmissions(a.omitted)}
	rule := rec.lookRule // of an error: no rule may serve the metric, and the search for one is dear
	if a.convert != nil {
		rule = r.getNameOfReadRule(rec.key.Namespace, a.rule)
		read.Values, read.Truncated = a.convert(a.at, rec.base.spare)
		r.metrics.observeSampleAge(rule, read.Values)
	}
	rec.read = read
	at, before := a.at.UnixMilli(), rec.looks.begin
	if rec.looks.trackLookRead(at, read.Metric) {
		if rec.lookRule = rule; before != 0 {
			r.metrics.observeReaction(rule, stagePeriod, time.Duration(at-before)*time.Millisecond)
		}
	}
	rec.lookRule = cmp.Or(rec.lookRule, rule) // the look began with a metric that never had a value
	r.addClosedBlockBytes(rec, rec.appendBlockEntry(&entry{at: at, read: &rec.read, pods: rec.updatePodEntries(a.pods, r.metrics)}))
}
