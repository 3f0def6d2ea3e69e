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
	// refresh is how old a selector gets while it is used.
	refresh = 30 * time.Second
	// refreshFixed is the same where the API server refuses to change a selector: only an object deleted and
	// made again can have another one, and its pods are other pods (see hurry). A thousand autoscalers then
	// cost 3 requests a second instead of 33.
	refreshFixed = 5 * time.Minute
	// firstRetry doubles with each failure up to lastRetry, which is the autoscaler's own period.
	firstRetry = time.Second
	lastRetry  = 15 * time.Second
	// selectorMemory is how long a selector is kept that no autoscaler needs and nobody reads.
	selectorMemory = 10 * time.Minute
	// maxSelectors bounds what readers can make this remember.
	maxSelectors = 10_000
	// resolveTimeout ends a request that hangs.
	resolveTimeout = 5 * time.Second
	// resolveConcurrency bounds the requests on their way.
	resolveConcurrency = 8
)

// objectKey names an object of any resource.
type objectKey struct {
	resource        schema.GroupResource
	namespace, name string
}

func (k objectKey) object() metric.Object { return metric.Object{Namespace: k.namespace, Name: k.name} }

func (k objectKey) String() string { return k.resource.String() + " " + k.object().String() }

// fixed tells that an object of that resource keeps its pod selector for life.
func (k objectKey) fixed() bool { return k.resource.Group == "apps" }

// resolution is what is known of an object's pod selector.
type resolution struct {
	// selector is the last one known; nil if there never was one, or if the object is gone.
	selector labels.Selector
	// err is how the last attempt failed; a selector may be known all the same.
	err error
	// attempted is false before the first attempt ended.
	attempted bool
}

// selectorEntry is one object's selector and when to ask for it again.
type selectorEntry struct {
	resolution
	text     string // of the selector, to see changes
	failures int    // in a row
	asked    time.Time
	due      time.Time
	used     time.Time // last read
	fetching bool
	first    chan struct{} // closed when the first attempt ended
}

// selectors remembers the pod selectors of objects, and keeps them fresh in the background while they are
// used, so that a reader waits for the API server the first time only. It is safe for concurrent use.
type selectors struct {
	// fetch asks the API server; its errors have a kind.
	fetch func(context.Context, objectKey) (labels.Selector, error)
	// changed is called when an answer differs from the one before.
	changed func()
	// outcome counts an attempt.
	outcome func(error)

	wake chan struct{} // holds one token when there may be something due

	mu       sync.Mutex
	entries  map[objectKey]*selectorEntry // guarded by mu
	needed   map[objectKey]struct{}       // what autoscalers depend on; guarded by mu
	inFlight int                          // guarded by mu
}

func newSelectors(fetch func(context.Context, objectKey) (labels.Selector, error)) *selectors {
	return &selectors{
		fetch: fetch, changed: func() {}, outcome: func(error) {},
		wake: make(chan struct{}, 1), entries: map[objectKey]*selectorEntry{},
	}
}

// peek returns what is known, without waiting and without counting as use.
func (s *selectors) peek(key objectKey) resolution {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[key]; e != nil {
		return e.resolution
	}
	return resolution{}
}

// get returns an object's selector for a reader, and waits where it was never asked for. What was not found
// the last time is asked for again, for the next reader. Without run it waits until ctx ends.
func (s *selectors) get(ctx context.Context, key objectKey, now time.Time) (labels.Selector, error) {
	s.mu.Lock()
	e := s.entries[key]
	if e == nil {
		if len(s.entries) >= maxSelectors {
			s.mu.Unlock()
			return nil, metric.Errorf(metric.KindUnavailable, "find the pods of %s: too many objects were asked for lately", key)
		}
		e = s.insert(key, now)
	}
	e.used = now
	if e.attempted && e.err != nil && now.Sub(e.asked) >= firstRetry {
		e.due = now
	}
	s.mu.Unlock()
	s.poke()
	select {
	case <-e.first:
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

// insert must be called with mu held.
func (s *selectors) insert(key objectKey, now time.Time) *selectorEntry {
	e := &selectorEntry{due: now, used: now, first: make(chan struct{})}
	s.entries[key] = e
	return e
}

// need makes keys what autoscalers depend on: they are asked for soon, and kept.
func (s *selectors) need(keys map[objectKey]struct{}, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.needed = keys
	for key := range keys {
		if s.entries[key] == nil {
			s.insert(key, now)
			s.poke()
		}
	}
}

// settled reports whether every needed selector was asked for once.
func (s *selectors) settled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.needed {
		if e := s.entries[key]; e == nil || !e.attempted {
			return false
		}
	}
	return true
}

// hurry has selectors asked for again once that time has passed since they were last asked for: what needs
// them has changed, or they select no pod, as after an object was deleted and made anew.
func (s *selectors) hurry(keys []objectKey, after time.Duration, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range keys {
		e := s.entries[key]
		if e == nil || !e.attempted {
			continue
		}
		at := e.asked.Add(after)
		if at.Before(now) {
			at = now
		}
		if e.due.After(at) {
			e.due = at
			s.poke()
		}
	}
}

func (s *selectors) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run asks for what is due until ctx ends, and returns when the last request has ended.
func (s *selectors) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-timer.C:
		}
		keys, wait := s.take(time.Now())
		for _, key := range keys {
			wg.Go(func() { s.ask(ctx, key) })
		}
		timer.Reset(wait)
	}
}

// take forgets what is not used any more, and returns what to ask for now, the longest due first, and how
// long nothing else becomes due.
func (s *selectors) take(now time.Time) (keys []objectKey, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	wait = refresh
	for key, e := range s.entries {
		_, needed := s.needed[key]
		switch {
		case e.fetching:
		case !needed && now.Sub(e.used) >= selectorMemory:
			delete(s.entries, key)
		case e.due.After(now):
			wait = min(wait, e.due.Sub(now))
		default:
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b objectKey) int { return s.entries[a].due.Compare(s.entries[b].due) })
	// What finds no free slot is taken when a request ends: its end wakes run.
	keys = keys[:min(len(keys), resolveConcurrency-s.inFlight)]
	for _, key := range keys {
		s.entries[key].fetching = true
	}
	s.inFlight += len(keys)
	return keys, wait
}

func (s *selectors) ask(ctx context.Context, key objectKey) {
	attempt, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	selector, err := s.fetch(attempt, key)
	if ctx.Err() != nil {
		return // nobody waits for the answer, and it would be counted as a failure
	}
	s.outcome(err)
	if s.answer(key, selector, err, time.Now()) {
		s.changed()
	}
	s.poke()
}

// answer notes how an attempt ended and reports whether that is news.
func (s *selectors) answer(key objectKey, selector labels.Selector, err error, now time.Time) (news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[key]
	s.inFlight--
	before := e.resolution
	e.fetching, e.asked, e.err = false, now, err
	switch {
	case err == nil:
		e.selector, e.failures = selector, 0
		e.due = now.Add(jittered(interval(key)))
	case metric.KindOf(err) != metric.KindUnavailable:
		e.selector = nil // the object is gone, or selects no pods: that is an answer too
		fallthrough
	default:
		e.due = now.Add(jittered(min(firstRetry<<min(e.failures, 8), lastRetry)))
		e.failures++
	}
	text := selectorText(e.selector)
	news = !before.attempted || text != e.text || (before.selector == nil) != (e.selector == nil) || errorText(before.err) != errorText(err)
	e.text = text
	if !e.attempted {
		e.attempted = true
		close(e.first)
	}
	return news
}

func interval(key objectKey) time.Duration {
	if key.fixed() {
		return refreshFixed
	}
	return refresh
}

// jittered is d less up to a tenth: what was asked for together does not stay together.
func jittered(d time.Duration) time.Duration { return d - rand.N(d/10+1) }

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
