package scrape

// Diagnose: the status of each target, and the reason of a missing value.

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/common/model"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/exposition"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// targetStatus is the state of a target after its last scrape. Manager.mu guards it. Its times are from the manager's clock.
type targetStatus struct {
	tried   bool
	took    time.Duration // of the last scrape
	cause   string        // the reason of the last scrape's failure; "" after an accepted page
	failure string        // the same, or the first rejected family and its reason: for the log
	pageAt  time.Time
	// servesSince is when the pod became ready, or a target; zero: it is not ready, or is being deleted.
	servesSince time.Time
	broken      bool // a scrape has failed since the newest accepted page
	// refusedAt is the time of the first scrape since the newest accepted page at which the target refused connections; zero: none.
	refusedAt time.Time
	refused   bool // the last scrape
	// seriesEnded is set if the series have ended since the newest accepted page, because the process is away.
	seriesEnded  bool
	processStart time.Time // of the newest accepted page; zero: unknown
	// families are the sorted families of the newest accepted page, and pages their states.
	families []string
	pages    []familyStatus
}

// familyStatus is the state of a family after the newest accepted page.
type familyStatus struct {
	inRow    int32     // the newest pages in a row with samples of it
	had      bool      // a page of the same process had samples of it
	lacking  int32     // since then, the newest pages in a row without samples
	steadyAt time.Time // the first page with it since which every scrape was on time and had it
	rejected string    // why the newest page gave no samples of it; "": not rejected
	// rejectedAt is the first of the newest pages in a row that were rejected. noRoom is set if the appender rejected the newest, so that the
	// series have ended.
	rejectedAt time.Time
	noRoom     bool
	// decreasing is set if counters of it go back again and again, see exposition.FamilyResult.
	decreasing bool
	kind       model.MetricType
	held       bool    // samples of the newest page wait for the next page
	heldCount  float64 // their sum
	newestOwn  int64   // the newest timestamp that the page itself gives, ms; 0: none
}

// computeMaxScrapeGap returns the longest time between two pages of a target that is scraped on time, and so the greatest age of a page
// that proves something about now.
func computeMaxScrapeGap(interval time.Duration) time.Duration { return interval * 22 / 10 }

// recordScrape records the outcome of a scrape that ended at now.
func (s *targetStatus) recordScrape(j *scrapeJob, o scrapeOutcome, now time.Time) {
	s.tried, s.took, s.cause = true, o.end.Sub(o.start), o.classifyScrapeOutcome(j.opts.Timeout).text
	s.failure, s.refused = s.cause, isConnectionRefused(o.err)
	if o.err != nil {
		if s.broken = true; s.refusedAt.IsZero() && s.refused {
			s.refusedAt = now
		}
		return
	}
	steady := !s.broken && now.Sub(s.pageAt) <= computeMaxScrapeGap(j.opts.Interval)
	s.replaceFamilies(j.endpoint.families.Names())
	for i, f := range o.families {
		p := &s.pages[i]
		p.had = p.had && j.processStart.Equal(s.processStart)
		var rejected error
		if o.rejected != nil {
			rejected = o.rejected[i]
		}
		if p.recordFamilyScrape(f, rejected, steady, now); rejected != nil && s.failure == "" {
			s.failure = s.families[i] + ": " + p.rejected
		}
	}
	s.processStart = j.processStart
	s.pageAt, s.broken, s.refusedAt, s.seriesEnded = now, false, time.Time{}, false
}

// recordFamilyScrape records a family's part of a page that ended at now. steady is set if all scrapes before it were on time.
func (p *familyStatus) recordFamilyScrape(f exposition.FamilyResult, rejected error, steady bool, now time.Time) {
	p.decreasing, p.rejected, p.noRoom = f.Decreasing, "", false
	p.held, p.heldCount, p.newestOwn = f.Held > 0, f.HeldCounts, f.NewestOwn
	if says := f.Type != "" && f.Type != model.MetricTypeUnknown; says || !p.had { // a page that says nothing does not take back the last word
		p.kind = f.Type
	}
	if rejected != nil {
		p.rejected, p.noRoom = describeFamilyRejection(rejected), f.Err == nil
		p.inRow, p.steadyAt = 0, now
		if p.rejectedAt.IsZero() {
			p.rejectedAt = now
		}
		return
	}
	p.rejectedAt = time.Time{}
	p.inRow++
	p.lacking++
	if f.Samples == 0 {
		p.inRow = 0
	} else {
		p.had, p.lacking = true, 0
	}
	if p.inRow <= 1 || !steady {
		p.steadyAt = now
	}
}

// copyTargetStatus returns the status for another URL of the same pod.
func (s *targetStatus) copyTargetStatus() targetStatus {
	out := *s
	out.families, out.pages, out.broken = slices.Clone(s.families), slices.Clone(s.pages), true
	return out
}

// replaceFamilies replaces the families and keeps the state of families in both sets.
func (s *targetStatus) replaceFamilies(families []string) {
	if slices.Equal(s.families, families) {
		return
	}
	pages := make([]familyStatus, len(families))
	for i, f := range families {
		pages[i], _ = s.lookupFamilyStatus(f)
	}
	s.families, s.pages = families, pages
}

// lookupFamilyStatus returns the state of a family. It returns false if no accepted page was asked for the family.
func (s *targetStatus) lookupFamilyStatus(family string) (familyStatus, bool) {
	i, known := slices.BinarySearch(s.families, family)
	if !known {
		return familyStatus{}, false
	}
	return s.pages[i], true
}

// FamilyType returns the type that the newest accepted pages of a pod's process give to a family, MetricTypeUnknown if they give none. It
// returns false if the page has no sample of the family, or some wait for the next page.
func (m *Manager) FamilyType(namespace, pod, family string) (model.MetricType, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.loops[metric.Object{Namespace: namespace, Name: pod}]
	if l == nil {
		return "", false
	}
	f, known := l.status.lookupFamilyStatus(family)
	if !known || f.inRow == 0 || f.held {
		return "", false
	}
	return f.kind, true
}

// HeldCounts returns the sum of the counters on the newest accepted page of a pod that wait for the next page: new series of these
// families, without a proof of their beginning.
func (m *Manager) HeldCounts(namespace, pod string, families []string) (sum float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.loops[metric.Object{Namespace: namespace, Name: pod}]
	if l == nil {
		return 0
	}
	for _, family := range families {
		f, _ := l.status.lookupFamilyStatus(family)
		sum += f.heldCount
	}
	return sum
}

// Decreases returns whether counters of one of these families go back again and again on the pages of a pod, although its process runs
// on: several processes answer behind one port, and no rate of theirs is right.
func (m *Manager) Decreases(namespace, pod string, families []string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.loops[metric.Object{Namespace: namespace, Name: pod}]
	return l != nil && slices.ContainsFunc(families, func(family string) bool {
		f, _ := l.status.lookupFamilyStatus(family)
		return f.decreasing
	})
}

// RejectedSince returns the time since which one of these families is rejected on the accepted pages of a pod, and whether its series
// have ended, because the appender has no room: a window has only a part of them. The time is zero if none is rejected.
func (m *Manager) RejectedSince(namespace, pod string, families []string) (since time.Time, ended bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.loops[metric.Object{Namespace: namespace, Name: pod}]
	if l == nil {
		return time.Time{}, false
	}
	for _, family := range families {
		f, _ := l.status.lookupFamilyStatus(family)
		if since.IsZero() || !f.rejectedAt.IsZero() && f.rejectedAt.Before(since) {
			since = f.rejectedAt
		}
		ended = ended || f.noRoom
	}
	return since, ended
}

// SilentSince returns the time of the newest accepted page of a pod after a failed scrape, and whether its series ended since,
// because its process is away. The time is zero if the last scrape succeeded, or if no page was accepted.
func (m *Manager) SilentSince(namespace, pod string) (page time.Time, ended bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.loops[metric.Object{Namespace: namespace, Name: pod}]
	if l == nil || l.ended || l.status.cause == "" {
		return time.Time{}, false
	}
	return l.status.pageAt, l.status.seriesEnded
}

// ScrapeDuration returns the duration of the last scrape of a pod, from its start until the page was read or failed; 0: none was finished.
func (m *Manager) ScrapeDuration(namespace, pod string) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.loops[metric.Object{Namespace: namespace, Name: pod}]
	if l == nil {
		return 0
	}
	return l.status.took
}

// CountsUnseen reports whether a pod whose page fails is ready, or was since its series ended, as far as the scraper knows: it may count on no
// page. The scraper learns a little later than the watch that such a pod is no longer ready, and first finishes a scrape under way; see
// endFailedScrapeSeries.
func (m *Manager) CountsUnseen(namespace, pod string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.loops[metric.Object{Namespace: namespace, Name: pod}]
	if l == nil || l.status.cause == "" || l.status.pageAt.IsZero() {
		return false
	}
	if l.status.seriesEnded {
		return l.ready || !l.readyAt.IsZero()
	}
	return l.ready || l.scraping // the end of the scrape ends the series
}

// minPagesInRow is the number of pages in a row that rules out too few samples as the reason of a missing value: two for a
// rate, and a third because the newest page may be younger than the computation of the value.
const minPagesInRow = 3

// Diagnose returns the reason why a pod has no value of a metric computed from families. The reason is ReasonAbsent only on
// proof: the newest page is young and has no sample of a family, or the page had the family without a break for as long as
// samples are kept, so that a series that the metric selects would have a value. Of a family that an earlier page of the same process
// had, the newest minPagesInRow pages must lack it: a page may have it every other time. A family without that proof is stale, or
// warming up.
func (m *Manager) Diagnose(namespace, pod string, families []string) metric.Omission {
	key := metric.Object{Namespace: namespace, Name: pod}
	now := m.clock.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.loops[key]
	if l == nil {
		return metric.Omission{Object: key, Reason: metric.ReasonNotScraped}
	}
	if l.ended {
		return metric.Omission{Object: key, Reason: metric.ReasonTerminating}
	}
	reason, detail := l.findOmissionReason(families, m.opts, now)
	return metric.Omission{Object: key, Reason: reason, Detail: detail}
}

// findOmissionReason returns the reason and its detail, for the families of a metric. A family that is rejected comes first: the others
// may have a value soon. Those come before an absent family.
func (l *scrapeLoop) findOmissionReason(families []string, opts *Options, now time.Time) (metric.Reason, string) {
	s := &l.status
	switch {
	case !s.tried:
		return metric.ReasonWarmingUp, "not scraped yet"
	case s.cause != "":
		return metric.ReasonScrapeFailed, s.cause
	}
	absent, soon, later := "", metric.Reason(""), ""
	for _, f := range families {
		switch reason, detail := l.findFamilyOmission(f, opts, now); {
		case reason == metric.ReasonScrapeFailed, reason == metric.ReasonDecreasing:
			return reason, detail
		case reason != metric.ReasonAbsent && soon == "":
			soon, later = reason, detail
		case detail != "" && reason == metric.ReasonAbsent:
			absent = detail
		}
	}
	switch {
	case soon != "" && absent != "":
		return soon, later + "; " + absent
	case soon != "":
		return soon, later
	}
	return metric.ReasonAbsent, cmp.Or(absent, "no series of it matches")
}

// findFamilyOmission returns the reason why a family gives no value, and its detail; ReasonAbsent without a detail if the page has the
// family.
func (l *scrapeLoop) findFamilyOmission(family string, opts *Options, now time.Time) (metric.Reason, string) {
	asked := l.asked.families.Names()
	f, known := l.status.lookupFamilyStatus(family)
	age := now.Sub(l.status.pageAt)
	if _, ok := slices.BinarySearch(asked, family); !ok || !known {
		return metric.ReasonWarmingUp, family + " not scraped yet"
	}
	newest := time.UnixMilli(f.newestOwn)
	switch {
	case f.rejected != "":
		return metric.ReasonScrapeFailed, f.rejected
	case f.decreasing:
		return metric.ReasonDecreasing, metric.DecreasingDetail
	case age > computeMaxScrapeGap(opts.Interval):
		return metric.ReasonStale, fmt.Sprintf("newest page %v old", age.Round(time.Second))
	case f.inRow == 0 && f.had && f.lacking < minPagesInRow:
		return metric.ReasonWarmingUp, family + " was on its page just now, and may come back"
	case f.inRow == 0 && f.newestOwn == 0:
		return metric.ReasonAbsent, "no " + family + " on its page"
	case f.newestOwn > 0 && (f.inRow >= minPagesInRow || now.Sub(newest) > computeMaxScrapeGap(opts.Interval)):
		return metric.ReasonStale, describePageTimestamp(f.newestOwn, now)
	case f.inRow < minPagesInRow:
		return metric.ReasonWarmingUp, "scraped for a moment only"
	case now.Sub(f.steadyAt) < opts.Retention:
		return metric.ReasonWarmingUp, fmt.Sprintf("scraped for %v only", now.Sub(f.steadyAt).Round(time.Second))
	}
	return metric.ReasonAbsent, ""
}

// describePageTimestamp words the age of a page's own timestamp, in milliseconds. Some exporters write seconds, which OpenMetrics has.
func describePageTimestamp(own int64, now time.Time) string {
	text := fmt.Sprintf("newest sample %v old (the page's own timestamp", now.Sub(time.UnixMilli(own)).Round(time.Second))
	if now.Sub(time.Unix(own, 0)).Abs() < 24*time.Hour {
		text += ", which is in seconds; the text format has milliseconds"
	}
	return text + ")"
}
