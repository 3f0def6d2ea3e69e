// This file caches pod selectors and refreshes them in the background.

package discovery

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
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
	// another selector, and it makes pods with labels that are new to the namespace (see refreshSoon). A thousand
	// autoscalers cost 3 requests a second instead of 33.
	fixedRefreshInterval = 5 * time.Minute
	// minRetryDelay doubles with each failure up to maxRetryDelay, which is the autoscaler's own period.
	minRetryDelay = time.Second
	maxRetryDelay = 15 * time.Second
	// selectorTTL is the time until the cache drops a selector that no autoscaler needs and no reader uses.
	selectorTTL = 10 * time.Minute
	// maxSelectors bounds the entries that readers can add.
	maxSelectors = 10_000
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

func (k objectKey) objectOfDiscoverySelector() metric.Object {
	return metric.Object{Namespace: k.namespace, Name: k.name}
}

func (k objectKey) String() string {
	return k.resource.String() + " " + k.objectOfDiscoverySelector().String()
}

// hasFixedDiscoverySelector reports whether the API server rejects changes of the object's pod selector.
func (k objectKey) hasFixedDiscoverySelector() bool { return k.resource.Group == "apps" }

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
	due        time.Time
	used       time.Time // last read
	fetching   bool
	done       chan struct{} // closed and replaced when an attempt ended
}

// selectorCache caches the pod selectors of objects, and refreshes them in the background while they are in use, so
// that a reader waits for the API server the first time only. It is safe for concurrent use.
type selectorCache struct {
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
	// stalled is set when a reader waited in vain, and until a lookup succeeds: an API server that hangs delays one read.
	stalled bool // guarded by mu
}

func newDiscoverySelectorCache(fetch func(context.Context, objectKey) (labels.Selector, error)) *selectorCache {
	return &selectorCache{
		fetch: fetch, onChange: func() {}, onLookup: func(error) {},
		lookupRequested: make(chan struct{}, 1), entries: map[objectKey]*selectorEntry{},
	}
}

// peekDiscoverySelector returns the cached result. It does not wait, and does not count as use.
func (s *selectorCache) peekDiscoverySelector(key objectKey) resolvedSelector {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[key]; e != nil {
		return e.resolvedSelector
	}
	return resolvedSelector{}
}

// getDiscoverySelector returns an object's selector for a reader, and waits for the first lookup. A selector that may have changed
// since its last lookup is looked up anew, and the reader waits at most maxReadDelay for it. After a failed lookup
// getPodSelector requests another for the next reader. Without runPodSelectorLookups it waits until ctx ends.
func (s *selectorCache) getDiscoverySelector(ctx context.Context, key objectKey, now time.Time) (labels.Selector, error) {
	e, wait, err := s.requestDiscoverySelector(key, now)
	if err != nil {
		return nil, err
	}
	s.requestDiscoverySelectorLookup()
	if err := s.awaitDiscoverySelector(ctx, wait); err != nil {
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

// requestDiscoverySelector returns the entry of an object for a reader, makes its lookup due if it must be, and returns the wait.
func (s *selectorCache) requestDiscoverySelector(key objectKey, now time.Time) (*selectorEntry, selectorWait, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[key]
	if e == nil {
		if len(s.entries) >= maxSelectors {
			return nil, selectorWait{}, metric.Errorf(metric.KindUnavailable, "find the pods of %s: the limit of %d cached selectors is reached", key, maxSelectors)
		}
		e = s.insertDiscoverySelector(key, now)
	}
	e.used = now
	age := now.Sub(e.lastLookup)
	switch {
	case !e.attempted:
		return e, selectorWait{e.done, true}, nil
	case e.err != nil && age >= minRetryDelay:
		e.due = now
	case e.err == nil && age >= maxReadAge && !key.hasFixedDiscoverySelector():
		e.due = now
		if !s.stalled {
			return e, selectorWait{e.done, false}, nil
		}
	}
	return e, selectorWait{}, nil
}

// awaitDiscoverySelector waits for a lookup. It returns ctx's error if the first lookup takes longer than ctx.
func (s *selectorCache) awaitDiscoverySelector(ctx context.Context, wait selectorWait) error {
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

// insertDiscoverySelector adds an entry that is due now. The caller holds mu.
func (s *selectorCache) insertDiscoverySelector(key objectKey, now time.Time) *selectorEntry {
	e := &selectorEntry{due: now, used: now, done: make(chan struct{})}
	s.entries[key] = e
	return e
}

// setNeededDiscoverySelectors replaces the keys that autoscalers depend on: the cache looks them up soon, and keeps them.
func (s *selectorCache) setNeededDiscoverySelectors(keys map[objectKey]struct{}, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.needed = keys
	for key := range keys {
		if s.entries[key] == nil {
			s.insertDiscoverySelector(key, now)
			s.requestDiscoverySelectorLookup()
		}
	}
}

// hasLookedUpDiscoverySelectors reports whether every needed selector has had a lookup.
func (s *selectorCache) hasLookedUpDiscoverySelectors() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.needed {
		if e := s.entries[key]; e == nil || !e.attempted {
			return false
		}
	}
	return true
}

// refreshDiscoverySelectorsSoon schedules the next lookup of each selector at most after its last lookup plus the duration after. It is
// for selectors of changed autoscalers, and of objects that may have been deleted and made again.
func (s *selectorCache) refreshDiscoverySelectorsSoon(keys []objectKey, after time.Duration, now time.Time) {
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
			s.requestDiscoverySelectorLookup()
		}
	}
}

func (s *selectorCache) requestDiscoverySelectorLookup() {
	select {
	case s.lookupRequested <- struct{}{}:
	default:
	}
}

// runDiscoverySelectorLookups starts due lookups until ctx ends, and returns when the last request has ended.
func (s *selectorCache) runDiscoverySelectorLookups(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.lookupRequested:
		case <-timer.C:
		}
		keys, wait := s.reserveDueDiscoverySelectors(time.Now())
		for _, key := range keys {
			wg.Go(func() { s.lookUpDiscoverySelector(ctx, key) })
		}
		timer.Reset(wait)
	}
}

// reserveDueDiscoverySelectors removes unused entries. It returns the keys to look up now, autoscalers' before readers', the
// longest due first, and the time until the next lookup is due.
func (s *selectorCache) reserveDueDiscoverySelectors(now time.Time) (keys []objectKey, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	wait = defaultRefreshInterval
	for key, e := range s.entries {
		_, needed := s.needed[key]
		switch {
		case e.fetching:
		case !needed && now.Sub(e.used) >= selectorTTL:
			delete(s.entries, key)
		case e.due.After(now):
			wait = min(wait, e.due.Sub(now))
		default:
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, s.compareDiscoverySelectorLookups)
	// A key without a free slot waits until a request ends, which wakes runPodSelectorLookups.
	keys = keys[:min(len(keys), maxConcurrentLookups-s.inFlight)]
	for _, key := range keys {
		s.entries[key].fetching = true
	}
	s.inFlight += len(keys)
	return keys, wait
}

// compareDiscoverySelectorLookups orders due lookups. The caller holds mu.
func (s *selectorCache) compareDiscoverySelectorLookups(a, b objectKey) int {
	_, neededA := s.needed[a]
	_, neededB := s.needed[b]
	switch {
	case neededA == neededB:
		return s.entries[a].due.Compare(s.entries[b].due)
	case neededA:
		return -1
	default:
		return 1
	}
}

func (s *selectorCache) lookUpDiscoverySelector(ctx context.Context, key objectKey) {
	attempt, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	selector, err := s.fetch(attempt, key)
	if ctx.Err() != nil {
		return // no reader waits for the result, and it would count as a failure
	}
	s.onLookup(err)
	if s.recordDiscoverySelector(key, selector, err, time.Now()) {
		s.onChange()
	}
	s.requestDiscoverySelectorLookup()
}

// recordDiscoverySelector stores the result of an attempt and reports whether it differs from the previous result.
func (s *selectorCache) recordDiscoverySelector(key objectKey, selector labels.Selector, err error, now time.Time) (changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[key]
	s.inFlight--
	before := e.resolvedSelector
	e.fetching, e.lastLookup, e.err = false, now, err
	switch {
	case err == nil:
		e.selector, e.failures, s.stalled = selector, 0, false
		e.due = now.Add(jitterDiscoverySelectorRefresh(discoverySelectorRefreshInterval(key)))
	case metric.KindOf(err) != metric.KindUnavailable:
		e.selector = nil // the object is gone, or selects no pods: a definite result
		fallthrough
	default:
		e.due = now.Add(jitterDiscoverySelectorRefresh(min(minRetryDelay<<min(e.failures, 8), maxRetryDelay)))
		e.failures++
	}
	text := canonicalDiscoveryDemandSelector(e.selector)
	changed = !before.attempted || text != e.text || (before.selector == nil) != (e.selector == nil) || discoverySelectorErrorText(before.err) != discoverySelectorErrorText(err)
	e.text = text
	e.attempted = true
	close(e.done)
	e.done = make(chan struct{})
	return changed
}

func discoverySelectorRefreshInterval(key objectKey) time.Duration {
	if key.hasFixedDiscoverySelector() {
		return fixedRefreshInterval
	}
	return defaultRefreshInterval
}

// jitterDiscoverySelectorRefresh returns d less up to a tenth, so that lookups that started together spread out.
func jitterDiscoverySelectorRefresh(d time.Duration) time.Duration { return d - rand.N(d/10+1) }

func discoverySelectorErrorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
