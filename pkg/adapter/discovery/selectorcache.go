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
	// defaultRefreshInterval is how old a selector gets while it is used.
	defaultRefreshInterval = 30 * time.Second
	// fixedRefreshInterval is the same where the API server refuses to change a selector: only an object deleted and
	// made again can have another one, and its pods are other pods (see hurry). A thousand autoscalers then
	// cost 3 requests a second instead of 33.
	fixedRefreshInterval = 5 * time.Minute
	// minRetryDelay doubles with each failure up to lastRetry, which is the autoscaler's own period.
	minRetryDelay = time.Second
	maxRetryDelay = 15 * time.Second
	// selectorTTL is how long a selector is kept that no autoscaler needs and nobody reads.
	selectorTTL = 10 * time.Minute
	// maxSelectors bounds what readers can make this remember.
	maxSelectors = 10_000
	// lookupTimeout ends a request that hangs.
	lookupTimeout = 5 * time.Second
	// maxConcurrentLookups bounds the requests on their way.
	maxConcurrentLookups = 8
)

// objectKey names an object of any resource.
type objectKey struct {
	resource        schema.GroupResource
	namespace, name string
}

func (k objectKey) metricObject() metric.Object {
	return metric.Object{Namespace: k.namespace, Name: k.name}
}

func (k objectKey) String() string { return k.resource.String() + " " + k.metricObject().String() }

// hasFixedSelector tells that an object of that resource keeps its pod selector for life.
func (k objectKey) hasFixedSelector() bool { return k.resource.Group == "apps" }

// resolvedSelector is what is known of an object's pod selector.
type resolvedSelector struct {
	// selector is the last one known; nil if there never was one, or if the object is gone.
	selector labels.Selector
	// err is how the last attempt failed; a selector may be known all the same.
	err error
	// attempted is false before the first attempt ended.
	attempted bool
}

// selectorEntry is one object's selector and when to ask for it again.
type selectorEntry struct {
	resolvedSelector
	text       string // of the selector, to see changes
	failures   int    // in a row
	lastLookup time.Time
	due        time.Time
	used       time.Time // last read
	fetching   bool
	firstDone  chan struct{} // closed when the first attempt ended
}

// selectorCache remembers the pod selectors of objects, and keeps them fresh in the background while they are
// used, so that a reader waits for the API server the first time only. It is safe for concurrent use.
type selectorCache struct {
	// fetch asks the API server; its errors have a kind.
	fetch func(context.Context, objectKey) (labels.Selector, error)
	// onChange is called when an answer differs from the one before.
	onChange func()
	// onLookup counts an attempt.
	onLookup func(error)

	lookupRequested chan struct{} // holds one token when there may be something due

	mu       sync.Mutex
	entries  map[objectKey]*selectorEntry // guarded by mu
	needed   map[objectKey]struct{}       // what autoscalers depend on; guarded by mu
	inFlight int                          // guarded by mu
}

func newSelectorCache(fetch func(context.Context, objectKey) (labels.Selector, error)) *selectorCache {
	return &selectorCache{
		fetch: fetch, onChange: func() {}, onLookup: func(error) {},
		lookupRequested: make(chan struct{}, 1), entries: map[objectKey]*selectorEntry{},
	}
}

// peekSelector returns what is known, without waiting and without counting as use.
func (s *selectorCache) peekSelector(key objectKey) resolvedSelector {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[key]; e != nil {
		return e.resolvedSelector
	}
	return resolvedSelector{}
}

// getSelector returns an object's selector for a reader, and waits where it was never asked for. What was not found
// the last time is asked for again, for the next reader. Without run it waits until ctx ends.
func (s *selectorCache) getSelector(ctx context.Context, key objectKey, now time.Time) (labels.Selector, error) {
	s.mu.Lock()
	e := s.entries[key]
	if e == nil {
		if len(s.entries) >= maxSelectors {
			s.mu.Unlock()
			return nil, metric.Errorf(metric.KindUnavailable, "find the pods of %s: too many objects were asked for lately", key)
		}
		e = s.insertEntry(key, now)
	}
	e.used = now
	if e.attempted && e.err != nil && now.Sub(e.lastLookup) >= minRetryDelay {
		e.due = now
	}
	s.mu.Unlock()
	s.requestLookup()
	select {
	case <-e.firstDone:
	case <-ctx.Done():
		return nil, metric.Errorf(metric.KindUnavailable, "find the pods of %s: %w", key, ctx.Err())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.selector != nil {
		return e.selector, nil
	}
	return nil, e.err
}

// insertEntry must be called with mu held.
func (s *selectorCache) insertEntry(key objectKey, now time.Time) *selectorEntry {
	e := &selectorEntry{due: now, used: now, firstDone: make(chan struct{})}
	s.entries[key] = e
	return e
}

// setNeeded makes keys what autoscalers depend on: they are asked for soon, and kept.
func (s *selectorCache) setNeeded(keys map[objectKey]struct{}, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.needed = keys
	for key := range keys {
		if s.entries[key] == nil {
			s.insertEntry(key, now)
			s.requestLookup()
		}
	}
}

// hasAttemptedNeeded reports whether every needed selector was asked for once.
func (s *selectorCache) hasAttemptedNeeded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.needed {
		if e := s.entries[key]; e == nil || !e.attempted {
			return false
		}
	}
	return true
}

// refreshSoon has selectors asked for again once that time has passed since they were last asked for: what needs
// them has changed, or they select no pod, as after an object was deleted and made anew.
func (s *selectorCache) refreshSoon(keys []objectKey, after time.Duration, now time.Time) {
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
			s.requestLookup()
		}
	}
}

func (s *selectorCache) requestLookup() {
	select {
	case s.lookupRequested <- struct{}{}:
	default:
	}
}

// runLookups asks for what is due until ctx ends, and returns when the last request has ended.
func (s *selectorCache) runLookups(ctx context.Context) {
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
		keys, wait := s.reserveDueLookups(time.Now())
		for _, key := range keys {
			wg.Go(func() { s.lookupSelector(ctx, key) })
		}
		timer.Reset(wait)
	}
}

// reserveDueLookups forgets what is not used any more, and returns what to ask for now, the longest due first, and how
// long nothing else becomes due.
func (s *selectorCache) reserveDueLookups(now time.Time) (keys []objectKey, wait time.Duration) {
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
	slices.SortFunc(keys, func(a, b objectKey) int { return s.entries[a].due.Compare(s.entries[b].due) })
	// What finds no free slot is taken when a request ends: its end wakes run.
	keys = keys[:min(len(keys), maxConcurrentLookups-s.inFlight)]
	for _, key := range keys {
		s.entries[key].fetching = true
	}
	s.inFlight += len(keys)
	return keys, wait
}

func (s *selectorCache) lookupSelector(ctx context.Context, key objectKey) {
	attempt, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	selector, err := s.fetch(attempt, key)
	if ctx.Err() != nil {
		return // nobody waits for the answer, and it would be counted as a failure
	}
	s.onLookup(err)
	if s.recordLookup(key, selector, err, time.Now()) {
		s.onChange()
	}
	s.requestLookup()
}

// recordLookup notes how an attempt ended and reports whether that is news.
func (s *selectorCache) recordLookup(key objectKey, selector labels.Selector, err error, now time.Time) (news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[key]
	s.inFlight--
	before := e.resolvedSelector
	e.fetching, e.lastLookup, e.err = false, now, err
	switch {
	case err == nil:
		e.selector, e.failures = selector, 0
		e.due = now.Add(withJitter(refreshInterval(key)))
	case metric.KindOf(err) != metric.KindUnavailable:
		e.selector = nil // the object is gone, or selects no pods: that is an answer too
		fallthrough
	default:
		e.due = now.Add(withJitter(min(minRetryDelay<<min(e.failures, 8), maxRetryDelay)))
		e.failures++
	}
	text := canonicalSelector(e.selector)
	news = !before.attempted || text != e.text || (before.selector == nil) != (e.selector == nil) || errorText(before.err) != errorText(err)
	e.text = text
	if !e.attempted {
		e.attempted = true
		close(e.firstDone)
	}
	return news
}

func refreshInterval(key objectKey) time.Duration {
	if key.hasFixedSelector() {
		return fixedRefreshInterval
	}
	return defaultRefreshInterval
}

// withJitter is d less up to a tenth: what was asked for together does not stay together.
func withJitter(d time.Duration) time.Duration { return d - rand.N(d/10+1) }

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
