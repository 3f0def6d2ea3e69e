// The loop that refreshes standing queries: a heap by due time, a bounded number of refreshes at once.

package remote

import (
	"container/heap"
	"context"
	"time"
)

// Run refreshes the standing queries until ctx ends. It returns nil after its last query has ended. Runs must not
// overlap.
func (b *Backend) Run(ctx context.Context) error {
	b.markRemoteBackendRunning()
	defer b.discardRemoteStandingQueries()
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
		timer.Reset(b.startDueRemoteRefreshes(ctx, time.Now()))
	}
}

func (b *Backend) markRemoteBackendRunning() {
	b.metrics.addRemoteBackendSeries(b.name)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.running = true
	b.countRefreshedRemoteQueries(len(b.queries))
}

// countRefreshedRemoteQueries adds n to the number of refreshed queries. The caller holds b.mu.
func (b *Backend) countRefreshedRemoteQueries(n int) {
	if b.running {
		b.metrics.refreshedQueries.WithLabelValues(b.name).Add(float64(n))
	}
}

// discardRemoteStandingQueries removes all standing queries.
func (b *Backend) discardRemoteStandingQueries() {
	b.mu.Lock()
	for _, sq := range b.queries {
		b.removeRemoteQuery(sq)
	}
	b.running = false
	b.mu.Unlock()
	b.client.http.CloseIdleConnections()
	b.metrics.removeRemoteBackendSeries(b.name)
}

// removeRemoteQuery removes a standing query. The caller holds b.mu.
func (b *Backend) removeRemoteQuery(sq *standingQuery) {
	delete(b.queries, sq.key)
	b.shares.removeRemoteQueryShare(sq)
	if sq.queueIndex >= 0 {
		heap.Remove(&b.refreshQueue, sq.queueIndex)
	}
	b.countRefreshedRemoteQueries(-1)
}

// scheduleRemoteQuery sets the time of the next refresh. It ignores a removed query. The caller holds b.mu.
func (b *Backend) scheduleRemoteQuery(sq *standingQuery, due time.Time) {
	if b.queries[sq.key] != sq {
		return
	}
	sq.dueAt = due
	if sq.queueIndex < 0 {
		heap.Push(&b.refreshQueue, sq)
	} else {
		heap.Fix(&b.refreshQueue, sq.queueIndex)
	}
	if sq.queueIndex == 0 {
		b.wakeRemoteRefreshLoop()
	}
}

// wakeRemoteRefreshLoop wakes the loop, without blocking.
func (b *Backend) wakeRemoteRefreshLoop() {
	select {
	case b.wakeups <- struct{}{}:
	default:
	}
}

// startDueRemoteRefreshes starts due refreshes, at most maxRefreshes at once. It returns how long the loop may sleep; a refresh that
// ends wakes the loop earlier.
func (b *Backend) startDueRemoteRefreshes(ctx context.Context, now time.Time) time.Duration {
	const heartbeat = time.Minute
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.refreshQueue) > 0 && b.activeRefreshes < maxRefreshes {
		sq := b.refreshQueue[0]
		if wait := sq.dueAt.Sub(now); wait > 0 {
			return wait
		}
		if sq.forgetUnreadRemoteNamespaces(now, idleTimeout) {
			b.removeRemoteQuery(sq)
			continue
		}
		sq.dueAt = nextRemoteRefreshTime(now, now, b.config.Refresh, sq.offset)
		heap.Fix(&b.refreshQueue, 0)
		if sq.fetch == nil {
			b.startRemoteRefresh(ctx, sq, now)
		} else if sq.fetch.extends != nil {
			sq.missedRefresh = true
		}
	}
	return heartbeat
}

// startRemoteRefresh refreshes a query in the background. The caller holds b.mu.
func (b *Backend) startRemoteRefresh(ctx context.Context, sq *standingQuery, now time.Time) {
	f := sq.startRemoteFetch(now, nil)
	b.activeRefreshes++
	b.runningRefreshes.Go(func() {
		b.runRemoteFetch(ctx, sq, f, now)
		b.mu.Lock()
		defer b.mu.Unlock()
		b.activeRefreshes--
		b.wakeRemoteRefreshLoop()
	})
}

// refreshQueue is a heap of standing queries by due time.
type refreshQueue []*standingQuery

func (q refreshQueue) Len() int           { return len(q) }
func (q refreshQueue) Less(i, j int) bool { return q[i].dueAt.Before(q[j].dueAt) }

func (q refreshQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].queueIndex, q[j].queueIndex = i, j
}

// Push implements heap.Interface.
func (q *refreshQueue) Push(x any) {
	sq := x.(*standingQuery)
	sq.queueIndex = len(*q)
	*q = append(*q, sq)
}

// Pop implements heap.Interface.
func (q *refreshQueue) Pop() any {
	old := *q
	sq := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	sq.queueIndex = -1
	return sq
}
