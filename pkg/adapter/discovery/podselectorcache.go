// This file caches pod selectors and refreshes them in the background.

package discovery

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/panics"
	"github.com/tachometer-metrics/tachometer/pkg/retry"
)

const (
	// defaultRefreshInterval is the maximum age of a selector that nobody reads and an autoscaler needs.
	defaultRefreshInterval = 30 * time.Second
	// maxReadAge is the age from which a reader has a selector looked up: a Service can select other pods at any moment.
	// Autoscalers read every 15 s, so that each costs a request in its period.
	maxReadAge = 2 * time.Second
	// maxReadDelay bounds a reader's wait for such a lookup; the reader then gets the last selector. Lookups take a few
	// milliseconds, and the workers of the autoscalers' controller are few.
	maxReadDelay = 100 * time.Millisecond
	// fixedRefreshInterval applies to objects with an immutable selector. Only a deleted and recreated object can have
	// another selector, and it makes pods with labels that are new to the namespace (see refreshSelectorsSoon). A thousand
	// autoscalers cost 3 requests a second instead of 33.
	fixedRefreshInterval = 5 * time.Minute
	// minRetryDelay doubles with each failure up to maxRetryDelay, which is the autoscaler's own period.
	minRetryDelay = time.Second
	maxRetryDelay = 15 * time.Second
	// maxAbsentDelay is the longest time for which readers are told that an object does not exist without a lookup. The time begins
	// with minRetryDelay and doubles with each lookup that finds nothing.
	maxAbsentDelay = 5 * time.Minute
	// selectorTTL is the time until the cache drops a selector that no autoscaler needs and no reader uses.
	selectorTTL = 10 * time.Minute
	// maxSelectors bounds the entries that readers can add, maxNamespaceSelectors the entries of a namespace.
	maxSelectors          = 10_000
	maxNamespaceSelectors = 1000
	// limitedRetryInterval is the interval between two attempts to start lookups that the rate limit delays.
	limitedRetryInterval = 100 * time.Millisecond
	// lookupTimeout ends a request that hangs.
	lookupTimeout = 5 * time.Second
	// maxConcurrentLookups bounds the requests in flight.
	maxConcurrentLookups = 8
)

// objectKey names an object of any resource.
type objectKey struct {
	resource        schema.GroupResource
	namespace, name string
}

func (k objectKey) selectorOwnerObject() metric.Object {
	return metric.Object{Namespace: k.namespace, Name: k.name}
}

func (k objectKey) String() string {
	return k.resource.String() + " " + k.selectorOwnerObject().String()
}

// hasFixedSelector reports whether the API server rejects changes of the object's pod selector.
func (k objectKey) hasFixedSelector() bool { return k.resource.Group == "apps" }

// resolvedSelector is the result of the last lookups of an object's pod selector.
type resolvedSelector struct {
	// selector is the last known selector; nil before the first success, and if the object is gone.
	selector labels.Selector
	// err is the error of the last attempt; selector may still be set.
	err error
	// attempted is true after the first attempt.
	attempted bool
}

// selectorEntry is an object's selector and the time of its next lookup.
type selectorEntry struct {
	resolvedSelector
	text       string // of the selector, to detect changes
	failures   int    // in a row
	lastLookup time.Time
	due        time.Time // zero: no lookup is due until a reader requests one
	retryAt    time.Time // after a failure: until then readers get its error
	used       time.Time // last read
	requested  bool      // by a reader
	needed     bool      // by an autoscaler
	fetching   bool
	done       chan struct{} // closed and replaced when an attempt ended
}

// podSelectorCache caches the pod selectors of objects, and refreshes them in the background while they are in use, so
// that a reader waits for the API server the first time only. It is safe for concurrent use.
type podSelectorCache struct {
	// fetch asks the API server; its errors have a kind.
	fetch func(context.Context, objectKey) (labels.Selector, error)
	// onChange is called when a lookup's result differs from the previous result.
	onChange func()
	// onLookup is called with the error of every attempt.
	onLookup func(error)

	lookupRequested chan struct{} // holds one token when a lookup may be due

	mu       sync.Mutex
	entries  map[objectKey]*selectorEntry // guarded by mu
	needed   map[objectKey]struct{}       // the objects that autoscalers depend on; guarded by mu
	inFlight int                          // guarded by mu
	// namespaceEntries and namespaceNeeded count entries and needed; guarded by mu.
	namespaceEntries, namespaceNeeded map[string]int
	readerLimit, standingLimit        selectorLookupLimiter // guarded by mu
	// stalled is set when a reader waited in vain, and until a lookup succeeds: an API server that hangs delays one read.
	stalled bool // guarded by mu
}

func newPodSelectorCache(fetch func(context.Context, objectKey) (labels.Selector, error)) *podSelectorCache {
	return &podSelectorCache{
		fetch: fetch, onChange: func() {}, onLookup: func(error) {},
		lookupRequested: make(chan struct{}, 1), entries: map[objectKey]*selectorEntry{}, namespaceEntries: map[string]int{},
		readerLimit: newReaderLookupLimiter(), standingLimit: newStandingLookupLimiter(),
	}
}

// guardSelectorLookup returns fetch, whose panic over a response ends one lookup alone: the last selector stays.
func guardSelectorLookup(guard *panics.Guard, fetch func(context.Context, objectKey) (labels.Selector, error)) func(context.Context, objectKey) (labels.Selector, error) {
	return func(ctx context.Context, key objectKey) (selector labels.Selector, err error) {
		defer func() {
			if fault := recover(); fault != nil {
				err = metric.Errorf(metric.KindUnavailable, "%s: %w", key, guard.Report(ctx, fault, "object", key.String()))
			}
		}()
		return fetch(ctx, key)
	}
}

// peekSelector returns the cached result. It does not wait, and does not count as use.
func (s *podSelectorCache) peekSelector(key objectKey) resolvedSelector {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[key]; e != nil {
		return e.resolvedSelector
	}
	return resolvedSelector{}
}

// getCachedSelector returns an object's selector for a reader, and waits for the first lookup. A selector that may have changed
// since its last lookup is looked up anew, and the reader waits at most maxReadDelay for it. An object that does not exist is looked up
// for readers alone at growing pauses, and never by itself. Without runSelectorLookups it waits until ctx ends.
func (s *podSelectorCache) getCachedSelector(ctx context.Context, key objectKey, now time.Time) (labels.Selector, error) {
	e, wait, err := s.requestSelector(key, now)
	if err != nil {
		return nil, err
	}
	s.requestSelectorLookup()
	if err := s.awaitSelector(ctx, wait); err != nil {
		return nil, metric.Errorf(metric.KindUnavailable, "find the pods of %s: %w", key, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.selector != nil {
		return e.selector, nil
	}
	return nil, e.err
}

// selectorWait is a reader's wait for the end of a lookup; a nil channel is no wait.
type selectorWait struct {
	done <-chan struct{}
	// first is true if there is no earlier result, so that the wait has no bound.
	first bool
}

// requestSelector returns the entry of an object for a reader, makes its lookup due if it must be, and returns the wait.
func (s *podSelectorCache) requestSelector(key objectKey, now time.Time) (*selectorEntry, selectorWait, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[key]
	if e == nil {
		if err := s.admitReaderSelector(key, now); err != nil {
			return nil, selectorWait{}, err
		}
		e = s.insertSelector(key, now)
	}
	e.used = now
	if !e.attempted {
		return e, selectorWait{e.done, true}, nil
	}
	if !e.isReaderLookupDue(key, now) {
		return e, selectorWait{}, nil
	}
	if !e.requested && !e.needed && !s.readerLimit.allowSelectorLookup(key.namespace, now) {
		return e, selectorWait{}, nil // the last result has to do
	}
	e.due, e.requested = now, true
	if s.stalled || e.needed && e.err != nil {
		return e, selectorWait{}, nil
	}
	return e, selectorWait{e.done, false}, nil
}

// isReaderLookupDue reports whether a reader requests a lookup of an object that was looked up before.
func (e *selectorEntry) isReaderLookupDue(key objectKey, now time.Time) bool {
	age := now.Sub(e.lastLookup)
	switch {
	case e.err != nil && e.needed:
		return age >= minRetryDelay
	case e.err != nil:
		return !now.Before(e.retryAt)
	case key.hasFixedSelector():
		return !e.needed && age >= fixedRefreshInterval
	default:
		return age >= maxReadAge
	}
}

// admitReaderSelector returns an error if a bound rejects a new entry for a reader. In a namespace at its bound, the object that does not
// exist and was not read for longest gives way. The caller holds mu.
func (s *podSelectorCache) admitReaderSelector(key objectKey, now time.Time) error {
	if !s.readerLimit.allowSelectorLookup(key.namespace, now) {
		return metric.Errorf(metric.KindUnavailable, "find the pods of %s: too many objects of namespace %q are looked up: retry in some seconds", key, key.namespace)
	}
	if len(s.entries)-len(s.needed) < maxSelectors && s.namespaceEntries[key.namespace]-s.namespaceNeeded[key.namespace] < maxNamespaceSelectors {
		return nil
	}
	var oldest objectKey
	var used time.Time
	for k, e := range s.entries {
		if k.namespace == key.namespace && !e.needed && !e.fetching && e.err != nil && (used.IsZero() || e.used.Before(used)) {
			oldest, used = k, e.used
		}
	}
	if used.IsZero() {
		return metric.Errorf(metric.KindUnavailable, "find the pods of %s: the limit of %d cached selectors of a namespace, %d in all, is reached",
			key, maxNamespaceSelectors, maxSelectors)
	}
	s.deleteSelector(oldest)
	return nil
}

// deleteSelector removes an entry. The caller holds mu.
func (s *podSelectorCache) deleteSelector(key objectKey) {
	delete(s.entries, key)
	if s.namespaceEntries[key.namespace]--; s.namespaceEntries[key.namespace] == 0 {
		delete(s.namespaceEntries, key.namespace)
	}
}

// awaitSelector waits for a lookup. It returns ctx's error if the first lookup takes longer than ctx.
func (s *podSelectorCache) awaitSelector(ctx context.Context, wait selectorWait) error {
	if wait.done == nil {
		return nil
	}
	if wait.first {
		select {
		case <-wait.done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	timer := time.NewTimer(maxReadDelay)
	defer timer.Stop()
	select {
	case <-wait.done:
	case <-ctx.Done():
	case <-timer.C:
		s.mu.Lock()
		s.stalled = true
		s.mu.Unlock()
	}
	return nil
}

// insertSelector adds an entry that is due now. The caller holds mu.
func (s *podSelectorCache) insertSelector(key objectKey, now time.Time) *selectorEntry {
	e := &selectorEntry{due: now, used: now, requested: true, done: make(chan struct{})}
	s.entries[key] = e
	s.namespaceEntries[key.namespace]++
	return e
}

// setNeededPodSelectors replaces the keys that autoscalers depend on: the cache looks them up soon, and keeps them.
func (s *podSelectorCache) setNeededPodSelectors(keys map[objectKey]struct{}, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.needed {
		s.entries[key].needed = false
	}
	s.needed, s.namespaceNeeded = keys, map[string]int{}
	for key := range keys {
		s.namespaceNeeded[key.namespace]++
		e := s.entries[key]
		if e == nil {
			s.insertSelector(key, now).needed = true
			s.requestSelectorLookup()
			continue
		}
		e.needed = true
		if e.due.IsZero() && !e.fetching { // a reader's until now
			e.due = now
			s.requestSelectorLookup()
		}
	}
}

// awaitsFirstLookups reports whether a needed selector has had no lookup, or is in unread: a lookup may have ended since the plan. A namespace that has
// had as many lookups as begin at once is not waited for: its next ones are limited, and the targets of all namespaces would wait for them.
func (s *podSelectorCache) awaitsFirstLookups(unread map[objectKey]struct{}) bool {
	waiting, attempted := map[string]struct{}{}, map[string]int{}
	for key := range unread {
		waiting[key.namespace] = struct{}{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.needed {
		if e := s.entries[key]; e != nil && e.attempted {
			attempted[key.namespace]++
		} else {
			waiting[key.namespace] = struct{}{}
		}
	}
	for namespace := range waiting {
		if attempted[namespace] < s.standingLimit.namespaceSize {
			return true
		}
	}
	return false
}

// refreshSelectorsSoon schedules the next lookup of each selector at most after its last lookup plus the duration after. It is
// for selectors of changed autoscalers, and of objects that may have been deleted and made again.
func (s *podSelectorCache) refreshSelectorsSoon(keys []objectKey, after time.Duration, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range keys {
		e := s.entries[key]
		if e == nil || !e.attempted {
			continue
		}
		at := e.lastLookup.Add(after)
		if at.Before(now) {
			at = now
		}
		if e.due.After(at) {
			e.due = at
			s.requestSelectorLookup()
		}
	}
}

func (s *podSelectorCache) requestSelectorLookup() {
	select {
	case s.lookupRequested <- struct{}{}:
	default:
	}
}

// runSelectorLookups starts due lookups until ctx ends, and returns when the last request has ended.
func (s *podSelectorCache) runSelectorLookups(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	retry.RunRounds(ctx, s.lookupRequested, func(ctx context.Context, now time.Time) time.Duration {
		keys, wait := s.reserveDueSelectors(now)
		for _, key := range keys {
			wg.Go(func() { s.lookUpSelector(ctx, key) })
		}
		return wait
	})
}

// reserveDueSelectors removes unused entries. It returns the keys to look up now, autoscalers' before readers', the
// namespaces with the fewest lookups of autoscalers lately first, then the longest due, and the time until the next lookup is due.
func (s *podSelectorCache) reserveDueSelectors(now time.Time) (keys []objectKey, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	wait = defaultRefreshInterval
	var due []dueLookup
	limited := map[string]bool{}
	for key, e := range s.entries {
		switch {
		case e.fetching:
		case !e.needed && now.Sub(e.used) >= selectorTTL:
			s.deleteSelector(key)
		case !e.needed && !e.requested:
			e.due = time.Time{}
		case e.due.IsZero():
		case e.due.After(now):
			wait = min(wait, e.due.Sub(now))
		case e.needed && s.isStandingLookupLimited(limited, key.namespace, now):
			wait = min(wait, limitedRetryInterval)
		default: // without a free slot it waits until a request ends, which wakes runSelectorLookups
			due = insertDueSelectorLookup(due, s.newDueLookup(key, e, now), maxConcurrentLookups-s.inFlight)
		}
	}
	for _, l := range due {
		if l.needed && !s.standingLimit.allowSelectorLookup(l.key.namespace, now) {
			wait = min(wait, limitedRetryInterval)
			continue
		}
		s.entries[l.key].fetching = true
		s.inFlight++
		keys = append(keys, l.key)
	}
	return keys, wait
}

// isStandingLookupLimited reports whether the rate limit delays the lookups for autoscalers of a namespace. It remembers the result in
// limited, for one moment. The caller holds mu.
func (s *podSelectorCache) isStandingLookupLimited(limited map[string]bool, namespace string, now time.Time) bool {
	is, known := limited[namespace]
	if !known {
		is = !s.standingLimit.hasSelectorLookup(namespace, now)
		limited[namespace] = is
	}
	return is
}

func (s *podSelectorCache) lookUpSelector(ctx context.Context, key objectKey) {
	attempt, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	selector, err := s.fetch(attempt, key)
	if ctx.Err() != nil {
		return // no reader waits for the result, and it would count as a failure
	}
	s.onLookup(err)
	if s.recordSelector(key, selector, err, time.Now()) {
		s.onChange()
	}
	s.requestSelectorLookup()
}

// recordSelector stores the result of an attempt and reports whether it differs from the previous result.
func (s *podSelectorCache) recordSelector(key objectKey, selector labels.Selector, err error, now time.Time) (changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[key]
	s.inFlight--
	before := e.resolvedSelector
	e.fetching, e.requested, e.lastLookup, e.err = false, false, now, err
	longest := maxRetryDelay
	switch {
	case err == nil:
		e.selector, e.failures, s.stalled = selector, 0, false
		e.due = now.Add(jitterSelectorRefresh(selectorRefreshInterval(key)))
	case metric.KindOf(err) != metric.KindUnavailable:
		e.selector = nil // the object is gone, or selects no pods: a definite result
		if !e.needed {
			longest = maxAbsentDelay
		}
		fallthrough
	default:
		e.retryAt = now.Add(jitterSelectorRefresh(min(minRetryDelay<<min(e.failures, 10), longest)))
		e.due = e.retryAt
		e.failures++
	}
	if !e.needed { // a reader requests the next lookup
		e.due = time.Time{}
	}
	text := canonicalDemandSelector(e.selector)
	changed = !before.attempted || text != e.text || (before.selector == nil) != (e.selector == nil) || selectorErrorText(before.err) != selectorErrorText(err)
	e.text = text
	e.attempted = true
	close(e.done)
	e.done = make(chan struct{})
	return changed
}

func selectorRefreshInterval(key objectKey) time.Duration {
	if key.hasFixedSelector() {
		return fixedRefreshInterval
	}
	return defaultRefreshInterval
}

// jitterSelectorRefresh returns d less up to a tenth, so that lookups that started together spread out.
func jitterSelectorRefresh(d time.Duration) time.Duration { return d - rand.N(d/10+1) }

func selectorErrorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
