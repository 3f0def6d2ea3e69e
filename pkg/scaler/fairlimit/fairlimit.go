// Package fairlimit limits the rate of the scaler's requests to kube-apiserver, with a turn for each namespace. The many requests of one
// namespace wait for each other, and another namespace's do not wait for them.
package fairlimit

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Limiter lets requests through at a rate, after a burst. The namespaces with waiting requests get the places in turn. A request waits for the
// earlier ones of its namespace, and beside each for at most one of every other namespace. Its methods may be called concurrently.
type Limiter struct {
	interval time.Duration // between two requests
	burst    int

	mu        sync.Mutex // guards the fields below
	nextPlace time.Time  // the time at which the place after the last one is free; places before now add up to a burst
	queues    map[string][]*waitingRequest
	turns     []string // the namespaces with a queue, the next one first
	isTimed   bool     // grantFreePlaces will be called
}

// waitingRequest is a request in a queue.
type waitingRequest struct {
	granted  chan struct{} // is closed when the request may go
	canceled bool
}

// New returns a limiter of so many requests a second, after a burst.
func New(perSecond, burst int) *Limiter {
	return &Limiter{interval: time.Second / time.Duration(perSecond), burst: burst, queues: map[string][]*waitingRequest{}}
}

// Wait waits for a place among the requests of a namespace. It returns an error if ctx ends first.
func (l *Limiter) Wait(ctx context.Context, namespace string) error {
	r := &waitingRequest{granted: make(chan struct{})}
	l.mu.Lock()
	if len(l.queues[namespace]) == 0 {
		l.turns = append(l.turns, namespace)
	}
	l.queues[namespace] = append(l.queues[namespace], r)
	l.grantFreePlaces(time.Now())
	l.mu.Unlock()
	select {
	case <-r.granted:
		return nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-r.granted: // at the same moment
		return nil
	default:
		r.canceled = true
		return context.Cause(ctx)
	}
}

// grantFreePlaces gives the free places to the next requests, and comes back for the others. The caller holds mu.
func (l *Limiter) grantFreePlaces(now time.Time) {
	if earliest := now.Add(-time.Duration(l.burst-1) * l.interval); l.nextPlace.Before(earliest) {
		l.nextPlace = earliest
	}
	for len(l.turns) > 0 && !l.nextPlace.After(now) {
		if r := l.takeTurn(); r != nil {
			close(r.granted)
			l.nextPlace = l.nextPlace.Add(l.interval)
		}
	}
	if len(l.turns) > 0 && !l.isTimed {
		l.isTimed = true
		time.AfterFunc(l.nextPlace.Sub(now), func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.isTimed = false
			l.grantFreePlaces(time.Now())
		})
	}
}

// takeTurn removes the next request of the first namespace, which goes last from then on; nil: all its requests were canceled. The caller
// holds mu.
func (l *Limiter) takeTurn() (next *waitingRequest) {
	namespace := l.turns[0]
	l.turns = l.turns[1:]
	queue := l.queues[namespace]
	for len(queue) > 0 && (next == nil || queue[0].canceled) {
		if !queue[0].canceled {
			next = queue[0]
		}
		queue = queue[1:]
	}
	if len(queue) == 0 {
		delete(l.queues, namespace)
		return next
	}
	l.queues[namespace], l.turns = queue, append(l.turns, namespace)
	return next
}

// Wrap returns a transport with requests that wait for their places.
func (l *Limiter) Wrap(next http.RoundTripper) http.RoundTripper {
	return &limitedTransport{RoundTripper: next, limiter: l}
}

// limitedTransport is a transport with a limiter.
type limitedTransport struct {
	http.RoundTripper

	limiter *Limiter
}

// RoundTrip implements http.RoundTripper. Leases have no limit: another process takes the lead if they wait for long.
func (t *limitedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.Contains(r.URL.Path, "/apis/coordination.k8s.io/") {
		return t.RoundTripper.RoundTrip(r)
	}
	if err := t.limiter.Wait(r.Context(), queueOfPath(r.URL.Path)); err != nil {
		if r.Body != nil {
			_ = r.Body.Close() // as a RoundTripper must
		}
		return nil, err
	}
	return t.RoundTripper.RoundTrip(r)
}

// WrappedRoundTripper returns the transport below, for client-go.
func (t *limitedTransport) WrappedRoundTripper() http.RoundTripper { return t.RoundTripper }

// queueOfPath returns the namespace of a request to the API server; empty: it has none. Requests without share a queue.
func queueOfPath(path string) string {
	_, rest, _ := strings.Cut(path, "/namespaces/")
	namespace, _, _ := strings.Cut(rest, "/")
	return namespace
}
