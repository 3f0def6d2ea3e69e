package scrape

// Changes of the set of targets: loops begin, and end with a staleness marker for each of their series.

import (
	"math"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/value"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/exposition"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// SetTargets replaces the set of targets, and keeps no part of the slice. The first scrape of a new target comes within an
// eighth of the interval, the next scrapes follow every interval. A target in both sets keeps its offset and its series; new
// families of it come with its next scrape. All series of a removed target end with a staleness marker, even if another pod
// of the same name takes its place. Of several targets of one pod the first counts.
func (m *Manager) SetTargets(targets []metric.Target) {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	compiled := make(map[string]*exposition.Families, len(m.families))
	loops := make(map[metric.Object]*scrapeLoop, len(targets))
	var added []*scrapeLoop
	for _, t := range targets {
		key := t.Key()
		if loops[key] != nil {
			continue
		}
		families := m.compileFamilies(compiled, t.Families)
		l := m.loops[key]
		if l != nil && l.scrapesTarget(t) {
			l.updateEndpoint(t, families)
			delete(m.loops, key)
		} else {
			l = newScrapeLoop(t, families, computeScrapeOffset(key, m.seed))
			added = append(added, l)
		}
		loops[key] = l
	}
	for _, l := range m.loops {
		m.retireLoop(l, now)
	}
	m.loops, m.families = loops, compiled
	m.scheduleNewLoops(added, now)
	m.metrics.targets.Set(float64(len(loops)))
	m.wakeScheduler()
}

// compileFamilies returns the compiled form of families. Targets with the same families share it.
func (m *Manager) compileFamilies(compiled map[string]*exposition.Families, families []string) *exposition.Families {
	key := strings.Join(families, "\x00")
	f := compiled[key]
	if f == nil {
		if f = m.families[key]; f == nil {
			f = exposition.NewFamilies(families)
		}
		compiled[key] = f
	}
	return f
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
			m.scheduleLoop(l, firstScrapeTime(now, m.opts.Interval, l.offset))
		}
	}
}

func (m *Manager) scheduleLoop(l *scrapeLoop, due time.Time) {
	l.due = due
	if m.dueLoops.pushLoop(l) {
		m.wakeScheduler()
	}
}

// retireLoop ends a loop. If the loop is in a scrape, it interrupts the scrape, and finishRetired writes the markers.
func (m *Manager) retireLoop(l *scrapeLoop, now time.Time) {
	l.retired = true
	m.markTried(l)
	if l.scraping {
		l.inflight.Interrupt()
		m.retiring[l.key] = l
		return
	}
	m.endLoopSeries(l, now)
}

// finishRetired ends a retired loop after its scrape, and schedules its successor.
func (m *Manager) finishRetired(l *scrapeLoop, now time.Time) {
	m.endLoopSeries(l, now)
	delete(m.retiring, l.key)
	if successor := m.loops[l.key]; successor != nil {
		m.scheduleLoop(successor, now)
	}
}

// markTried counts a loop off the first round.
func (m *Manager) markTried(l *scrapeLoop) {
	if l.firstRound {
		l.firstRound = false
		m.firstRoundLeft--
	}
}

// endLoopSeries writes a staleness marker to every series of a retired loop, and closes its connection.
func (m *Manager) endLoopSeries(l *scrapeLoop, now time.Time) {
	l.conn.Close()
	t := max(now.UnixMilli(), l.newestSample+1)
	for _, s := range l.parser.AliveSeries() {
		m.appendStaleMarker(s, t)
	}
	l.parser = nil
}

var staleMarker = math.Float64frombits(value.StaleNaN)

// appendStaleMarker ends a series at t. An appender that rejects the marker counts that itself; the series then ends by age.
func (m *Manager) appendStaleMarker(s *exposition.Series, t int64) {
	s.Ref, _ = m.appender.Append(s.Ref, s.Labels, t, staleMarker)
	m.metrics.staleMarkers.Inc()
}
