package remote

import (
	"container/heap"
	"context"
	"time"
)

// Run refreshes what is read until ctx ends. It returns nil after every query that it started has ended. It runs once at
// a time.
func (b *Backend) Run(ctx context.Context) error {
	b.markRunning()
	defer b.discardQueries()
	defer b.runningRefreshes.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-b.wakeups:
		case <-timer.C:
		}
		timer.Reset(b.startDueRefreshes(ctx, time.Now()))
	}
}

func (b *Backend) markRunning() {
	b.metrics.addBackendSeries(b.name)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.running = true
	b.countRefreshedQueries(len(b.queries))
}

// countRefreshedQueries adds to the questions that are refreshed. The caller holds b.mu.
func (b *Backend) countRefreshedQueries(n int) {
	if b.running {
		b.metrics.refreshedQueries.WithLabelValues(b.name).Add(float64(n))
	}
}

// discardQueries forgets everything: nothing of it is refreshed any more.
func (b *Backend) discardQueries() {
	b.mu.Lock()
	for _, e := range b.queries {
		b.removeQuery(e)
	}
	b.running = false
	b.mu.Unlock()
	b.client.http.CloseIdleConnections()
	b.metrics.removeBackendSeries(b.name)
}

// removeQuery forgets a question. The caller holds b.mu.
func (b *Backend) removeQuery(e *standingQuery) {
	delete(b.queries, e.key)
	if e.queueIndex >= 0 {
		heap.Remove(&b.refreshQueue, e.queueIndex)
	}
	b.countRefreshedQueries(-1)
}

// scheduleQuery puts a question into the queue, unless it is forgotten. The caller holds b.mu.
func (b *Backend) scheduleQuery(e *standingQuery, due time.Time) {
	if b.queries[e.key] != e {
		return
	}
	e.dueAt = due
	if e.queueIndex < 0 {
		heap.Push(&b.refreshQueue, e)
	} else {
		heap.Fix(&b.refreshQueue, e.queueIndex)
	}
	if e.queueIndex == 0 {
		b.wakeRefreshLoop()
	}
}

// wakeRefreshLoop wakes the loop, now or as soon as it looks.
func (b *Backend) wakeRefreshLoop() {
	select {
	case b.wakeups <- struct{}{}:
	default:
	}
}

// startDueRefreshes starts the refreshes that are due, as far as places are free, and returns how long the loop may sleep. A
// refresh that ends wakes it earlier.
func (b *Backend) startDueRefreshes(ctx context.Context, now time.Time) time.Duration {
	const heartbeat = time.Minute
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.refreshQueue) > 0 && b.activeRefreshes < maxRefreshes {
		e := b.refreshQueue[0]
		if wait := e.dueAt.Sub(now); wait > 0 {
			return wait
		}
		if e.forgetIdleNamespaces(now, b.idleTimeout) {
			b.removeQuery(e)
			continue
		}
		e.dueAt = nextRefreshTime(now, now, b.config.Refresh, e.offset)
		heap.Fix(&b.refreshQueue, 0)
		if e.fetch == nil {
			b.startRefresh(ctx, e, now)
		} else if e.fetch.extends != nil {
			e.missedRefresh = true
		}
	}
	return heartbeat
}

// startRefresh refreshes a question. The caller holds b.mu.
func (b *Backend) startRefresh(ctx context.Context, e *standingQuery, now time.Time) {
	f := e.startFetch(now, nil)
	b.activeRefreshes++
	b.runningRefreshes.Go(func() {
		b.runQueryFetch(ctx, e, f, now)
		b.mu.Lock()
		defer b.mu.Unlock()
		b.activeRefreshes--
		b.wakeRefreshLoop()
	})
}

// refreshQueue is a heap of questions by the time they are due.
type refreshQueue []*standingQuery

func (q refreshQueue) Len() int           { return len(q) }
func (q refreshQueue) Less(i, j int) bool { return q[i].dueAt.Before(q[j].dueAt) }

func (q refreshQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].queueIndex, q[j].queueIndex = i, j
}

// Push is for package heap.
func (q *refreshQueue) Push(x any) {
	e := x.(*standingQuery)
	e.queueIndex = len(*q)
	*q = append(*q, e)
}

// Pop is for package heap.
func (q *refreshQueue) Pop() any {
	old := *q
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	e.queueIndex = -1
	return e
}
