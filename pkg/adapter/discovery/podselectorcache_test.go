package discovery

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/panics"
)

// lookupScript stands for the API server: it counts lookups, and returns scripted answers.
type lookupScript struct {
	mu       sync.Mutex
	selector labels.Selector
	err      error
	asked    []time.Time
}

func (a *lookupScript) fetchScripted(context.Context, objectKey) (labels.Selector, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, time.Now())
	return a.selector, a.err
}

func (a *lookupScript) setAnswer(selector labels.Selector, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.selector, a.err = selector, err
}

// lookupTimes returns how long after start each question came, and forgets them.
func (a *lookupScript) lookupTimes(start time.Time) []time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	var times []time.Duration
	for _, at := range a.asked {
		times = append(times, at.Sub(start))
	}
	a.asked = nil
	return times
}

func (a *lookupScript) countLookups() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.asked)
}

// runCacheInBubble runs f with running selectors under a clock of their own.
func runCacheInBubble(t *testing.T, f func(t *testing.T, ctx context.Context, s *podSelectorCache, a *lookupScript)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		a := &lookupScript{selector: parseSelector(t, "app=web")}
		s := newPodSelectorCache(a.fetchScripted)
		done := make(chan struct{})
		go func() { defer close(done); s.runSelectorLookups(ctx) }()
		f(t, ctx, s, a)
		cancel()
		<-done
	})
}

// sleepAndSettle lets time pass and due lookups run.
func sleepAndSettle(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

var (
	custom     = objectKey{schema.GroupResource{Group: "example.com", Resource: "workers"}, "shop", "web"}
	deployment = objectKey{schema.GroupResource{Group: "apps", Resource: "deployments"}, "shop", "web"}
	errGone    = metric.Errorf(metric.KindNotFound, "it does not exist")
	errDown    = metric.Errorf(metric.KindUnavailable, "it is down")
)

func neededKeys(keys ...objectKey) map[objectKey]struct{} {
	set := map[objectKey]struct{}{}
	for _, key := range keys {
		set[key] = struct{}{}
	}
	return set
}

func TestSelectorsWaitOnceThenAnswerFromMemory(t *testing.T) {
	runCacheInBubble(t, func(t *testing.T, ctx context.Context, s *podSelectorCache, a *lookupScript) {
		for range 10 {
			got, err := s.getCachedSelector(ctx, custom, time.Now())
			if err != nil || got.String() != "app=web" {
				t.Fatalf("get = %v, %v", got, err)
			}
		}
		if a.countLookups() != 1 {
			t.Errorf("asked %d times, want once", a.countLookups())
		}
	})
}

// TestSelectorsAreFreshWhenRead holds reads to maxReadAge, of selectors that can change.
func TestSelectorsAreFreshWhenRead(t *testing.T) {
	for name, tc := range map[string]struct {
		key objectKey
		age time.Duration
		// want is the selector of a read at that age, after the object's selector has changed.
		want string
	}{
		"young":          {custom, maxReadAge - time.Millisecond, "app=web"},
		"old":            {custom, maxReadAge, "app=other"},
		"fixed selector": {deployment, maxReadAge, "app=web"},
	} {
		t.Run(name, func(t *testing.T) {
			runCacheInBubble(t, func(t *testing.T, ctx context.Context, s *podSelectorCache, a *lookupScript) {
				if _, err := s.getCachedSelector(ctx, tc.key, time.Now()); err != nil {
					t.Fatal(err)
				}
				sleepAndSettle(tc.age)
				a.setAnswer(parseSelector(t, "app=other"), nil)
				start := time.Now()
				got, err := s.getCachedSelector(ctx, tc.key, start)
				if err != nil || got.String() != tc.want || time.Since(start) != 0 {
					t.Errorf("get = %v, %v after %v; want %s at once", got, err, time.Since(start), tc.want)
				}
			})
		})
	}
}

// TestPanicEndsOneSelectorLookup: a panic over the API server's response is the error of a lookup, and the last selector stays.
func TestPanicEndsOneSelectorLookup(t *testing.T) {
	t.Parallel()
	guard := panics.NewGuard("read of an object", prometheus.NewCounter(prometheus.CounterOpts{Name: "panics"}))
	synctest.Test(t, func(t *testing.T) {
		var panicking atomic.Bool
		s := newPodSelectorCache(guardSelectorLookup(guard, func(context.Context, objectKey) (labels.Selector, error) {
			if panicking.Load() {
				panic("text of a response")
			}
			return parseSelector(t, "app=web"), nil
		}))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); s.runSelectorLookups(ctx) }()
		for range 2 {
			if got, err := s.getCachedSelector(ctx, custom, time.Now()); err != nil || got.String() != "app=web" {
				t.Errorf("get = %v, %v; want the last selector", got, err)
			}
			panicking.Store(true)
			sleepAndSettle(maxReadAge)
		}
		other := objectKey{custom.resource, "shop", "other"}
		if _, err := s.getCachedSelector(ctx, other, time.Now()); err == nil || metric.KindOf(err) != metric.KindUnavailable || !strings.Contains(err.Error(), "ended in a panic") || strings.Contains(err.Error(), "text") {
			t.Errorf("the first read of another object: %v", err)
		}
		if testutil.ToFloat64(guard.Counter()) == 0 {
			t.Error("no panic is counted")
		}
		cancel()
		<-done
	})
}

// TestSelectorsDelayOneRead has the API server hang: reads get the last selector, and one of them is delayed.
func TestSelectorsDelayOneRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var hangs atomic.Bool
		s := newPodSelectorCache(func(ctx context.Context, _ objectKey) (labels.Selector, error) {
			if hangs.Load() {
				<-ctx.Done()
				return nil, metric.Errorf(metric.KindUnavailable, "ask: %w", ctx.Err())
			}
			return parseSelector(t, "app=web"), nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); s.runSelectorLookups(ctx) }()
		other := objectKey{custom.resource, "shop", "other"}
		read := func(key objectKey) time.Duration {
			t.Helper()
			start := time.Now()
			if got, err := s.getCachedSelector(ctx, key, start); err != nil || got.String() != "app=web" {
				t.Errorf("get = %v, %v; want the last selector", got, err)
			}
			return time.Since(start)
		}
		read(custom)
		read(other)
		sleepAndSettle(maxReadAge)
		hangs.Store(true)
		if first, second := read(custom), read(other); first != maxReadDelay || second != 0 {
			t.Errorf("reads were delayed by %v and %v, want %v and 0", first, second, maxReadDelay)
		}
		for range 60 {
			sleepAndSettle(time.Second)
			if d := read(custom) + read(other); d != 0 {
				t.Fatalf("a later read was delayed by %v", d)
			}
		}
		hangs.Store(false)
		sleepAndSettle(maxRetryDelay + lookupTimeout)
		read(custom)
		synctest.Wait()
		if s.stalled {
			t.Error("the cache is stalled after a lookup succeeded")
		}
		cancel()
		<-done
	})
}

func TestSelectorsRefresh(t *testing.T) {
	for name, tc := range map[string]struct {
		key      objectKey
		interval time.Duration
	}{"custom resource": {custom, defaultRefreshInterval}, "fixed selector": {deployment, fixedRefreshInterval}} {
		t.Run(name, func(t *testing.T) {
			runCacheInBubble(t, func(t *testing.T, _ context.Context, s *podSelectorCache, a *lookupScript) {
				var news atomic.Int32
				s.onChange = func() { news.Add(1) }
				s.setNeededPodSelectors(neededKeys(tc.key), time.Now())
				synctest.Wait()
				if news.Load() != 1 || s.awaitsFirstLookups(nil) {
					t.Fatalf("after the first answer: %d news, settled %v", news.Load(), !s.awaitsFirstLookups(nil))
				}
				sleepAndSettle(tc.interval)
				if news.Load() != 1 || a.countLookups() < 2 {
					t.Fatalf("an equal answer is news (%d), or no lookup ran (%d)", news.Load(), a.countLookups())
				}
				a.setAnswer(parseSelector(t, "app=other"), nil)
				sleepAndSettle(tc.interval)
				if news.Load() != 2 || s.peekSelector(tc.key).selector.String() != "app=other" {
					t.Errorf("%d news, selector %v", news.Load(), s.peekSelector(tc.key).selector)
				}
			})
		})
	}
}

func TestSelectorsKeepTheLastThroughFailures(t *testing.T) {
	runCacheInBubble(t, func(t *testing.T, ctx context.Context, s *podSelectorCache, a *lookupScript) {
		s.setNeededPodSelectors(neededKeys(custom), time.Now())
		synctest.Wait()
		a.setAnswer(nil, errDown)
		sleepAndSettle(defaultRefreshInterval)
		if got, err := s.getCachedSelector(ctx, custom, time.Now()); err != nil || got.String() != "app=web" {
			t.Errorf("get while the API server is down = %v, %v; want the last selector", got, err)
		}
		a.setAnswer(nil, errGone)
		sleepAndSettle(defaultRefreshInterval)
		if _, err := s.getCachedSelector(ctx, custom, time.Now()); !errors.Is(err, errGone) {
			t.Errorf("get after the object went = %v, want %v", err, errGone)
		}
		a.setAnswer(parseSelector(t, "app=again"), nil)
		sleepAndSettle(defaultRefreshInterval)
		if got := s.peekSelector(custom).selector; got == nil || got.String() != "app=again" {
			t.Errorf("selector after the object came again = %v", got)
		}
	})
}

func TestSelectorsBackOff(t *testing.T) {
	runCacheInBubble(t, func(t *testing.T, _ context.Context, s *podSelectorCache, a *lookupScript) {
		start := time.Now()
		a.setAnswer(nil, errDown)
		s.setNeededPodSelectors(neededKeys(custom), start)
		sleepAndSettle(2 * time.Minute)
		times := a.lookupTimes(start)
		if len(times) < 9 || len(times) > 14 {
			t.Fatalf("asked %d times in 2 minutes: %v", len(times), times)
		}
		for i, want := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, maxRetryDelay, maxRetryDelay} {
			if got := times[i+1] - times[i]; got > want || got < want*9/10-time.Nanosecond {
				t.Errorf("pause %d = %v, want %v less up to a tenth", i, got, want)
			}
		}
	})
}

func TestSelectorsOfReadersAreForgotten(t *testing.T) {
	runCacheInBubble(t, func(t *testing.T, ctx context.Context, s *podSelectorCache, a *lookupScript) {
		if _, err := s.getCachedSelector(ctx, custom, time.Now()); err != nil {
			t.Fatal(err)
		}
		sleepAndSettle(selectorTTL + defaultRefreshInterval)
		if len(s.entries) != 0 {
			t.Errorf("%d selectors are remembered", len(s.entries))
		}
		a.lookupTimes(time.Now())
		sleepAndSettle(time.Hour)
		if a.countLookups() != 0 {
			t.Errorf("asked %d times for what nobody needs", a.countLookups())
		}
		s.setNeededPodSelectors(neededKeys(custom), time.Now())
		sleepAndSettle(time.Hour)
		if len(s.entries) != 1 {
			t.Error("the cache dropped a selector that an autoscaler needs")
		}
	})
}

// TestAbsentObjectIsLookedUpRarely: readers of an object that does not exist cause lookups at growing pauses, nothing else does, and
// the first read after a pause finds the object.
func TestAbsentObjectIsLookedUpRarely(t *testing.T) {
	runCacheInBubble(t, func(t *testing.T, ctx context.Context, s *podSelectorCache, a *lookupScript) {
		a.setAnswer(nil, errGone)
		start := time.Now()
		for time.Since(start) < time.Hour {
			if _, err := s.getCachedSelector(ctx, custom, time.Now()); !errors.Is(err, errGone) {
				t.Fatalf("read = %v, want %v", err, errGone)
			}
			sleepAndSettle(500 * time.Millisecond)
		}
		times := a.lookupTimes(start)
		if len(times) < 15 || len(times) > 24 {
			t.Fatalf("%d lookups in an hour: %v", len(times), times)
		}
		for i, want := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second} {
			if got := times[i+1] - times[i]; got > want+500*time.Millisecond || got < want*9/10 {
				t.Errorf("pause %d = %v, want about %v", i, got, want)
			}
		}
		sleepAndSettle(selectorTTL - time.Minute) // no reader
		if a.countLookups() != 0 {
			t.Errorf("%d lookups without a reader", a.countLookups())
		}
		a.setAnswer(parseSelector(t, "app=web"), nil)
		if _, err := s.getCachedSelector(ctx, custom, time.Now()); err != nil {
			t.Errorf("read after the object came = %v, want nil", err)
		}
	})
}

// TestObjectsThatDoNotExist: 10,000 reads of different objects cost some lookups a second while they last, none after, and no other
// namespace is rejected.
func TestObjectsThatDoNotExist(t *testing.T) {
	runCacheInBubble(t, func(t *testing.T, ctx context.Context, s *podSelectorCache, a *lookupScript) {
		a.setAnswer(nil, errGone)
		for i := range 10_000 { // 100 a second
			_, err := s.getCachedSelector(ctx, objectKey{deployment.resource, "evil", fmt.Sprint("none-", i)}, time.Now())
			if err == nil {
				t.Fatal("an object that does not exist has a selector")
			}
			sleepAndSettle(10 * time.Millisecond)
		}
		if got := a.countLookups(); got < 100 || got > 50+100*5+10 {
			t.Errorf("%d lookups in 100 s", got)
		}
		a.lookupTimes(time.Now())
		a.setAnswer(parseSelector(t, "app=web"), nil)
		if _, err := s.getCachedSelector(ctx, deployment, time.Now()); err != nil {
			t.Errorf("read in another namespace = %v", err)
		}
		s.setNeededPodSelectors(neededKeys(objectKey{deployment.resource, "evil", "web"}), time.Now())
		synctest.Wait()
		if s.awaitsFirstLookups(nil) {
			t.Error("the object of an autoscaler waits behind readers' objects")
		}
		a.lookupTimes(time.Now())
		s.setNeededPodSelectors(nil, time.Now())
		sleepAndSettle(20 * time.Minute)
		if got := a.countLookups(); got != 0 || len(s.entries) != 0 || len(s.namespaceEntries) != 0 {
			t.Errorf("%d lookups after the reads, %d entries", got, len(s.entries))
		}
	})
}

// TestAutoscalersOfAbsentObjectsAreLimited: a namespace with thousands of HPAs of objects that do not exist does not flood the API
// server, and another namespace's HPA does not wait for it.
func TestAutoscalersOfAbsentObjectsAreLimited(t *testing.T) {
	runCacheInBubble(t, func(t *testing.T, _ context.Context, s *podSelectorCache, a *lookupScript) {
		a.setAnswer(nil, errGone)
		keys := map[objectKey]struct{}{}
		for i := range 2000 {
			keys[objectKey{deployment.resource, "evil", fmt.Sprint(i)}] = struct{}{}
		}
		s.setNeededPodSelectors(keys, time.Now())
		sleepAndSettle(time.Minute)
		if got := a.countLookups(); got < 1000 || got > 1000+60*20+20 {
			t.Errorf("%d lookups in a minute", got)
		}
		keys = maps.Clone(keys)
		keys[deployment] = struct{}{}
		s.setNeededPodSelectors(keys, time.Now())
		sleepAndSettle(limitedRetryInterval)
		if !s.peekSelector(deployment).attempted {
			t.Error("the object of another namespace's HPA waits")
		}
	})
}

func TestSelectorsHurry(t *testing.T) {
	runCacheInBubble(t, func(t *testing.T, _ context.Context, s *podSelectorCache, a *lookupScript) {
		s.setNeededPodSelectors(neededKeys(deployment), time.Now())
		sleepAndSettle(time.Second)
		s.refreshSelectorsSoon([]objectKey{deployment, custom}, defaultRefreshInterval, time.Now())
		sleepAndSettle(defaultRefreshInterval - 2*time.Second)
		if a.countLookups() != 1 {
			t.Fatalf("asked %d times, want once so far", a.countLookups())
		}
		sleepAndSettle(time.Second)
		if a.countLookups() != 2 {
			t.Fatalf("asked %d times, want twice", a.countLookups())
		}
		s.refreshSelectorsSoon([]objectKey{deployment}, 0, time.Now())
		sleepAndSettle(time.Millisecond)
		if a.countLookups() != 3 {
			t.Errorf("asked %d times, want three times", a.countLookups())
		}
	})
}

func TestSelectorsReaderGivesUp(t *testing.T) {
	t.Parallel()
	s := newPodSelectorCache(nil) // not running
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.getCachedSelector(ctx, custom, time.Now())
	if metric.KindOf(err) != metric.KindUnavailable || !errors.Is(err, context.Canceled) {
		t.Errorf("get = %v, want unavailable and canceled", err)
	}
}

// TestSelectorsAreBounded: of a namespace with too many objects, an absent one gives way; without one the read is rejected. Others have
// room.
func TestSelectorsAreBounded(t *testing.T) {
	t.Parallel()
	s, now := newPodSelectorCache(nil), time.Now()
	for i := range maxNamespaceSelectors {
		s.insertSelector(objectKey{custom.resource, "evil", fmt.Sprint(i)}, now).attempted = true
	}
	extra := objectKey{custom.resource, "evil", "extra"}
	if _, _, err := s.requestSelector(extra, now); metric.KindOf(err) != metric.KindUnavailable {
		t.Errorf("one too many = %v, want unavailable", err)
	}
	if _, _, err := s.requestSelector(custom, now); err != nil {
		t.Errorf("object of another namespace = %v", err)
	}
	absent := objectKey{custom.resource, "evil", "7"}
	s.entries[absent].err = errGone
	if _, _, err := s.requestSelector(extra, now); err != nil || s.entries[absent] != nil {
		t.Errorf("with an absent object = %v, want its place", err)
	}
}

func TestSelectorsBoundRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int32
		s := newPodSelectorCache(func(context.Context, objectKey) (labels.Selector, error) {
			most.Store(max(most.Load(), now.Add(1)))
			<-time.After(100 * time.Millisecond)
			now.Add(-1)
			return labels.Everything(), nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); s.runSelectorLookups(ctx) }()
		keys := map[objectKey]struct{}{}
		for i := range 100 {
			keys[objectKey{custom.resource, "shop", fmt.Sprint(i)}] = struct{}{}
		}
		s.setNeededPodSelectors(keys, time.Now())
		sleepAndSettle(1400 * time.Millisecond) // 100 requests of 0.1 s, 8 at a time
		if s.awaitsFirstLookups(nil) || most.Load() != maxConcurrentLookups {
			t.Errorf("settled %v, at most %d at a time; want true, %d", !s.awaitsFirstLookups(nil), most.Load(), maxConcurrentLookups)
		}
		cancel()
		<-done
	})
}

// TestSelectorsEndWithTheirRequests holds run to its contract: it returns after all that it started.
func TestSelectorsEndWithTheirRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var ended atomic.Bool
		s := newPodSelectorCache(func(ctx context.Context, _ objectKey) (labels.Selector, error) {
			<-ctx.Done()
			<-time.After(time.Second)
			ended.Store(true)
			return nil, ctx.Err()
		})
		ctx, cancel := context.WithCancel(t.Context())
		s.setNeededPodSelectors(neededKeys(custom), time.Now())
		time.AfterFunc(time.Second, cancel)
		s.runSelectorLookups(ctx)
		if !ended.Load() {
			t.Error("run returned before its request ended")
		}
	})
}
