// Places for which addresses wait in turn.

package apiserver

import (
	"cmp"
	"container/heap"
	"slices"
	"sync"
	"time"
)

// admissionQueue is a number of places. A free place goes to the waiting address that had the fewest lately, so that a kubelet's probe or a new
// connection of kube-apiserver waits for one or two others of a flood, and not for all of it. It is safe for concurrent use.
type admissionQueue struct {
	mu       sync.Mutex // guards the rest
	free     int
	lines    map[string]*addressLine // by address: the waiting ones, and those that had a place since the time below
	waiting  admissionLineHeap       // the lines with a waiter; the first is next
	since    time.Time
	arrivals uint64
}

// addressLine are the waiters of an address.
type addressLine struct {
	lately  int // places that it was given since admissionQueue.since
	waiters []*addressWaiter
	index   int // in the heap
}

// addressWaiter waits for a place until given is closed.
type addressWaiter struct {
	line    *addressLine
	arrival uint64
	given   chan struct{}
}

const (
	// addressQueueMemory is for how long a place counts against its address: some periods of the kubelet's most frequent probe.
	addressQueueMemory = 10 * time.Second
	// maxQueueAddresses bounds the addresses with a count; beyond it, all begin anew.
	maxQueueAddresses = 4096
)

func newAdmissionQueue(places int) *admissionQueue {
	return &admissionQueue{free: places, lines: map[string]*addressLine{}}
}

// takeQueuedPlace waits for a place, and reports whether it has one. The caller gives it back with returnQueuedPlace.
func (q *admissionQueue) takeQueuedPlace(address string, givenUp <-chan struct{}) bool {
	w := q.addWaiter(address)
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

func (q *admissionQueue) returnQueuedPlace() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.free++
	q.givePlaces(time.Now())
}

func (q *admissionQueue) addWaiter(address string) *addressWaiter {
	q.mu.Lock()
	defer q.mu.Unlock()
	line := q.lines[address]
	if line == nil {
		line = &addressLine{}
		q.lines[address] = line
	}
	q.arrivals++
	w := &addressWaiter{line, q.arrivals, make(chan struct{})}
	if line.waiters = append(line.waiters, w); len(line.waiters) == 1 {
		heap.Push(&q.waiting, line)
	}
	q.givePlaces(time.Now())
	return w
}

// removeWaiter reports whether w was still waiting.
func (q *admissionQueue) removeWaiter(w *addressWaiter) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(w.line.waiters, w)
	if i >= 0 {
		q.takeOffLine(w.line, i)
	}
	return i >= 0
}

// givePlaces gives the free places away. The caller holds q.mu.
func (q *admissionQueue) givePlaces(now time.Time) {
	if now.Sub(q.since) > addressQueueMemory || len(q.lines) >= maxQueueAddresses+len(q.waiting) {
		q.forgetGivenPlaces(now)
	}
	for q.free > 0 && len(q.waiting) > 0 {
		line := q.waiting[0]
		q.free--
		close(line.waiters[0].given)
		line.lately++
		q.takeOffLine(line, 0)
	}
}

// takeOffLine removes a waiter from its line, and keeps the heap in order. The caller holds q.mu.
func (q *admissionQueue) takeOffLine(line *addressLine, i int) {
	if line.waiters = slices.Delete(line.waiters, i, i+1); len(line.waiters) > 0 {
		heap.Fix(&q.waiting, line.index)
	} else {
		heap.Remove(&q.waiting, line.index)
	}
}

// forgetGivenPlaces lets all addresses begin anew. The caller holds q.mu.
func (q *admissionQueue) forgetGivenPlaces(now time.Time) {
	for address, line := range q.lines {
		if line.lately = 0; len(line.waiters) == 0 {
			delete(q.lines, address)
		}
	}
	heap.Init(&q.waiting)
	q.since = now
}

// admissionLineHeap has the line with the fewest places first; of equal ones, the line whose first waiter waits longest.
type admissionLineHeap []*addressLine

// Len implements heap.Interface.
func (h admissionLineHeap) Len() int { return len(h) }

// Less implements heap.Interface.
func (h admissionLineHeap) Less(i, j int) bool {
	a, b := h[i], h[j]
	return cmp.Or(cmp.Compare(a.lately, b.lately), cmp.Compare(a.waiters[0].arrival, b.waiters[0].arrival)) < 0
}

// Swap implements heap.Interface.
func (h admissionLineHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *admissionLineHeap) Push(line any) {
	l := line.(*addressLine)
	l.index = len(*h)
	*h = append(*h, l)
}

// Pop implements heap.Interface.
func (h *admissionLineHeap) Pop() any {
	last := (*h)[len(*h)-1]
	(*h)[len(*h)-1] = nil
	*h = (*h)[:len(*h)-1]
	return last
}
