package remote

import (
	"context"
	"hash/fnv"
	"math"
	"slices"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// question is what one query to the backend answers, for as long as somebody asks it. Backend.mu guards it.
type question struct {
	key   string // never changes, nor do query and place
	query rule.Query
	place place

	read    map[string]time.Time // when it was last read, by namespace
	answer  *answer              // the last good one; nil: none yet
	failure *failure             // of the last try; nil: it gave the answer
	flight  *flight              // under way; nil: none
	tries   int                  // failures in a row
	due     time.Time            // of the next refresh
	index   int                  // in the queue; -1: in none
	overdue bool                 // was due during a flight for some namespaces only
	remarks bool                 // infos of the server were logged
}

// failure is why there is no newer answer.
type failure struct {
	*fault
	began time.Time // of failures without a success between
	retry time.Time // nobody asks before
}

// flight is one query under way.
type flight struct {
	done  chan struct{} // closed at its end
	began time.Time
	scope scope
	// extends is the answer that lacks the namespaces of the scope, which are all that is asked for; nil: all is.
	extends *answer
}

// keyOf identifies the question that answers q. What Key leaves out decides how results are joined.
func keyOf(q rule.Query) (string, error) {
	key, err := q.Key()
	if err != nil {
		return "", err
	}
	r := q.Rule
	flags := []byte{'0', '0', '0', 0}
	for i, set := range []bool{r.Shared(), r.External, r.Namespaced} {
		if set {
			flags[i] = '1'
		}
	}
	if !r.Shared() {
		key = q.Namespace + "\x00" + key
	}
	return string(flags) + key, nil
}

// newQuestion keeps nothing of q that belongs to the caller.
func newQuestion(key string, q rule.Query, seed uint64) *question {
	q.Objects = slices.Clone(q.Objects)
	if q.Rule.Shared() {
		q.Namespace, q.Objects = "", nil
	}
	return &question{key: key, query: q, place: placeOf(key, seed), read: map[string]time.Time{}, index: -1}
}

// scope is what is to be asked for now.
func (e *question) scope() scope {
	s := scope{namespaces: make(map[string]bool, len(e.read))}
	for n := range e.read {
		s.namespaces[n] = true
	}
	s.any = s.namespaces[""]
	return s
}

// forget drops the namespaces that nobody read lately, and reports whether nothing is left.
func (e *question) forget(now time.Time, idle time.Duration) bool {
	for n, at := range e.read {
		if now.Sub(at) > idle {
			delete(e.read, n)
		}
	}
	return len(e.read) == 0
}

// reading is what memory has for a read: an answer, a failure, or both.
type reading struct {
	answer  *answer
	failure *failure
}

// recall looks into memory; false if it must be asked. now is the time of the read, clock that of this process.
// Without Run nothing is refreshed, so that an answer is good only around its own time.
func (b *Backend) recall(e *question, namespace string, now, clock time.Time) (reading, bool) {
	var r reading
	if e.answer != nil && e.answer.covers(namespace) {
		r.answer = e.answer
	}
	if e.failure != nil && (b.running || clock.Before(e.failure.retry)) {
		r.failure = e.failure
		return r, true
	}
	if r.answer == nil {
		return r, false
	}
	return r, b.running || now.Sub(e.answer.asked).Abs() < b.config.Refresh
}

// await returns what memory has for q, after it was asked for if need be: by this caller, or by one before it.
func (b *Backend) await(ctx context.Context, key string, q rule.Query, now time.Time) (reading, error) {
	for {
		b.mu.Lock()
		clock := time.Now()
		e, err := b.question(key, q, clock)
		if err != nil {
			b.mu.Unlock()
			return reading{}, err
		}
		if r, ok := b.recall(e, q.Namespace, now, clock); ok {
			b.mu.Unlock()
			return r, nil
		}
		f := e.flight
		mine := f == nil
		if mine {
			f = e.depart(clock, b.gap(e, now))
		}
		b.mu.Unlock()
		if mine {
			b.first(ctx, e, f, now)
		}
		select {
		case <-f.done:
		case <-ctx.Done():
		}
		if err := ctx.Err(); err != nil {
			return reading{}, metric.Errorf(metric.KindUnavailable, "backend %s: no answer in time: %w", b.name, err)
		}
	}
}

// gap is what the answer lacks, if only some namespaces are new, and the others need no refresh now: the first reads
// after a start come one by one, and must not ask for all namespaces each time. The caller holds b.mu.
func (b *Backend) gap(e *question, now time.Time) *flight {
	a := e.answer
	if a == nil || e.failure != nil || e.overdue || !partitioned(e.query.Rule) || e.scope().any ||
		!b.running && now.Sub(a.asked).Abs() >= b.config.Refresh {
		return nil
	}
	f := &flight{extends: a, scope: scope{namespaces: map[string]bool{}}}
	for n := range e.read {
		if !a.covers(n) {
			f.scope.namespaces[n] = true
		}
	}
	return f
}

// depart begins a flight, for all that is read or for a gap. The caller holds b.mu and sees to it that it ends.
func (e *question) depart(now time.Time, gap *flight) *flight {
	e.flight = gap
	if gap == nil {
		e.flight = &flight{scope: e.scope()}
		e.overdue = false
	}
	e.flight.done, e.flight.began = make(chan struct{}), now
	return e.flight
}

// first flies in the name of a read, and ends with its ctx: others who wait for it then ask again.
func (b *Backend) first(ctx context.Context, e *question, f *flight, now time.Time) {
	select {
	case b.places <- struct{}{}:
		defer func() { <-b.places }()
	case <-ctx.Done():
		b.land(ctx, e, f, nil, faultf(cancelled, "%v", ctx.Err()))
		return
	}
	b.fly(ctx, e, f, now)
}

// fly asks the servers and keeps the answer.
func (b *Backend) fly(ctx context.Context, e *question, f *flight, now time.Time) {
	a, fault := b.evaluate(ctx, e, f.scope, now)
	if fault == nil && f.extends != nil {
		a = f.extends.with(a)
	}
	b.land(ctx, e, f, a, fault)
}

// land ends a flight with an answer or a fault.
func (b *Backend) land(ctx context.Context, e *question, f *flight, a *answer, fault *fault) {
	b.health.note(ctx, b, fault)
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	e.flight = nil
	defer close(f.done)
	switch {
	case fault == nil:
		e.answer, e.failure, e.tries = a, nil, 0
		switch {
		case f.extends == nil:
			b.schedule(e, nextDue(f.began, now, b.config.Refresh, e.place))
		case e.overdue:
			b.schedule(e, now)
		}
	case fault.outcome == cancelled:
	default:
		b.schedule(e, b.failed(e, f, fault, now))
	}
}

// failed notes a fault and returns when to try again. The caller holds b.mu.
func (b *Backend) failed(e *question, f *flight, fault *fault, now time.Time) time.Time {
	began := earlier(now, fault.since)
	if e.failure != nil {
		began = earlier(began, e.failure.began)
	}
	due := nextDue(f.began, now, b.config.Refresh, e.place)
	// A server that is left alone costs nothing, and one of all questions must find out that it is back.
	if !fault.spares() && !fault.whole {
		e.tries++
		wait := fault.retryAfter
		if wait <= 0 {
			wait = pause(b.config.Refresh, e.tries)
		}
		due = now.Add(wait + time.Duration(float64(wait)*float64(e.place)/8)) // not all at once
	}
	e.failure = &failure{fault: fault, began: began, retry: due}
	return due
}

// place is where in the interval a question is refreshed, as a fraction of it in [0, 1).
type place float64

func placeOf(key string, seed uint64) place {
	h := fnv.New64a()
	_, _ = h.Write([]byte(key))
	// FNV's high bits hardly differ between keys that differ at their end; mix them (splitmix64).
	x := h.Sum64() ^ seed
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return place(float64((x^x>>31)>>11) / (1 << 53))
}

// nextDue is when a question is refreshed that was last asked at began: at its place, half an interval to one and a half
// after that, and not before now. Counted from a fixed time it never drifts.
func nextDue(began, now time.Time, interval time.Duration, p place) time.Time {
	phase := float64(began.UnixNano()%int64(interval)) / float64(interval)
	step := math.Mod(float64(p)-phase+1, 1)
	if step < 0.5 {
		step++
	}
	next := began.Add(time.Duration(step * float64(interval)))
	if late := now.Sub(next); late >= 0 {
		next = next.Add((late/interval + 1) * interval)
	}
	return next
}
