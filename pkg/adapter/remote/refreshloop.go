// The loop that refreshes standing queries: a heap by due time, a bounded number of refreshes at once.

package remote

import (
	"container/heap"
	"context"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/retry"
)

// Run refreshes the standing queries until ctx ends. It returns nil after its last query has ended. Runs must not
// overlap.
func (b *Backend) Run(ctx context.Context) error {
	b.markBackendRunning()
	defer b.discardStandingQueries()
	defer b.runningRefreshes.Wait()
	retry.RunRounds(ctx, b.wakeups, b.startDueRefreshes)
	return nil
}

func (b *Backend) markBackendRunning() {
	b.metrics.addBackendSeries(b.name)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.running = true
	b.countRefreshedQueries(len(b.queries))
}

// countRefreshedQueries adds n to the number of refreshed queries. The caller holds b.mu.
func (b *Backend) countRefreshedQueries(n int) {
	if b.running {
		b.metrics.refreshedQueries.WithLabelValues(b.name).Add(float64(n))
	}
}

// discardStandingQueries removes all standing queries.
func (b *Backend) discardStandingQueries() {
	b.mu.Lock()
	for _, sq := range b.queries {
		b.removeStandingQuery(sq)
	}
	b.running = false
	b.mu.Unlock()
	b.client.http.CloseIdleConnections()
	b.metrics.removeBackendSeries(b.name)
}

// removeStandingQuery removes a standing query. The caller holds b.mu.
func (b *Backend) removeStandingQuery(sq *standingQuery) {
	delete(b.queries, sq.key)
	b.shares.removeQueryFromShare(sq)
	if sq.queueIndex >= 0 {
		heap.Remove(&b.refreshQueue, sq.queueIndex)
	}
	b.countRefreshedQueries(-1)
}

// scheduleQueryRefresh sets the time of the next refresh. It ignores a removed query. The caller holds b.mu.
func (b *Backend) scheduleQueryRefresh(sq *standingQuery, due time.Time) {
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
		b.wakeRefreshLoop()
	}
}

// wakeRefreshLoop wakes the loop, without blocking.
func (b *Backend) wakeRefreshLoop() {
	select {
	case b.wakeups <- struct{}{}:
	default:
	}
}

// startDueRefreshes starts due refreshes, at most maxRefreshes at once. It returns how long the loop may sleep; a refresh that
// ends wakes the loop earlier.
func (b *Backend) startDueRefreshes(ctx context.Context, now time.Time) time.Duration {
	const heartbeat = time.Minute
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.refreshQueue) > 0 && b.activeRefreshes < maxRefreshes {
		sq := b.refreshQueue[0]
		if wait := sq.dueAt.Sub(now); wait > 0 {
			return wait
		}
		if sq.forgetUnreadNamespaces(now, idleTimeout) {
			b.removeStandingQuery(sq)
			continue
		}
		sq.dueAt = nextRefreshTime(now, now, b.config.Refresh, sq.offset)
		heap.Fix(&b.refreshQueue, 0)
		if sq.fetch == nil {
			b.startQueryRefresh(ctx, sq, now)
		} else if sq.fetch.extends != nil {
			sq.missedRefresh = true
		}
	}
	return heartbeat
}

// startQueryRefresh refreshes a query in the background. The caller holds b.mu.
func (b *Backend) startQueryRefresh(ctx context.Context, sq *standingQuery, now time.Time) {
	f := sq.startQueryFetch(now, nil)
	b.activeRefreshes++
	b.runningRefreshes.Go(func() {
		b.runQueryFetch(ctx, sq, f, now)
		b.mu.Lock()
		defer b.mu.Unlock()
		b.activeRefreshes--
		b.wakeRefreshLoop()
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
