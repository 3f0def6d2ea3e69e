// Places for which addresses wait in turn.

package apiserver

import (
	"slices"
	"sync"
	"time"
)

// addressQueue is a number of places. A free place goes to the waiting address that had the fewest lately, so that a kubelet's probe or a new
// connection of kube-apiserver waits for one or two others of a flood, and not for all of it. It is safe for concurrent use.
type addressQueue struct {
	mu      sync.Mutex // guards the rest
	free    int
	waiting []*addressWaiter // in order of arrival
	lately  map[string]int   // places given since the time below, by address
	since   time.Time
}

// addressWaiter waits for a place until given is closed.
type addressWaiter struct {
	address string
	given   chan struct{}
}

const (
	// addressQueueMemory is for how long a place counts against its address: some periods of the kubelet's most frequent probe.
	addressQueueMemory = 10 * time.Second
	// maxQueueAddresses bounds the addresses with a count; beyond it, all begin anew.
	maxQueueAddresses = 4096
)

func newAddressQueue(places int) *addressQueue {
	return &addressQueue{free: places, lately: map[string]int{}}
}

// takeQueuedPlace waits for a place, and reports whether it has one. The caller gives it back with returnQueuedPlace.
func (q *addressQueue) takeQueuedPlace(address string, givenUp <-chan struct{}) bool {
	w := &addressWaiter{address, make(chan struct{})}
	q.mu.Lock()
	q.waiting = append(q.waiting, w)
	q.givePlaces(time.Now())
	q.mu.Unlock()
	select {
	case <-w.given:
		return true
	case <-givenUp:
	}
	if !q.removeWaiter(w) { // it was given a place meanwhile
		q.returnQueuedPlace()
	}
	return false
}

func (q *addressQueue) returnQueuedPlace() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.free++
	q.givePlaces(time.Now())
}

// removeWaiter reports whether w was still waiting.
func (q *addressQueue) removeWaiter(w *addressWaiter) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.waiting, w)
	if i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
	}
	return i >= 0
}

// givePlaces gives the free places away. The caller holds q.mu.
func (q *addressQueue) givePlaces(now time.Time) {
	if now.Sub(q.since) > addressQueueMemory || len(q.lately) >= maxQueueAddresses {
		clear(q.lately)
		q.since = now
	}
	for q.free > 0 && len(q.waiting) > 0 {
		next := 0
		for i, w := range q.waiting {
			if q.lately[w.address] < q.lately[q.waiting[next].address] {
				next = i
			}
		}
		w := q.waiting[next]
		q.waiting = slices.Delete(q.waiting, next, next+1)
		q.lately[w.address]++
		q.free--
		close(w.given)
	}
}
