package scrape

import "context"

// scrapeWorker is a goroutine that scrapes one target after the other, by where it is given its next job. A goroutine of its own
// for each scrape would have to grow its stack each time, and cost a fifth more CPU.
type scrapeWorker chan *scrapeJob

// assignJob gives a job to the worker that ended its last one last, whose stack and buffers are still in the processor's
// caches, or to a new one. The caller holds m.mu.
func (m *Manager) assignJob(ctx context.Context, j *scrapeJob) {
	if last := len(m.idleWorkers) - 1; last >= 0 {
		w := m.idleWorkers[last]
		m.idleWorkers = m.idleWorkers[:last]
		w <- j // there is room for one
		return
	}
	w := make(scrapeWorker, 1)
	w <- j
	m.scrapes.Go(func() { m.runWorker(ctx, w) })
}

func (m *Manager) runWorker(ctx context.Context, w scrapeWorker) {
	for j := range w {
		for j != nil {
			o := m.scrapeTarget(ctx, j)
			m.finishScrape(ctx, j, o)
			j = m.reassignWorker(w, o)
		}
	}
}

// reassignWorker is what a worker does after a job: the next one that waits for a place, or wait for one. There are no more
// resting workers than may be at work.
func (m *Manager) reassignWorker(w scrapeWorker, o scrapeOutcome) *scrapeJob {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		close(w)
		return nil
	}
	m.changeLanes(o.end) // first, or those that have been at work for long would never leave the fast lane
	if j := m.startNextScrape(o.end); j != nil {
		if m.readyLoops[fastLane].len() > 0 && m.running[fastLane] < m.laneCapacity(fastLane) {
			m.wakeScheduler()
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

// stopScrapes cuts all scrapes short, and returns when they have ended and their connections are closed.
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
