package scrape

// The workers: a bounded pool of goroutines that scrape.

import "context"

// scrapeWorker is the channel of a goroutine that scrapes one target after the other: its next job comes there. A new
// goroutine for each scrape would grow its stack each time, and cost a fifth more CPU.
type scrapeWorker chan *scrapeJob

// assignScrapeJob gives a job to the idle worker that finished a job last, or to a new worker. The stack and the buffers of that idle
// worker are still in the processor's caches. The caller holds m.mu.
func (m *Manager) assignScrapeJob(ctx context.Context, j *scrapeJob) {
	if last := len(m.idleWorkers) - 1; last >= 0 {
		w := m.idleWorkers[last]
		m.idleWorkers = m.idleWorkers[:last]
		w <- j // does not block: an idle worker's channel is empty and has room for a job
		return
	}
	w := make(scrapeWorker, 1)
	w <- j
	m.scrapes.Go(func() { m.runScrapeWorker(ctx, w) })
}

// runScrapeWorker scrapes until w is closed.
func (m *Manager) runScrapeWorker(ctx context.Context, w scrapeWorker) {
	for j := range w {
		for j != nil {
			o := m.scrapeTargetSafely(ctx, j)
			m.finishScrape(ctx, j, o)
			j = m.reassignScrapeWorker(w, o)
		}
	}
}

// reassignScrapeWorker returns the worker's next job if a scrape waits for a place. Else it returns nil and makes the worker idle,
// or ends the worker if MaxConcurrent workers are idle already.
func (m *Manager) reassignScrapeWorker(w scrapeWorker, o scrapeOutcome) *scrapeJob {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		close(w)
		return nil
	}
	m.changeScrapeLanes(o.end) // first: else long scrapes would never leave the fast lane
	if j := m.startNextScrape(o.end); j != nil {
		if m.waiting[fastLane].scrapeQueueLength() > 0 && m.running[fastLane] < m.findLaneCapacity(fastLane) {
			m.wakeScrapeScheduler()
		}
		return j
	}
	if len(m.idleWorkers) < m.opts.MaxConcurrent {
		m.idleWorkers = append(m.idleWorkers, w)
	} else {
		close(w)
	}
	return nil
}

// stopScrapes interrupts all scrapes. It returns after they have ended and their connections are closed.
func (m *Manager) stopScrapes() {
	m.mu.Lock()
	m.stopped = true
	for _, w := range m.idleWorkers {
		close(w)
	}
	m.idleWorkers = nil
	for _, l := range m.loops {
		if l.scraping {
			l.inflight.Interrupt()
		}
	}
	m.mu.Unlock()
	m.scrapes.Wait()
	m.fetcher.closeIdleConns()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range m.loops {
		l.conn.Close()
	}
}
