package event

import (
	"container/list"
	"context"
	"sync"
)

// queue are the orders that wait for one target, in the order of delivery. Any number of callers put, one takes.
type queue struct {
	most int

	mu      sync.Mutex // guards all below
	waiting *list.List // of *entry
	latest  map[string]*list.Element
	changed chan struct{} // closed, and made anew, whenever an entry comes or goes
}

// entry is one order of a delivery.
type entry struct {
	order    order
	delivery *Delivery
}

// supersedes tells whether a later order for the same hold makes an earlier one needless: not a raise that expires before
// it, since then neither might be delivered.
func (e *entry) supersedes(earlier *entry) bool {
	return e.order.release || !e.order.expiry.Before(earlier.order.expiry)
}

func newQueue(most int) *queue {
	return &queue{most: most, waiting: list.New(), latest: map[string]*list.Element{}, changed: make(chan struct{})}
}

// put adds e at the end, and returns the one that it supersedes, nil if none. It waits for room; the error is ctx's, or ErrStopped.
func (q *queue) put(ctx context.Context, stopped <-chan struct{}, e *entry) (*entry, error) {
	for {
		replaced, ok, changed := q.try(e)
		if ok {
			return replaced, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-stopped:
			return nil, ErrStopped
		case <-changed:
		}
	}
}

func (q *queue) try(e *entry) (replaced *entry, ok bool, changed <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	id := e.order.hold.ID
	if at := q.latest[id]; at != nil && e.supersedes(at.Value.(*entry)) {
		replaced = q.waiting.Remove(at).(*entry)
	} else if q.waiting.Len() >= q.most {
		return nil, false, q.changed
	}
	q.latest[id] = q.waiting.PushBack(e)
	q.signal()
	return replaced, true, nil
}

// take removes and returns the first, nil when ctx has ended. It waits for one.
func (q *queue) take(ctx context.Context) *entry {
	for ctx.Err() == nil {
		e, changed := q.first()
		if e != nil {
			return e
		}
		select {
		case <-ctx.Done():
		case <-changed:
		}
	}
	return nil
}

func (q *queue) first() (*entry, <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	at := q.waiting.Front()
	if at == nil {
		return nil, q.changed
	}
	e := q.waiting.Remove(at).(*entry)
	if id := e.order.hold.ID; q.latest[id] == at {
		delete(q.latest, id)
	}
	q.signal()
	return e, nil
}

// overtaken tells whether an order that was taken is superseded by one that waits.
func (q *queue) overtaken(e *entry) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	at := q.latest[e.order.hold.ID]
	return at != nil && at.Value.(*entry).supersedes(e)
}

// signal wakes who waits. The caller holds mu.
func (q *queue) signal() {
	close(q.changed)
	q.changed = make(chan struct{})
}
