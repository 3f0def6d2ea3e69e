package remote

import (
	"container/heap"
	"context"
	"time"
)

// Run refreshes what is read until ctx ends. It returns nil after every query that it started has ended. It runs once at
// a time.
func (b *Backend) Run(ctx context.Context) error {
	b.begin()
	defer b.end()
	defer b.flights.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-b.wake:
		case <-timer.C:
		}
		timer.Reset(b.dispatch(ctx, time.Now()))
	}
}

func (b *Backend) begin() {
	b.metrics.attach(b.name)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.running = true
	b.count(len(b.questions))
}

// count adds to the questions that are refreshed. The caller holds b.mu.
func (b *Backend) count(n int) {
	if b.running {
		b.metrics.questions.WithLabelValues(b.name).Add(float64(n))
	}
}

// end forgets everything: nothing of it is refreshed any more.
func (b *Backend) end() {
	b.mu.Lock()
	for _, e := range b.questions {
		b.drop(e)
	}
	b.running = false
	b.mu.Unlock()
	b.client.http.CloseIdleConnections()
	b.metrics.detach(b.name)
}

// drop forgets a question. The caller holds b.mu.
func (b *Backend) drop(e *question) {
	delete(b.questions, e.key)
	if e.index >= 0 {
		heap.Remove(&b.queue, e.index)
	}
	b.count(-1)
}

// schedule puts a question into the queue, unless it is forgotten. The caller holds b.mu.
func (b *Backend) schedule(e *question, due time.Time) {
	if b.questions[e.key] != e {
		return
	}
	e.due = due
	if e.index < 0 {
		heap.Push(&b.queue, e)
	} else {
		heap.Fix(&b.queue, e.index)
	}
	if e.index == 0 {
		b.signal()
	}
}

// signal wakes the loop, now or as soon as it looks.
func (b *Backend) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// dispatch starts the refreshes that are due, as far as places are free, and returns how long the loop may sleep. A
// refresh that ends wakes it earlier.
func (b *Backend) dispatch(ctx context.Context, now time.Time) time.Duration {
	const heartbeat = time.Minute
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.queue) > 0 && b.refreshing < maxRefreshes {
		e := b.queue[0]
		if wait := e.due.Sub(now); wait > 0 {
			return wait
		}
		if e.forget(now, b.idle) {
			b.drop(e)
			continue
		}
		e.due = nextDue(now, now, b.config.Refresh, e.place)
		heap.Fix(&b.queue, 0)
		if e.flight == nil {
			b.start(ctx, e, now)
		} else if e.flight.extends != nil {
			e.overdue = true
		}
	}
	return heartbeat
}

// start refreshes a question. The caller holds b.mu.
func (b *Backend) start(ctx context.Context, e *question, now time.Time) {
	f := e.depart(now, nil)
	b.refreshing++
	b.flights.Go(func() {
		b.fly(ctx, e, f, now)
		b.mu.Lock()
		defer b.mu.Unlock()
		b.refreshing--
		b.signal()
	})
}

// queue is a heap of questions by the time they are due.
type queue []*question

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push is for package heap.
func (q *queue) Push(x any) {
	e := x.(*question)
	e.index = len(*q)
	*q = append(*q, e)
}

// Pop is for package heap.
func (q *queue) Pop() any {
	old := *q
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	e.index = -1
	return e
}
