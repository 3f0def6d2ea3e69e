package scrape

// Counts on no page: of pods that were ready and stopped being so before their first accepted page.

import (
	"maps"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// noteTargetServing notes since when a target serves requests, as far as the cluster tells, and what it served without a page.
func (m *Manager) noteTargetServing(l *scrapeLoop, serves bool, now time.Time) {
	s := &l.status
	switch {
	case !serves && s.pageAt.IsZero() && !s.servesSince.IsZero():
		m.unseen[l.key] = metric.TimeSpan{From: s.servesSince, To: now}
		s.servesSince = time.Time{}
	case !serves:
		s.servesSince = time.Time{}
	case s.servesSince.IsZero():
		s.servesSince = now
	}
}

// expireUnseenPods forgets the pods that served before all that the appender keeps.
func (m *Manager) expireUnseenPods(now time.Time) {
	maps.DeleteFunc(m.unseen, func(_ metric.Object, s metric.TimeSpan) bool { return now.Sub(s.To) > m.opts.Retention })
}

// UnseenPods returns the pods that were ready and stopped being so, or ended, before the scraper accepted a page of them, each with the time
// in which they may have served requests; nil without any. The caller owns the map.
func (m *Manager) UnseenPods() map[metric.Object]metric.TimeSpan {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.unseen) == 0 {
		return nil
	}
	return maps.Clone(m.unseen)
}
