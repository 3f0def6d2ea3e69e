// Package fairlimit limits the requests to the API server to a rate, with a turn for each namespace: the many requests of one namespace wait for each
// other, and those of another namespace do not wait for them.
package fairlimit

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Limiter lets requests through at a rate, after a burst. Of the namespaces whose requests wait, each gets the next place in turn; a request so waits for at
// most one request of every other namespace, and for those of its own. Its methods may be called concurrently.
type Limiter struct {
	interval time.Duration // between two requests
	burst    int

	mu        sync.Mutex // guards the fields below
	nextPlace time.Time  // the time at which the place after the last one is free; places before now add up to a burst
	queues    map[string][]*waitingRequest
	turns     []string // the namespaces with a queue, the next one first
	isTimed   bool     // grantPlaces will be called
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

// grantFreePlaces gives the places that are free to the requests whose turn it is, and comes back for the next. The caller holds mu.
func (l *Limiter) grantFreePlaces(now time.Time) {
	if earliest := now.Add(-time.Duration(l.burst-1) * l.interval); l.nextPlace.Before(earliest) {
		l.nextPlace = earliest
	}
	for len(l.turns) > 0 && !l.nextPlace.After(now) {
		namespace := l.turns[0]
		r := l.queues[namespace][0]
		l.takeTurn()
		if !r.canceled {
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

// takeTurn removes the request whose turn it is, and lets the other namespaces go first from then on. The caller holds mu.
func (l *Limiter) takeTurn() {
	namespace := l.turns[0]
	l.turns = l.turns[1:]
	if rest := l.queues[namespace][1:]; len(rest) > 0 {
		l.queues[namespace], l.turns = rest, append(l.turns, namespace)
		return
	}
	delete(l.queues, namespace)
}

// Wrap returns a transport whose requests wait for their places.
func (l *Limiter) Wrap(next http.RoundTripper) http.RoundTripper {
	return &limitedTransport{RoundTripper: next, limiter: l}
}

// limitedTransport is a transport with a limiter.
type limitedTransport struct {
	http.RoundTripper

	limiter *Limiter
}

// RoundTrip implements http.RoundTripper.
func (t *limitedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
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

// queueOfPath returns the queue of a request to the API server: its namespace; empty: it has none. Leases, without which another process takes the lead,
// have a queue of their own.
func queueOfPath(path string) string {
	if strings.HasPrefix(path, "/apis/coordination.k8s.io/") {
		return "coordination.k8s.io/leases" // no name of a namespace has a slash
	}
	_, rest, found := strings.Cut(path, "/namespaces/")
	if !found {
		return ""
	}
	namespace, _, _ := strings.Cut(rest, "/")
	return namespace
}
