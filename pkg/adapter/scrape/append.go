package scrape

// The way of a page's samples into the appender: a family as a whole, or not at all.

import (
	"cmp"
	"maps"
	"math"
	"slices"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/exposition"
)

// appendScrapedPage appends the samples of a page and ends the series that the page no longer has. It returns the reason of each rejected
// family, by its index, or nil; and whether the appender rejected one. A part of a family would be served as the whole of it: if
// the appender has no room for a family, all of its series end, and stay so until a page fits.
func (m *Manager) appendScrapedPage(j *scrapeJob, r exposition.ParsedPage) (rejected []error, noRoom bool) {
	l, families := j.loop, j.endpoint.families
	reject := func(family int, err error) {
		if rejected == nil {
			rejected = make([]error, len(r.Families))
		}
		if rejected[family] == nil {
			rejected[family] = err
		}
	}
	for i, f := range r.Families {
		if f.Err != nil {
			reject(i, f.Err)
		}
	}
	for _, s := range r.Replaced {
		m.appender.Forget(s.Ref)
		s.Ref = 0
	}
	for family, err := range m.createPageSeries(j, r) {
		noRoom = true
		reject(family, err)
	}
	isRejected := func(s exposition.Sample) bool { return rejected != nil && rejected[r.FamilyOf(s)] != nil }
	for _, s := range r.Earlier {
		if !isRejected(s) {
			m.appendCounterBeginning(l, s)
		}
	}
	stored := 0
	for _, s := range r.Samples {
		if isRejected(s) {
			continue
		}
		ref, err := m.appender.Append(s.Series.Ref, s.Series.Labels, s.Time, s.Value)
		s.Series.Ref = ref
		switch {
		case err == nil:
			stored++
			l.newestSample = max(l.newestSample, s.Time)
		case s.Time == r.Time: // a page repeats a sample with a time of its own until a newer sample exists
			noRoom = true
			reject(r.FamilyOf(s), err)
		}
	}
	m.endRejectedFamilies(l, families, r, rejected)
	for _, s := range r.Vanished {
		m.appendStaleMarker(s, r.Time)
	}
	m.metrics.storedSamples.Add(float64(stored))
	m.metrics.rejectedSamples.Add(float64(len(r.Samples) - stored))
	return rejected, noRoom
}

// createPageSeries makes the series of a page that have no reference so far. It returns the error of each family for which the
// appender has no room, or that has too many new series.
func (m *Manager) createPageSeries(j *scrapeJob, r exposition.ParsedPage) map[int]error {
	var created map[int][]*exposition.PageSeries
	for _, s := range r.Samples {
		if s.Series.Ref == 0 {
			if created == nil {
				created = map[int][]*exposition.PageSeries{}
			}
			family := r.FamilyOf(s)
			created[family] = append(created[family], s.Series)
		}
	}
	var failed map[int]error
	for _, family := range sortFamiliesByRank(created, j.ranks) {
		if err := m.createFamilySeries(j, r.Time, created[family]); err != nil {
			if failed == nil {
				failed = map[int]error{}
			}
			failed[family] = err
		}
	}
	return failed
}

// createFamilySeries makes the series of a family, all of them or none.
func (m *Manager) createFamilySeries(j *scrapeJob, at int64, series []*exposition.PageSeries) error {
	if err := j.loop.newSeries.checkSeriesChurn(at, len(series), j.opts); err != nil {
		return err
	}
	lsets := make([]labels.Labels, len(series))
	for i, s := range series {
		lsets[i] = s.Labels
	}
	refs, err := m.appender.Create(at, lsets)
	if err != nil {
		return err
	}
	for i, s := range series {
		s.Ref = refs[i]
	}
	j.loop.newSeries.addNewSeries(at, len(series))
	return nil
}

// sortFamiliesByRank returns the families in the order in which they get room: by rank, the demands of autoscalers first.
func sortFamiliesByRank(created map[int][]*exposition.PageSeries, ranks []int) []int {
	families := slices.Sorted(maps.Keys(created)) // a full store must not choose at random
	slices.SortStableFunc(families, func(a, b int) int {
		if max(a, b) >= len(ranks) {
			return 0
		}
		return cmp.Compare(ranks[a], ranks[b])
	})
	return families
}

// appendCounterBeginning appends a sample from before a page. It is an improvement: where the series goes on from an earlier target,
// the appender rejects the sample, and nothing is lost.
func (m *Manager) appendCounterBeginning(l *scrapeLoop, s exposition.Sample) {
	ref, err := m.appender.Append(s.Series.Ref, s.Series.Labels, s.Time, s.Value)
	s.Series.Ref = ref
	if err == nil {
		l.newestSample = max(l.newestSample, s.Time)
	}
}

// endRejectedFamilies ends, once, the series of the families for which the appender has no room. A family that the page rejects
// keeps its series, as after a failed scrape.
func (m *Manager) endRejectedFamilies(l *scrapeLoop, families *exposition.Families, r exposition.ParsedPage, rejected []error) {
	before := l.rejectedFamilies
	l.rejectedFamilies = nil
	newly := map[int]struct{}{}
	for i, err := range rejected {
		if err == nil || r.Families[i].Err != nil {
			continue
		}
		if l.rejectedFamilies == nil {
			l.rejectedFamilies = map[string]struct{}{}
		}
		name := families.Names()[i]
		l.rejectedFamilies[name] = struct{}{}
		if _, ended := before[name]; !ended {
			newly[i] = struct{}{}
		}
	}
	if len(newly) == 0 {
		return
	}
	for _, s := range l.parser.AliveSeries() {
		if _, ends := newly[families.IndexOf(s.Labels.Get(model.MetricNameLabel))]; ends {
			m.appendStaleMarker(s, r.Time+1)
			l.newestSample = max(l.newestSample, r.Time+1)
		}
	}
}

var staleMarker = math.Float64frombits(value.StaleNaN)

// appendStaleMarker ends a series at t, unless it has no sample. An appender that rejects the marker counts that itself; the
// series then ends by age.
func (m *Manager) appendStaleMarker(s *exposition.PageSeries, t int64) {
	if s.Ref == 0 {
		return
	}
	s.Ref, _ = m.appender.Append(s.Ref, s.Labels, t, staleMarker)
	m.metrics.staleMarkers.Inc()
}
