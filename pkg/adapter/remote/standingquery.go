// Standing queries: the state of each, reads that wait for the server, and the times of refreshes.

package remote

import (
	"container/list"
	"context"
	"hash/fnv"
	"math"
	"slices"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// standingQuery is a query that the backend repeats as long as it is read. Backend.mu guards it.
type standingQuery struct {
	key    string // constant, as are query and offset
	query  rule.Query
	offset refreshOffset

	owner         string        // the namespace that read it first; empty for a query of no namespace
	element       *list.Element // in the owner's queryShare
	selectorBytes int
	resultBytes   int

	lastRequested   map[string]time.Time // time of the last read, by namespace
	result          *queryResult         // of the last success; nil before it
	failure         *refreshFailure      // of the last try; nil: it succeeded
	fetch           *queryFetch          // under way, or nil
	failedRefreshes int                  // failures in a row
	dueAt           time.Time            // of the next refresh
	queueIndex      int                  // in the queue; -1: not queued
	missedRefresh   bool                 // became due during a fetch of some namespaces only
	noticeLogged    bool                 // a notice of the server was logged

	// The fetch under way owns these.
	faults       map[string]error // of the namespaces that are queried singly
	retriedFault string           // the namespace among them that was queried last
	// A query in which so many namespaces failed, every one, is halved again from nextHalving on.
	failedNamespaces int
	nextHalving      time.Time
}

// refreshFailure explains the lack of a newer result.
type refreshFailure struct {
	*backendRequestFailure
	began   time.Time // of the first failure since the last success
	retryAt time.Time // no query starts before
	scope   namespaceScope
}

// queryConcernsNamespace reports whether a read of a namespace meets the failure.
func (f *refreshFailure) queryConcernsNamespace(namespace string) bool {
	return !f.mayConcernOneNamespace() || f.scope.queryScopeCoversNamespace(namespace)
}

// queryFetch is a query under way.
type queryFetch struct {
	done  chan struct{} // closed at its end
	began time.Time
	scope namespaceScope
	// extends is the result to which the fetch adds the namespaces of its scope; nil: the fetch replaces the result.
	extends *queryResult
}

// buildStandingQueryKey returns the key of the standing query that serves q. It adds to SharingKey the properties of the rule that
// decide how results are joined.
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

// newStandingQuery returns a standing query for q. It copies the slices that belong to the caller.
func newStandingQuery(key string, q rule.Query, seed uint64) *standingQuery {
	owner := q.Namespace
	q.Objects = slices.Clone(q.Objects)
	if q.Rule.Shared() {
		q.Namespace, q.Objects = "", nil
	}
	return &standingQuery{key: key, query: q, owner: owner, offset: computeRefreshOffset(key, seed), lastRequested: map[string]time.Time{}, queueIndex: -1, faults: map[string]error{}}
}

// buildQueryScope returns the namespaces that were read lately.
func (sq *standingQuery) buildQueryScope() namespaceScope {
	s := namespaceScope{namespaces: make(map[string]bool, len(sq.lastRequested))}
	for n := range sq.lastRequested {
		s.namespaces[n] = true
	}
	s.allNamespaces = s.namespaces[""]
	return s
}

// forgetUnreadNamespaces drops the namespaces without a read within idle. It reports whether all are gone.
func (sq *standingQuery) forgetUnreadNamespaces(now time.Time, idle time.Duration) bool {
	for n, at := range sq.lastRequested {
		if now.Sub(at) > idle {
			delete(sq.lastRequested, n)
		}
	}
	return len(sq.lastRequested) == 0
}

// cachedResult is the content of memory for a read: a result, a failure, or both.
type cachedResult struct {
	result  *queryResult
	failure *refreshFailure
}

// lookupCachedResult returns the content of memory; false if the read must query the server. now is the time of the read, clock
// the time of this process. Without Run no query is refreshed, so a result serves only reads within a refresh interval of it.
func (b *Backend) lookupCachedResult(sq *standingQuery, namespace string, now, clock time.Time) (cachedResult, bool) {
	var r cachedResult
	if sq.result != nil && sq.result.queryScopeCoversNamespace(namespace) {
		r.result = sq.result
	}
	if sq.failure != nil && sq.failure.queryConcernsNamespace(namespace) && (b.running || clock.Before(sq.failure.retryAt)) {
		r.failure = sq.failure
		return r, true
	}
	if r.result == nil {
		return r, false
	}
	return r, b.running || now.Sub(sq.result.evaluatedAt).Abs() < b.config.Refresh
}

// awaitQueryResult returns the content of memory for q. If it is empty, this read or an earlier one queries the server first.
func (b *Backend) awaitQueryResult(ctx context.Context, key string, q rule.Query, now time.Time) (cachedResult, error) {
	for {
		b.mu.Lock()
		clock := time.Now()
		sq, err := b.getOrAddStandingQuery(key, q, clock)
		if err != nil {
			b.mu.Unlock()
			return cachedResult{}, err
		}
		if r, ok := b.lookupCachedResult(sq, q.Namespace, now, clock); ok {
			b.mu.Unlock()
			return r, nil
		}
		f := sq.fetch
		mine := f == nil
		if mine {
			f = sq.startQueryFetch(clock, b.planMissingNamespaces(sq, now))
		}
		b.mu.Unlock()
		if mine {
			b.fetchQueryForRead(ctx, sq, f, now)
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

// planMissingNamespaces returns a fetch of the namespaces that the result lacks; nil if the whole result needs a refresh. The first
// reads after a start arrive singly, and must not query all namespaces each time. The caller holds b.mu.
func (b *Backend) planMissingNamespaces(sq *standingQuery, now time.Time) *queryFetch {
	result := sq.result
	if result == nil || sq.failure != nil || sq.missedRefresh || !isPartitionedServerResult(sq.query.Rule) || sq.buildQueryScope().allNamespaces ||
		!b.running && now.Sub(result.evaluatedAt).Abs() >= b.config.Refresh {
		return nil
	}
	f := &queryFetch{extends: result, scope: namespaceScope{namespaces: map[string]bool{}}}
	for n := range sq.lastRequested {
		if !result.queryScopeCoversNamespace(n) {
			f.scope.namespaces[n] = true
		}
	}
	return f
}

// startQueryFetch begins a fetch of the missing namespaces; nil: of all that are read. The caller holds b.mu and must finish the fetch.
func (sq *standingQuery) startQueryFetch(now time.Time, missing *queryFetch) *queryFetch {
	sq.fetch = missing
	if missing == nil {
		sq.fetch = &queryFetch{scope: sq.buildQueryScope()}
		sq.missedRefresh = false
	}
	sq.fetch.done, sq.fetch.began = make(chan struct{}), now
	return sq.fetch
}

// fetchQueryForRead fetches for a read, and ends with its ctx. Other reads that wait for the fetch then start their own.
func (b *Backend) fetchQueryForRead(ctx context.Context, sq *standingQuery, f *queryFetch, now time.Time) {
	select {
	case b.requestSlots <- struct{}{}:
		defer func() { <-b.requestSlots }()
	case <-ctx.Done():
		b.finishQueryFetch(ctx, sq, f, nil, newRequestFailuref(outcomeCancelled, "%v", ctx.Err()))
		return
	}
	b.runQueryFetch(ctx, sq, f, now)
}

// runQueryFetch queries the servers and keeps the result.
func (b *Backend) runQueryFetch(ctx context.Context, sq *standingQuery, f *queryFetch, now time.Time) {
	result, failure := b.fetchResultSafely(ctx, sq, f, now)
	b.finishQueryFetch(ctx, sq, f, result, failure)
}

// fetchResultSafely queries the servers. A panic, as over an unforeseen response, is the failure of this fetch alone.
func (b *Backend) fetchResultSafely(ctx context.Context, sq *standingQuery, f *queryFetch, now time.Time) (result *queryResult, failure *backendRequestFailure) {
	defer func() {
		if fault := recover(); fault != nil {
			result, failure = nil, newRequestFailuref(outcomeOther, "%v", b.panics.Report(ctx, fault, "backend", b.name, "rule", sq.query.Rule.Name))
		}
	}()
	return b.fetchNamespaceScope(ctx, sq, f, now)
}

// finishQueryFetch ends a fetch with a result or a failure.
func (b *Backend) finishQueryFetch(ctx context.Context, sq *standingQuery, f *queryFetch, result *queryResult, failure *backendRequestFailure) {
	b.health.recordRequestOutcome(ctx, b, failure)
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	sq.fetch = nil
	defer close(f.done)
	switch {
	case failure == nil:
		sq.result, sq.failure, sq.failedRefreshes = result, nil, 0
		if b.queries[sq.key] == sq {
			b.shares.measureQueryResult(sq)
			b.dropStandingQueriesForMemory(sq.owner)
		}
		switch {
		case f.extends == nil:
			b.scheduleQueryRefresh(sq, nextRefreshTime(f.began, now, b.config.Refresh, sq.offset))
		case sq.missedRefresh:
			b.scheduleQueryRefresh(sq, now)
		}
	case failure.outcome == outcomeCancelled:
	default:
		b.scheduleQueryRefresh(sq, b.recordRefreshFailure(sq, f, failure, now))
	}
}

// recordRefreshFailure records a failure and returns the time of the next try. The caller holds b.mu.
func (b *Backend) recordRefreshFailure(sq *standingQuery, f *queryFetch, failure *backendRequestFailure, now time.Time) time.Time {
	began := chooseEarlierResultTime(now, failure.since)
	if sq.failure != nil {
		began = chooseEarlierResultTime(began, sq.failure.began)
	}
	due := nextRefreshTime(f.began, now, b.config.Refresh, sq.offset)
	// While its server is down a refresh sends no request. One query of all must still find out that the server is back.
	if !failure.allowsRegularRefresh() && !failure.serverWide {
		sq.failedRefreshes++
		wait := failure.retryAfter
		if wait <= 0 {
			wait = newRefreshBackoff(b.config.Refresh).Delay(sq.failedRefreshes)
		}
		due = now.Add(wait + time.Duration(float64(wait)*float64(sq.offset)/8)) // spreads the retries
	}
	sq.failure = &refreshFailure{backendRequestFailure: failure, began: began, retryAt: due, scope: f.scope}
	return due
}

// refreshOffset is the place of a refresh within the interval, as a fraction in [0, 1).
type refreshOffset float64

// computeRefreshOffset hashes key and seed into an offset.
func computeRefreshOffset(key string, seed uint64) refreshOffset {
	h := fnv.New64a()
	_, _ = h.Write([]byte(key))
	// FNV's high bits hardly differ between keys that differ at their end; mix them (splitmix64).
	x := h.Sum64() ^ seed
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return refreshOffset(float64((x^x>>31)>>11) / (1 << 53))
}

// nextRefreshTime returns the time of the refresh after a query at began: at the offset p, half an interval to one and a half
// after began, and not before now. It counts from a fixed time, so refreshes never drift.
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
