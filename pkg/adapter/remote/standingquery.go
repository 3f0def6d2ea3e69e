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

// standingQuery is what one query to the backend answers, for as long as somebody asks it. Backend.mu guards it.
type standingQuery struct {
	key    string // never changes, nor do query and place
	query  rule.Query
	offset refreshOffset

	lastRequested   map[string]time.Time // when it was last read, by namespace
	result          *queryResult         // the last good one; nil: none yet
	failure         *refreshFailure      // of the last try; nil: it gave the answer
	fetch           *queryFetch          // under way; nil: none
	failedRefreshes int                  // failures in a row
	dueAt           time.Time            // of the next refresh
	queueIndex      int                  // in the queue; -1: in none
	missedRefresh   bool                 // was due during a flight for some namespaces only
	remarkLogged    bool                 // infos of the server were logged
}

// refreshFailure is why there is no newer answer.
type refreshFailure struct {
	*requestFailure
	began   time.Time // of failures without a success between
	retryAt time.Time // nobody asks before
}

// queryFetch is one query under way.
type queryFetch struct {
	done  chan struct{} // closed at its end
	began time.Time
	scope namespaceScope
	// extends is the answer that lacks the namespaces of the scope, which are all that is asked for; nil: all is.
	extends *queryResult
}

// buildStandingQueryKey identifies the question that answers q. What Key leaves out decides how results are joined.
func buildStandingQueryKey(q rule.Query) (string, error) {
	key, err := q.SharingKey()
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

// newStandingQuery keeps nothing of q that belongs to the caller.
func newStandingQuery(key string, q rule.Query, seed uint64) *standingQuery {
	q.Objects = slices.Clone(q.Objects)
	if q.Rule.Shared() {
		q.Namespace, q.Objects = "", nil
	}
	return &standingQuery{key: key, query: q, offset: computeRefreshOffset(key, seed), lastRequested: map[string]time.Time{}, queueIndex: -1}
}

// requestedScope is what is to be asked for now.
func (e *standingQuery) requestedScope() namespaceScope {
	s := namespaceScope{namespaces: make(map[string]bool, len(e.lastRequested))}
	for n := range e.lastRequested {
		s.namespaces[n] = true
	}
	s.allNamespaces = s.namespaces[""]
	return s
}

// forgetIdleNamespaces drops the namespaces that nobody read lately, and reports whether nothing is left.
func (e *standingQuery) forgetIdleNamespaces(now time.Time, idle time.Duration) bool {
	for n, at := range e.lastRequested {
		if now.Sub(at) > idle {
			delete(e.lastRequested, n)
		}
	}
	return len(e.lastRequested) == 0
}

// cachedResult is what memory has for a read: an answer, a failure, or both.
type cachedResult struct {
	result  *queryResult
	failure *refreshFailure
}

// lookupCachedResult looks into memory; false if it must be asked. now is the time of the read, clock that of this process.
// Without Run nothing is refreshed, so that an answer is good only around its own time.
func (b *Backend) lookupCachedResult(e *standingQuery, namespace string, now, clock time.Time) (cachedResult, bool) {
	var r cachedResult
	if e.result != nil && e.result.coversNamespace(namespace) {
		r.result = e.result
	}
	if e.failure != nil && (b.running || clock.Before(e.failure.retryAt)) {
		r.failure = e.failure
		return r, true
	}
	if r.result == nil {
		return r, false
	}
	return r, b.running || now.Sub(e.result.evaluatedAt).Abs() < b.config.Refresh
}

// awaitResult returns what memory has for q, after it was asked for if need be: by this caller, or by one before it.
func (b *Backend) awaitResult(ctx context.Context, key string, q rule.Query, now time.Time) (cachedResult, error) {
	for {
		b.mu.Lock()
		clock := time.Now()
		e, err := b.getOrAddQuery(key, q, clock)
		if err != nil {
			b.mu.Unlock()
			return cachedResult{}, err
		}
		if r, ok := b.lookupCachedResult(e, q.Namespace, now, clock); ok {
			b.mu.Unlock()
			return r, nil
		}
		f := e.fetch
		mine := f == nil
		if mine {
			f = e.startFetch(clock, b.planMissingNamespaces(e, now))
		}
		b.mu.Unlock()
		if mine {
			b.fetchForRequest(ctx, e, f, now)
		}
		select {
		case <-f.done:
		case <-ctx.Done():
		}
		if err := ctx.Err(); err != nil {
			return cachedResult{}, metric.Errorf(metric.KindUnavailable, "backend %s: no answer in time: %w", b.name, err)
		}
	}
}

// planMissingNamespaces is what the answer lacks, if only some namespaces are new, and the others need no refresh now: the first reads
// after a start come one by one, and must not ask for all namespaces each time. The caller holds b.mu.
func (b *Backend) planMissingNamespaces(e *standingQuery, now time.Time) *queryFetch {
	a := e.result
	if a == nil || e.failure != nil || e.missedRefresh || !isPartitioned(e.query.Rule) || e.requestedScope().allNamespaces ||
		!b.running && now.Sub(a.evaluatedAt).Abs() >= b.config.Refresh {
		return nil
	}
	f := &queryFetch{extends: a, scope: namespaceScope{namespaces: map[string]bool{}}}
	for n := range e.lastRequested {
		if !a.coversNamespace(n) {
			f.scope.namespaces[n] = true
		}
	}
	return f
}

// startFetch begins a flight, for all that is read or for a gap. The caller holds b.mu and sees to it that it ends.
func (e *standingQuery) startFetch(now time.Time, gap *queryFetch) *queryFetch {
	e.fetch = gap
	if gap == nil {
		e.fetch = &queryFetch{scope: e.requestedScope()}
		e.missedRefresh = false
	}
	e.fetch.done, e.fetch.began = make(chan struct{}), now
	return e.fetch
}

// fetchForRequest flies in the name of a read, and ends with its ctx: others who wait for it then ask again.
func (b *Backend) fetchForRequest(ctx context.Context, e *standingQuery, f *queryFetch, now time.Time) {
	select {
	case b.requestSlots <- struct{}{}:
		defer func() { <-b.requestSlots }()
	case <-ctx.Done():
		b.finishQueryFetch(ctx, e, f, nil, newRequestFailuref(outcomeCancelled, "%v", ctx.Err()))
		return
	}
	b.runQueryFetch(ctx, e, f, now)
}

// runQueryFetch asks the servers and keeps the answer.
func (b *Backend) runQueryFetch(ctx context.Context, e *standingQuery, f *queryFetch, now time.Time) {
	a, fault := b.fetchQueryResult(ctx, e, f.scope, now)
	if fault == nil && f.extends != nil {
		a = f.extends.mergeResult(a)
	}
	b.finishQueryFetch(ctx, e, f, a, fault)
}

// finishQueryFetch ends a flight with an answer or a fault.
func (b *Backend) finishQueryFetch(ctx context.Context, e *standingQuery, f *queryFetch, a *queryResult, fault *requestFailure) {
	b.health.recordBackendOutcome(ctx, b, fault)
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	e.fetch = nil
	defer close(f.done)
	switch {
	case fault == nil:
		e.result, e.failure, e.failedRefreshes = a, nil, 0
		switch {
		case f.extends == nil:
			b.scheduleQuery(e, nextRefreshTime(f.began, now, b.config.Refresh, e.offset))
		case e.missedRefresh:
			b.scheduleQuery(e, now)
		}
	case fault.outcome == outcomeCancelled:
	default:
		b.scheduleQuery(e, b.recordRefreshFailure(e, f, fault, now))
	}
}

// recordRefreshFailure notes a fault and returns when to try again. The caller holds b.mu.
func (b *Backend) recordRefreshFailure(e *standingQuery, f *queryFetch, fault *requestFailure, now time.Time) time.Time {
	began := earlierTime(now, fault.since)
	if e.failure != nil {
		began = earlierTime(began, e.failure.began)
	}
	due := nextRefreshTime(f.began, now, b.config.Refresh, e.offset)
	// A server that is left alone costs nothing, and one of all questions must find out that it is back.
	if !fault.allowsRegularRefresh() && !fault.serverWide {
		e.failedRefreshes++
		wait := fault.retryAfter
		if wait <= 0 {
			wait = backendRetryDelay(b.config.Refresh, e.failedRefreshes)
		}
		due = now.Add(wait + time.Duration(float64(wait)*float64(e.offset)/8)) // not all at once
	}
	e.failure = &refreshFailure{requestFailure: fault, began: began, retryAt: due}
	return due
}

// refreshOffset is where in the interval a question is refreshed, as a fraction of it in [0, 1).
type refreshOffset float64

func computeRefreshOffset(key string, seed uint64) refreshOffset {
	h := fnv.New64a()
	_, _ = h.Write([]byte(key))
	// FNV's high bits hardly differ between keys that differ at their end; mix them (splitmix64).
	x := h.Sum64() ^ seed
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return refreshOffset(float64((x^x>>31)>>11) / (1 << 53))
}

// nextRefreshTime is when a question is refreshed that was last asked at began: at its place, half an interval to one and a half
// after that, and not before now. Counted from a fixed time it never drifts.
func nextRefreshTime(began, now time.Time, interval time.Duration, p refreshOffset) time.Time {
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
