package scrape

// Changes of the set of targets: loops begin, and end with a staleness marker for each of their series.

import (
	"container/heap"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// SetTargets replaces the set of targets, and keeps no part of the slice. The first scrape of a new target comes within an
// eighth of the interval, the next scrapes follow every interval. A target in both sets keeps its offset and its series; new
// families of it come with its next scrape. All series of a removed target end with a staleness marker, even if another pod
// of the same name takes its place. With another URL of the same pod they end with its first scrape, so that no read in between
// misses the pod. An ending target is scraped every endingInterval, for as long as it answers: the first scrape that begins then and
// fails ends its series. Of several targets of one pod the first counts.
func (m *Manager) SetTargets(targets []metric.Target) {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	demands := m.ages.beginTargetDemands(m.families)
	loops := make(map[metric.Object]*scrapeLoop, len(targets))
	var added []*scrapeLoop
	for _, t := range targets {
		key := t.Key()
		if loops[key] != nil {
			continue
		}
		families := demands.rankTargetFamilies(t.Namespace, t.Families, t.Standing)
		l := m.loops[key]
		if l != nil && l.isLoopOfTarget(t) {
			begins := t.Ending && !l.ending
			l.updateScrapeTarget(t, families, m.clock.clockTimeAt(now))
			delete(m.loops, key)
			switch {
			case begins:
				m.prepareTargetEnd(l, now)
			case l.status.cause != "" && !l.status.seriesEnded && !l.scraping:
				m.endFailedScrapeSeries(l, m.clock.clockTimeAt(now))
			case !l.ready && !l.scraping:
				m.endUnseenCounters(l, m.clock.clockTimeAt(now))
			}
		} else {
			offset := unplacedOffset
			if l != nil {
				offset = l.offset
			}
			l = newScrapeLoop(t, families, offset)
			l.places = m.joinNamespacePlaces(key.Namespace)
			l.reserve = func(bytes int64) error { return m.appender.Reserve(key.Namespace, bytes) }
			m.takeOverScrapeLoop(l)
			added = append(added, l)
		}
		m.noteTargetServing(l, t.Ready && !t.Ending, m.clock.clockTimeAt(now))
		loops[key] = l
	}
	for _, l := range m.loops {
		m.noteTargetServing(l, false, m.clock.clockTimeAt(now))
		m.retireScrapeLoop(l)
	}
	m.expireUnseenPods(m.clock.clockTimeAt(now))
	m.loops, m.families, m.ages = loops, demands.compiled, demands.ages
	placeNewLoops(added, loops, m.seed)
	m.scheduleNewLoops(added, now)
	m.metrics.targets.Set(float64(len(loops)))
	m.wakeScrapeScheduler()
}

// scheduleNewLoops schedules new loops; the caller has written the markers of their predecessors. A loop whose predecessor is
// still in a scrape waits for the end of that scrape.
func (m *Manager) scheduleNewLoops(added []*scrapeLoop, now time.Time) {
	if !m.targetsSet {
		m.targetsSet = true
		m.firstRoundLeft = len(added)
		for _, l := range added {
			l.firstRound = true
		}
	}
	for _, l := range added {
		if m.retiring[l.key] == nil {
			m.scheduleScrapeLoop(l, firstScrapeTime(now, m.opts.Interval, l.offset))
		}
	}
}

func (m *Manager) scheduleScrapeLoop(l *scrapeLoop, due time.Time) {
	l.due = due
	if m.dueLoops.pushScrapeLoop(l) {
		m.wakeScrapeScheduler()
	}
}

// retireScrapeLoop ends a loop. If the loop is in a scrape, it interrupts the scrape, and finishRetiredLoop writes the markers.
func (m *Manager) retireScrapeLoop(l *scrapeLoop) {
	l.retired = true
	if !l.scraping {
		m.endLoopPredecessor(l, m.clock.Now().UnixMilli())
	}
	m.leaveNamespacePlaces(l)
	m.markTargetScraped(l)
	if l.scraping {
		l.inflight.Interrupt()
		m.retiring[l.key] = l
		return
	}
	m.endRetiredLoop(l)
}

// finishRetiredLoop ends a retired loop after its scrape, and schedules its successor.
func (m *Manager) finishRetiredLoop(l *scrapeLoop) {
	m.endLoopPredecessor(l, m.clock.Now().UnixMilli())
	delete(m.retiring, l.key)
	successor := m.loops[l.key]
	if successor != nil && successor.isSuccessorOfLoop(l) {
		l.conn.Close()
		successor.predecessor = l
	} else {
		m.endRetiredLoop(l)
	}
	if successor != nil {
		m.scheduleScrapeLoop(successor, time.Now())
	}
}

// takeOverScrapeLoop lets a new loop take the place of another URL's loop of the same pod: the pod is known to have had the
// families of that loop; their series go on until the first scrape of the new loop.
func (m *Manager) takeOverScrapeLoop(l *scrapeLoop) {
	before := m.loops[l.key]
	if before == nil || !l.isSuccessorOfLoop(before) {
		return
	}
	l.status = before.status.copyTargetStatus()
	if before.scraping { // see finishRetiredLoop
		return
	}
	delete(m.loops, l.key)
	before.retired = true
	m.leaveNamespacePlaces(before)
	m.markTargetScraped(before)
	m.endLoopPredecessor(before, m.clock.Now().UnixMilli())
	before.conn.Close()
	l.predecessor = before
}

// isSuccessorOfLoop reports whether a loop scrapes another URL of the same pod, while it goes on.
func (l *scrapeLoop) isSuccessorOfLoop(before *scrapeLoop) bool {
	return l.uid == before.uid && l.node == before.node && !l.ending
}

// endLoopPredecessor ends the series of a loop's predecessor, if they go on.
func (m *Manager) endLoopPredecessor(l *scrapeLoop, at int64) {
	if l.predecessor != nil {
		m.endLoopSeries(l.predecessor, at)
		l.predecessor = nil
	}
}

// prepareTargetEnd prepares for the end of a pod. The series of a pod that has not answered for a while end now, which tells
// until when its counts are unknown. Another pod is scraped soon: it may live for less than an interval.
func (m *Manager) prepareTargetEnd(l *scrapeLoop, now time.Time) {
	if l.ended {
		return
	}
	silent := l.status.cause != "" && m.clock.clockTimeAt(now).Sub(l.status.pageAt) > 2*m.opts.Interval
	switch {
	case silent && l.scraping:
		l.inflight.Interrupt()
		return
	case silent:
		m.endTerminatedLoop(l)
		return
	case l.scraping:
		return
	}
	interval := min(endingInterval, m.opts.Interval)
	if soon := firstScrapeTime(now, interval, l.offset).Add(interval / 2); l.due.After(soon) {
		l.due = soon
		heap.Init(&m.dueLoops)
	}
}

// endTerminatedLoop ends the series of a pod that is being deleted: when that began, if no page has followed, so that its last counts are
// on none; else at their newest samples. The loop stays, without scrapes, until it is no longer a target.
func (m *Manager) endTerminatedLoop(l *scrapeLoop) {
	l.ended = true
	m.endLoopSeries(l, l.endingAt.UnixMilli())
}

// endRetiredLoop ends the series of a loop that is no longer a target.
func (m *Manager) endRetiredLoop(l *scrapeLoop) {
	if l.ending {
		m.endTerminatedLoop(l)
		return
	}
	m.endLoopSeries(l, m.clock.Now().UnixMilli())
}

// maxReadinessLag is how much later than its process's end a pod is known not to be ready, in scrape intervals.
const maxReadinessLag = 2

// endFailedScrapeSeries ends the series of a target after a failed scrape, if it serves nothing: the pod is not ready, or another process
// takes the place of its own. Counts go on with the next page of the same process, and begin anew if a process comes back with
// less. A ready pod may serve requests beside its failing page: its series go on. If it is not known whether the process is
// the same, only a refused connection shows that nothing is served.
func (m *Manager) endFailedScrapeSeries(l *scrapeLoop, now time.Time) {
	if !l.ready {
		m.endUnseenCounters(l, now)
	}
	s, replaced := &l.status, l.replaced
	l.replaced = false
	idle := !l.ready && (!s.refusedAt.IsZero() || !l.started.IsZero())
	if l.parser == nil || s.cause == "" || !replaced && (!idle || s.seriesEnded && !s.refused) {
		return
	}
	t := max(l.findSeriesEnd(now, m.opts.Interval).UnixMilli(), l.newestSample+1)
	s.seriesEnded, l.readyAt = true, time.Time{}
	m.endLoopPredecessor(l, t)
	m.endSeriesSafely(l, func() {
		for _, s := range l.parser.EndSeries(t) {
			m.appendStaleMarker(s, t)
		}
	})
	l.newestSample = t
}

// endUnseenCounters moves the end of a target's counters to the time until which the pod was ready again: its counts since their
// end is on no page.
func (m *Manager) endUnseenCounters(l *scrapeLoop, now time.Time) {
	if l.parser == nil || !l.status.seriesEnded || l.readyAt.IsZero() {
		return
	}
	if !l.unreadyAt.IsZero() {
		now = l.unreadyAt
	}
	until := max(now.UnixMilli(), l.newestSample+2)
	l.readyAt = time.Time{}
	m.endSeriesSafely(l, func() {
		for _, before := range l.parser.EndCountersAgain(until) {
			m.appendCounterBeginning(l, before)
			m.appendStaleMarker(before.Series, until)
			l.newestSample = until
		}
	})
}

// findSeriesEnd returns the time at which the series of a target ended that serves nothing: when its process ended if the cluster tells, or
// when it stopped being ready, or shortly before at a refused connection. Until then it may have counted.
func (l *scrapeLoop) findSeriesEnd(now time.Time, interval time.Duration) time.Time {
	s := &l.status
	if s.seriesEnded { // a counter that comes back smaller began later
		return now
	}
	if l.ending && !l.endingAt.IsZero() { // it was ready until then, and stops for that reason
		return l.endingAt
	}
	if l.finished.After(s.pageAt) && !l.finished.After(now) {
		return l.finished
	}
	end := now
	switch {
	case !l.unreadyAt.IsZero():
		end = l.unreadyAt
	case s.refusedAt.IsZero(): // it has served nothing since its last page
		end = s.pageAt
	}
	if refused := s.refusedAt; !refused.IsZero() && end.Sub(refused) <= maxReadinessLag*interval && refused.Before(end) {
		end = refused
	}
	return end
}

// markTargetScraped counts a loop off the first round.
func (m *Manager) markTargetScraped(l *scrapeLoop) {
	if l.firstRound {
		l.firstRound = false
		m.firstRoundLeft--
	}
}

// endLoopSeries writes a staleness marker, at least behind its newest sample, to every series of a loop, and closes its
// connection. Series without a sample for longer than the appender keeps samples have ended before.
func (m *Manager) endLoopSeries(l *scrapeLoop, at int64) {
	l.conn.Close()
	if l.parser == nil {
		return
	}
	m.endUnseenCounters(l, m.clock.Now())
	if at = max(at, l.newestSample+1); at-l.newestSample <= m.opts.Retention.Milliseconds() {
		m.endSeriesSafely(l, func() {
			for _, s := range l.parser.AliveSeries() {
				m.appendStaleMarker(s, at)
			}
		})
	}
	l.parser.Release()
	l.parser = nil
}
