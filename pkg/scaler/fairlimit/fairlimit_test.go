package fairlimit

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// waitFor waits in a bubble, where it takes no time.
func waitFor(d time.Duration) { time.Sleep(d) } //nolint:forbidigo // in a bubble

// TestNamespacesTakeTurns: thousands of requests of one namespace delay one of another by a place each, and all of them get the rate.
func TestNamespacesTakeTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(200, 400)
		start := time.Now()
		var all sync.WaitGroup
		for i := range 5000 {
			all.Go(func() {
				if err := l.Wait(t.Context(), "crowd"); err != nil {
					t.Errorf("request %d: %v", i, err)
				}
			})
		}
		synctest.Wait()
		for range 10 { // as the writes of an event, one after the other
			began := time.Now()
			if err := l.Wait(t.Context(), "sale"); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took > 10*time.Millisecond {
				t.Errorf("a request of another namespace waited for %s", took)
			}
		}
		all.Wait()
		if took, want := time.Since(start), (5000+10-400)*5*time.Millisecond; took < want-5*time.Millisecond || took > want+5*time.Millisecond {
			t.Errorf("all requests took %s; want %s", took, want)
		}
	})
}

// TestBurst: after a pause as many requests as the burst go at once, and no more, however long the pause was.
func TestBurst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(10, 3)
		for _, pause := range []time.Duration{0, time.Second, time.Hour} {
			waitFor(pause)
			var took []string
			began := time.Now()
			for range 5 {
				if err := l.Wait(t.Context(), "sale"); err != nil {
					t.Fatal(err)
				}
				took = append(took, fmt.Sprint(time.Since(began)))
			}
			if got, want := strings.Join(took, " "), "0s 0s 0s 100ms 200ms"; got != want {
				t.Errorf("after %s: %s; want %s", pause, got, want)
			}
		}
	})
}

// TestCanceledRequest: a request that is given up takes no place.
func TestCanceledRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(1, 1)
		_ = l.Wait(t.Context(), "sale")
		gone := errors.New("gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if err := l.Wait(ctx, "sale"); !errors.Is(err, gone) {
					t.Errorf("%v; want %v", err, gone)
				}
			})
		}
		synctest.Wait()
		began := time.Now()
		cancel(gone)
		all.Wait()
		if err := l.Wait(t.Context(), "sale"); err != nil || time.Since(began) != time.Second {
			t.Errorf("%v after %s; want the next place after a second", err, time.Since(began))
		}
	})
}

// TestCanceledRequestTakesNoTurn: the requests of another namespace do not go once for each request that was given up.
func TestCanceledRequestTakesNoTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(1, 1)
		_ = l.Wait(t.Context(), "sale")
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() { _ = l.Wait(t.Context(), "crowd") })
			all.Go(func() { _ = l.Wait(ctx, "sale") })
		}
		synctest.Wait()
		cancel()
		began := time.Now()
		if err := l.Wait(t.Context(), "sale"); err != nil || time.Since(began) > 2*time.Second {
			t.Errorf("%v after %s; want the first or the second place", err, time.Since(began))
		}
		all.Wait()
		if len(l.queues) != 0 || len(l.turns) != 0 {
			t.Errorf("left %v, %v", l.queues, l.turns)
		}
	})
}

// TestLeaseNeverWaits: however many namespaces have requests, the leader renews its Lease at once.
func TestLeaseNeverWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(200, 400)
		var all sync.WaitGroup
		for i := range 5000 {
			all.Go(func() { _ = l.Wait(t.Context(), fmt.Sprint(i)) })
		}
		synctest.Wait()
		transport := l.Wrap(roundTripFunc(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
		}))
		for _, prefix := range []string{"", "/k8s/clusters/one"} {
			path := prefix + "/apis/coordination.k8s.io/v1/namespaces/tachometer/leases/tachometer-scaler"
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://api"+path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			response, err := transport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			if took := time.Since(began); took != 0 {
				t.Errorf("%s waited for %s", path, took)
			}
		}
		all.Wait()
	})
}

// TestQueueOfPath has the paths that a client of the API server asks for.
func TestQueueOfPath(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/api/v1/namespaces/sale/pods": "sale",
		"/api/v1/namespaces/sale":      "sale",
		"/apis/scaler.tachometer.dev/v1alpha1/namespaces/sale/holds/a/status": "sale",
		"/apis/apps/v1/namespaces/sale/deployments/namespaces/scale":          "sale",
		"/apis/scaler.tachometer.dev/v1alpha1/holds":                          "",
		"/api/v1/namespaces": "",
		"/version":           "",
		"/apis/custom.metrics.k8s.io/v1beta2/namespaces/sale/pods/%2A/request_per_second": "sale",
		"/clusters/one/apis/scaler.tachometer.dev/v1alpha1/namespaces/sale/holds":         "sale",
	} {
		if got := queueOfPath(path); got != want {
			t.Errorf("%s: %q; want %q", path, got, want)
		}
	}
}

// roundTripFunc is a transport.
type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// closedBody remembers that it was closed.
type closedBody struct {
	*strings.Reader

	closed bool
}

func (b *closedBody) Close() error { b.closed = true; return nil }

// TestTransport: a request waits for its place, and is never sent if it is given up before.
func TestTransport(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sent := 0
		transport := New(1, 1).Wrap(roundTripFunc(func(*http.Request) (*http.Response, error) {
			sent++
			return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
		}))
		began := time.Now()
		for range 2 {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://api/api/v1/namespaces/sale/pods", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			response, err := transport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
		}
		if took := time.Since(began); took != time.Second || sent != 2 {
			t.Errorf("%d requests in %s", sent, took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		body := &closedBody{Reader: strings.NewReader("x")}
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://api/api/v1/namespaces/sale/pods", body)
		if err != nil {
			t.Fatal(err)
		}
		if response, err := transport.RoundTrip(r); !errors.Is(err, context.DeadlineExceeded) || sent != 2 || !body.closed {
			t.Errorf("%v, %v, %d sent, body closed: %v", response, err, sent, body.closed)
		}
	})
}
