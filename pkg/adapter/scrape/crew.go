package scrape

import "context"

// worker is a goroutine that scrapes one target after the other, by where it is given its next job. A goroutine of its own
// for each scrape would have to grow its stack each time, and cost a fifth more CPU.
type worker chan *job

// assign gives a job to the worker that ended its last one last, whose stack and buffers are still in the processor's
// caches, or to a new one. The caller holds m.mu.
func (m *Manager) assign(ctx context.Context, j *job) {
	if last := len(m.idle) - 1; last >= 0 {
		w := m.idle[last]
		m.idle = m.idle[:last]
		w <- j // there is room for one
		return
	}
	w := make(worker, 1)
	w <- j
	m.scrapes.Go(func() { m.work(ctx, w) })
}

func (m *Manager) work(ctx context.Context, w worker) {
	for j := range w {
		for j != nil {
			o := m.scrape(ctx, j)
			m.finish(ctx, j, o)
			j = m.rest(w, o)
		}
	}
}

// rest is what a worker does after a job: the next one that waits for a place, or wait for one. There are no more
// resting workers than may be at work.
func (m *Manager) rest(w worker, o outcome) *job {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		close(w)
		return nil
	}
	m.changeLanes(o.end) // first, or those that have been at work for long would never leave the fast lane
	if j := m.nextJob(o.end); j != nil {
		if m.ready[fast].len() > 0 && m.running[fast] < m.places(fast) {
			m.signal()
		}
		return j
	}
	if len(m.idle) < m.opts.MaxConcurrent {
		m.idle = append(m.idle, w)
	} else {
		close(w)
	}
	return nil
}

// stop cuts all scrapes short, and returns when they have ended and their connections are closed.
func (m *Manager) stop() {
	m.mu.Lock()
	m.stopped = true
	for _, w := range m.idle {
		close(w)
	}
	m.idle = nil
	for _, l := range m.loops {
		if l.scraping {
			l.call.cut()
		}
	}
	m.mu.Unlock()
	m.scrapes.Wait()
	m.fetcher.close()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range m.loops {
		l.wire.close()
	}
}
