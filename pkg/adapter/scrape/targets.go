package scrape

import (
	"math"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/value"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/exposition"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// SetTargets makes targets the ones that are scraped, and keeps no part of the slice. A new target is scraped at
// once, within an eighth of the interval, and then every interval. A target that stays keeps its place and its
// series; new families of it come with its next scrape. All series of a target that goes end with a
// staleness marker, also where a target of the same name but of another pod takes its place. Of several
// targets of one pod the first counts.
func (m *Manager) SetTargets(targets []metric.Target) {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	compiled := make(map[string]*exposition.Families, len(m.families))
	loops := make(map[metric.Object]*loop, len(targets))
	var added []*loop
	for _, t := range targets {
		key := t.Key()
		if loops[key] != nil {
			continue
		}
		families := m.compile(compiled, t.Families)
		l := m.loops[key]
		if l != nil && l.is(t) {
			l.update(t, families)
			delete(m.loops, key)
		} else {
			l = newLoop(t, families, placeOf(key, m.opts.Seed))
			added = append(added, l)
		}
		loops[key] = l
	}
	for _, l := range m.loops {
		m.retire(l, now)
	}
	m.loops, m.families = loops, compiled
	m.admit(added, now)
	m.metrics.targets.Set(float64(len(loops)))
	m.signal()
}

// compile returns the compiled form of families; targets with the same demand share it.
func (m *Manager) compile(compiled map[string]*exposition.Families, families []string) *exposition.Families {
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

// admit schedules new loops, after the markers of the loops that they replace have been written. One whose
// predecessor is still in a scrape waits for that to end.
func (m *Manager) admit(added []*loop, now time.Time) {
	if !m.started {
		m.started = true
		m.first = len(added)
		for _, l := range added {
			l.firstRound = true
		}
	}
	for _, l := range added {
		if m.leaving[l.key] == nil {
			m.schedule(l, firstDue(now, m.opts.Interval, l.place))
		}
	}
}

func (m *Manager) schedule(l *loop, due time.Time) {
	l.due = due
	if m.queue.add(l) {
		m.signal()
	}
}

// retire ends a loop. One in a scrape is cancelled and writes its markers when the scrape has ended.
func (m *Manager) retire(l *loop, now time.Time) {
	l.gone = true
	m.tried(l)
	if l.scraping {
		l.call.cut()
		m.leaving[l.key] = l
		return
	}
	m.endSeries(l, now)
}

// left ends a retired loop whose scrape has ended, and lets its successor begin.
func (m *Manager) left(l *loop, now time.Time) {
	m.endSeries(l, now)
	delete(m.leaving, l.key)
	if successor := m.loops[l.key]; successor != nil {
		m.schedule(successor, now)
	}
}

// tried counts a loop off the first round.
func (m *Manager) tried(l *loop) {
	if l.firstRound {
		l.firstRound = false
		m.first--
	}
}

// endSeries writes a staleness marker to every series of a loop that will not be scraped again, and closes its
// connection.
func (m *Manager) endSeries(l *loop, now time.Time) {
	l.wire.close()
	t := max(now.UnixMilli(), l.newest+1)
	for _, s := range l.parser.Alive() {
		m.mark(s, t)
	}
	l.parser = nil
}

var staleMarker = math.Float64frombits(value.StaleNaN)

// mark ends a series at t. A sink that refuses the marker counts that itself; the series then ends by age.
func (m *Manager) mark(s *exposition.Series, t int64) {
	s.Ref, _ = m.sink.Append(s.Ref, s.Labels, t, staleMarker)
	m.metrics.markers.Inc()
}
