package discovery

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// answers stands for the API server: it counts what it was asked, and answers what it is told to.
type answers struct {
	mu       sync.Mutex
	selector labels.Selector
	err      error
	asked    []time.Time
}

func (a *answers) fetch(context.Context, objectKey) (labels.Selector, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, time.Now())
	return a.selector, a.err
}

func (a *answers) set(selector labels.Selector, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.selector, a.err = selector, err
}

// times returns how long after start each question came, and forgets them.
func (a *answers) times(start time.Time) []time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	var times []time.Duration
	for _, at := range a.asked {
		times = append(times, at.Sub(start))
	}
	a.asked = nil
	return times
}

func (a *answers) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.asked)
}

// inBubble runs f with running selectors under a clock of their own.
func inBubble(t *testing.T, f func(t *testing.T, ctx context.Context, s *selectors, a *answers)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		a := &answers{selector: parse(t, "app=web")}
		s := newSelectors(a.fetch)
		done := make(chan struct{})
		go func() { defer close(done); s.run(ctx) }()
		f(t, ctx, s, a)
		cancel()
		<-done
	})
}

// pass lets time go by, and what is due happen.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

var (
	custom     = objectKey{schema.GroupResource{Group: "example.com", Resource: "workers"}, "shop", "web"}
	deployment = objectKey{schema.GroupResource{Group: "apps", Resource: "deployments"}, "shop", "web"}
	errGone    = metric.Errorf(metric.KindNotFound, "it does not exist")
	errDown    = metric.Errorf(metric.KindUnavailable, "it is down")
)

func needing(keys ...objectKey) map[objectKey]struct{} {
	set := map[objectKey]struct{}{}
	for _, key := range keys {
		set[key] = struct{}{}
	}
	return set
}

func TestSelectorsWaitOnceThenAnswerFromMemory(t *testing.T) {
	inBubble(t, func(t *testing.T, ctx context.Context, s *selectors, a *answers) {
		for range 10 {
			got, err := s.get(ctx, custom, time.Now())
			if err != nil || got.String() != "app=web" {
				t.Fatalf("get = %v, %v", got, err)
			}
		}
		if a.count() != 1 {
			t.Errorf("asked %d times, want once", a.count())
		}
	})
}

func TestSelectorsRefresh(t *testing.T) {
	for name, tc := range map[string]struct {
		key      objectKey
		interval time.Duration
	}{"custom resource": {custom, refresh}, "fixed selector": {deployment, refreshFixed}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, _ context.Context, s *selectors, a *answers) {
				var news atomic.Int32
				s.changed = func() { news.Add(1) }
				s.need(needing(tc.key), time.Now())
				synctest.Wait()
				if news.Load() != 1 || !s.settled() {
					t.Fatalf("after the first answer: %d news, settled %v", news.Load(), s.settled())
				}
				pass(tc.interval)
				if news.Load() != 1 || a.count() < 2 {
					t.Fatalf("an equal answer is news (%d), or nobody asked (%d)", news.Load(), a.count())
				}
				a.set(parse(t, "app=other"), nil)
				pass(tc.interval)
				if news.Load() != 2 || s.peek(tc.key).selector.String() != "app=other" {
					t.Errorf("%d news, selector %v", news.Load(), s.peek(tc.key).selector)
				}
			})
		})
	}
}

func TestSelectorsKeepTheLastThroughFailures(t *testing.T) {
	inBubble(t, func(t *testing.T, ctx context.Context, s *selectors, a *answers) {
		s.need(needing(custom), time.Now())
		synctest.Wait()
		a.set(nil, errDown)
		pass(refresh)
		if got, err := s.get(ctx, custom, time.Now()); err != nil || got.String() != "app=web" {
			t.Errorf("get while the API server is down = %v, %v; want the last selector", got, err)
		}
		a.set(nil, errGone)
		pass(refresh)
		if _, err := s.get(ctx, custom, time.Now()); !errors.Is(err, errGone) {
			t.Errorf("get after the object went = %v, want %v", err, errGone)
		}
		a.set(parse(t, "app=again"), nil)
		pass(refresh)
		if got := s.peek(custom).selector; got == nil || got.String() != "app=again" {
			t.Errorf("selector after the object came again = %v", got)
		}
	})
}

func TestSelectorsBackOff(t *testing.T) {
	inBubble(t, func(t *testing.T, _ context.Context, s *selectors, a *answers) {
		start := time.Now()
		a.set(nil, errDown)
		s.need(needing(custom), start)
		pass(2 * time.Minute)
		times := a.times(start)
		if len(times) < 9 || len(times) > 14 {
			t.Fatalf("asked %d times in 2 minutes: %v", len(times), times)
		}
		for i, want := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, lastRetry, lastRetry} {
			if got := times[i+1] - times[i]; got > want || got < want*9/10-time.Nanosecond {
				t.Errorf("pause %d = %v, want %v less up to a tenth", i, got, want)
			}
		}
	})
}

func TestSelectorsOfReadersAreForgotten(t *testing.T) {
	inBubble(t, func(t *testing.T, ctx context.Context, s *selectors, a *answers) {
		if _, err := s.get(ctx, custom, time.Now()); err != nil {
			t.Fatal(err)
		}
		pass(selectorMemory + refresh)
		if len(s.entries) != 0 {
			t.Errorf("%d selectors are remembered", len(s.entries))
		}
		a.times(time.Now())
		pass(time.Hour)
		if a.count() != 0 {
			t.Errorf("asked %d times for what nobody needs", a.count())
		}
		s.need(needing(custom), time.Now())
		pass(time.Hour)
		if len(s.entries) != 1 {
			t.Error("what an autoscaler needs was forgotten")
		}
	})
}

func TestSelectorsAskAgainForReadersAfterAFailure(t *testing.T) {
	inBubble(t, func(t *testing.T, ctx context.Context, s *selectors, a *answers) {
		a.set(nil, errGone)
		_, _ = s.get(ctx, custom, time.Now())
		for a.count() < 8 { // until the pauses are long
			pass(100 * time.Millisecond)
		}
		a.set(parse(t, "app=web"), nil)
		pass(firstRetry)
		if _, err := s.get(ctx, custom, time.Now()); !errors.Is(err, errGone) {
			t.Fatalf("first read after the object came = %v, want %v", err, errGone)
		}
		pass(time.Millisecond)
		if _, err := s.get(ctx, custom, time.Now()); err != nil {
			t.Errorf("second read after the object came = %v, want nil", err)
		}
	})
}

func TestSelectorsHurry(t *testing.T) {
	inBubble(t, func(t *testing.T, _ context.Context, s *selectors, a *answers) {
		s.need(needing(deployment), time.Now())
		pass(time.Second)
		s.hurry([]objectKey{deployment, custom}, refresh, time.Now())
		pass(refresh - 2*time.Second)
		if a.count() != 1 {
			t.Fatalf("asked %d times, want once so far", a.count())
		}
		pass(time.Second)
		if a.count() != 2 {
			t.Fatalf("asked %d times, want twice", a.count())
		}
		s.hurry([]objectKey{deployment}, 0, time.Now())
		pass(time.Millisecond)
		if a.count() != 3 {
			t.Errorf("asked %d times, want three times", a.count())
		}
	})
}

func TestSelectorsReaderGivesUp(t *testing.T) {
	t.Parallel()
	s := newSelectors(nil) // not running
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.get(ctx, custom, time.Now())
	if metric.KindOf(err) != metric.KindUnavailable || !errors.Is(err, context.Canceled) {
		t.Errorf("get = %v, want unavailable and canceled", err)
	}
}

func TestSelectorsAreBounded(t *testing.T) {
	t.Parallel()
	s := newSelectors(nil)
	for i := range maxSelectors {
		s.insert(objectKey{custom.resource, "shop", fmt.Sprint(i)}, time.Now())
	}
	if _, err := s.get(t.Context(), custom, time.Now()); metric.KindOf(err) != metric.KindUnavailable {
		t.Errorf("get one too many = %v, want unavailable", err)
	}
}

func TestSelectorsBoundRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int32
		s := newSelectors(func(context.Context, objectKey) (labels.Selector, error) {
			most.Store(max(most.Load(), now.Add(1)))
			<-time.After(100 * time.Millisecond)
			now.Add(-1)
			return labels.Everything(), nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); s.run(ctx) }()
		keys := map[objectKey]struct{}{}
		for i := range 100 {
			keys[objectKey{custom.resource, "shop", fmt.Sprint(i)}] = struct{}{}
		}
		s.need(keys, time.Now())
		pass(1400 * time.Millisecond) // 100 requests of 0.1 s, 8 at a time
		if !s.settled() || most.Load() != resolveConcurrency {
			t.Errorf("settled %v, at most %d at a time; want true, %d", s.settled(), most.Load(), resolveConcurrency)
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
		s := newSelectors(func(ctx context.Context, _ objectKey) (labels.Selector, error) {
			<-ctx.Done()
			<-time.After(time.Second)
			ended.Store(true)
			return nil, ctx.Err()
		})
		ctx, cancel := context.WithCancel(t.Context())
		s.need(needing(custom), time.Now())
		time.AfterFunc(time.Second, cancel)
		s.run(ctx)
		if !ended.Load() {
			t.Error("run returned before its request ended")
		}
	})
}
