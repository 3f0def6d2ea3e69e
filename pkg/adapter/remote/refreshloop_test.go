package remote

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// newSelectorQuery returns a read with its own selector, and so its own standing query.
func (w *testBackend) newSelectorQuery(i int) rule.Query {
	q := w.newRuleQuery("requests", "shop")
	q.Selector = []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "route", fmt.Sprint(i))}
	return q
}

// TestManyQueries spreads queries over the interval: each is sent once in it, and few at the same time.
func TestManyQueries(t *testing.T) {
	t.Parallel()
	const queries = 200
	runInBubble(t, "", sharedRules, func(w *testBackend) {
		w.server.updateState(func(s *fakeServer) { s.delay = 100 * time.Millisecond })
		for i := range queries {
			go func() {
				if got := formatValues(w.Evaluate(w.t.Context(), w.newSelectorQuery(i), time.Now())); got != "shop/web-1=1" {
					t.Error(got)
				}
			}()
		}
		passTime(20 * time.Second)
		if _, most := w.server.countRunning(); most > 2*maxRefreshes {
			t.Errorf("%d queries at the same time", most)
		}
		w.server.updateState(func(s *fakeServer) { s.forms, s.maxRunning = nil, 0 })
		passTime(50 * time.Second)
		times := map[string]int{}
		for _, q := range w.server.receivedQueries() {
			times[q]++
		}
		if len(times) != queries {
			t.Errorf("%d queries refreshed, want %d", len(times), queries)
		}
		for q, n := range times {
			if n < 9 || n > 11 {
				t.Errorf("%d times in ten intervals: %s", n, q)
			}
		}
		if _, most := w.server.countRunning(); most > maxRefreshes { // 200 × 0.1 s in 5 s: four on average
			t.Errorf("%d refreshes at one time, want %d at most", most, maxRefreshes)
		}
	})
}

// TestTooSlowForAll has more queries than the server can evaluate in time: all results age alike, and reads get an error
// with the cause.
func TestTooSlowForAll(t *testing.T) {
	t.Parallel()
	const queries = 100
	runInBubble(t, "", sharedRules, func(w *testBackend) {
		ask := func(i int) error {
			_, err := w.Evaluate(w.t.Context(), w.newSelectorQuery(i), time.Now())
			return err
		}
		for i := range queries {
			if err := ask(i); err != nil {
				t.Fatal(err)
			}
		}
		w.server.updateState(func(s *fakeServer) { s.delay = 4 * time.Second }) // 100 × 4 s / 8: a round takes 50 s
		passTime(time.Minute)
		w.server.updateState(func(s *fakeServer) { s.forms = nil })
		passTime(100 * time.Second)
		times := map[string]int{}
		for _, q := range w.server.receivedQueries() {
			times[q]++
		}
		for q, n := range times {
			if n > 3 {
				t.Errorf("%d times in two rounds: %s", n, q)
			}
		}
		if len(times) != queries {
			t.Errorf("%d queries refreshed in two rounds, want %d", len(times), queries)
		}
		for i := range queries {
			if err := ask(i); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestRefreshesThatDoNotKeepUp(t *testing.T) {
	t.Parallel()
	w := newTestBackend(t, "", sharedRules, Options{})
	now := time.Now()
	r := cachedResult{result: &queryResult{evaluatedAt: now.Add(-3 * time.Minute)}}
	_, err := w.serveCachedResult(w.newRuleQuery("requests", "shop"), r, now)
	if err == nil || err.Error() != "backend prometheus: last answer 3m0s ago: refreshing does not keep up" || metric.KindOf(err) != metric.KindUnavailable {
		t.Error(err)
	}
}

func TestNextDue(t *testing.T) {
	t.Parallel()
	const interval = 5 * time.Second
	began := time.Unix(1767323045, 0)
	for i := range 1000 {
		p := computeRefreshOffset(fmt.Sprint(i), 1)
		first := nextRefreshTime(began, began, interval, p)
		if gap := first.Sub(began); gap < interval/2-time.Millisecond || gap > 3*interval/2 {
			t.Fatalf("place %v: the first after %v", p, gap)
		}
		second := nextRefreshTime(first, first.Add(4*time.Second), interval, p)
		if gap := second.Sub(first); (gap - interval).Abs() > time.Millisecond {
			t.Fatalf("place %v: the second after %v", p, gap)
		}
		late := nextRefreshTime(first, first.Add(12*time.Second), interval, p)
		if gap := late.Sub(first); (gap - 15*time.Second).Abs() > time.Millisecond {
			t.Fatalf("place %v: %v after one that took 12s", p, gap)
		}
	}
	if computeRefreshOffset("a", 1) == computeRefreshOffset("a", 2) {
		t.Error("two replicas query in step")
	}
}

func TestRefreshBackoff(t *testing.T) {
	t.Parallel()
	var got []time.Duration
	for failures := range 6 {
		got = append(got, newRefreshBackoff(5*time.Second).Delay(failures+1)/time.Second)
	}
	if want := []time.Duration{5, 10, 20, 40, 60, 60}; !slices.Equal(got, want) {
		t.Errorf("pauses %d s, want %d", got, want)
	}
	if got := newRefreshBackoff(10 * time.Minute).Delay(1); got != time.Minute {
		t.Errorf("with a long refresh: %v", got)
	}
}

func TestConnectCause(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]string{
		syscall.ECONNREFUSED: "connection refused",
		syscall.EHOSTUNREACH: "no route to host",
		syscall.ENETUNREACH:  "no route to host",
		syscall.ETIMEDOUT:    "connection timed out",
		syscall.ECONNRESET:   "connection reset",
		syscall.EPIPE:        "connection reset",
		io.EOF:               "connection closed",
		net.ErrClosed:        "connection closed",
		&net.DNSError{Name: "prometheus", Err: "timeout"}: "no such host prometheus",
		&net.OpError{Op: "dial", Err: errors.New("x")}:    "x",
	} {
		if f := classifyBackendTransportError(fmt.Errorf("wrapped: %w", err), time.Second); f.text != want || !f.serverWide || f.outcome != outcomeConnect {
			t.Errorf("%v: %+v, want %s", err, f, want)
		}
	}
	if f := classifyBackendTransportError(errors.New("other"), time.Second); f.serverWide || f.outcome != outcomeOther || f.text != "other" {
		t.Errorf("%+v", f)
	}
}

// TestRunEnds ends a run amid queries: Run waits for them, and removes all.
func TestRunEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newTestBackend(t, "", sharedRules, Options{})
		stop := w.startBackend()
		if got := formatValues(w.evaluateRequests("shop")); got != "shop/web-1=1" {
			t.Fatal(got)
		}
		w.server.updateState(func(s *fakeServer) { s.delay = 4 * time.Second })
		for running := 0; running == 0; running, _ = w.server.countRunning() {
			passTime(100 * time.Millisecond)
		}
		stop()
		if running, _ := w.server.countRunning(); running != 0 || len(w.queries) != 0 || len(w.refreshQueue) != 0 {
			t.Errorf("%d queries under way, %d kept, %d in the queue", running, len(w.queries), len(w.refreshQueue))
		}
		w.server.updateState(func(s *fakeServer) { s.delay = 0 })
		if got := formatValues(w.evaluateRequests("shop")); got != "shop/web-1=1" {
			t.Errorf("read afterwards: %s", got)
		}
		stop = w.startBackend()
		passTime(20 * time.Second)
		if n := len(w.server.receivedQueries()); n < 5 {
			t.Errorf("%d queries after a second run began", n)
		}
		stop()
	})
}
