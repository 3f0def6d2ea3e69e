package exposition

// The beginnings of counters. A counter that appears between two pages counted from 0: a zero at the time of the page before
// lets a rate see its first events. But an exporter also shows, all at once, counters that another program has counted for
// weeks. So a beginning needs a proof: a created sample, or values that fit the growth of the family before, or after.

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/value"
)

const (
	// maxBornValue is the value up to which a new counter needs no proof: at most ten events are in the wrong place.
	maxBornValue = 10
	// maxBornRatio bounds the rate of the new counters of a family, from their beginning to their first page, relative to
	// the rate of the family.
	maxBornRatio = 10
	// maxPeakRatio bounds the same relative to the greatest rate on earlier pages: the load may come back after a pause, or in larger batches.
	maxPeakRatio = 2
	// maxResumedRatio bounds the rate of a counter while pages lacked it, relative to its rate before.
	maxResumedRatio = 2
	// maxRoundingError is the relative decrease of a counter up to which it is a rounding error of its service, which adds up
	// floats in changing order. PromQL would take it for a restart, and count the whole value once more.
	maxRoundingError = 1e-12
	// decreasingPages is the number of pages within which a counter may decrease fewer than maxUnusualPages times, although its process has
	// not started anew: three times in two minutes, at an interval of 2 s. Up to 21 processes that answer in turn behind one port, in the
	// order of their counts, decrease that often.
	decreasingPages = 64
	maxUnusualPages = 3
	// batchPages is the number of pages over which the greatest batch tells how many events a family may show at once: two minutes at 2 s. A batch is
	// more than minBatchRatio times the number that the rate of the page before explains.
	batchPages    = 64
	minBatchRatio = 2
)

// pageCounterHistory is a parser's memory of the counters on its last pages.
type pageCounterHistory struct {
	names   *Families
	growths []pageFamilyGrowth // by family
	held    []heldSample       // of the last accepted page
	started time.Time          // the newest known start of the process
	earlier []Sample
}

// pageFamilyGrowth is the growth of a family's counters. Times are in milliseconds, rates in events per millisecond.
type pageFamilyGrowth struct {
	acceptedAt int64      // time of the last accepted page with this demand; 0: none so far
	rate       float64    // up to acceptedAt
	batches    [2]float64 // the greatest of up to batchPages pages, and of as many before
	peaks      [2]float64 // the greatest rates, likewise

	grown         float64 // since acceptedAt, by the counters of the page before
	born, largest float64 // sum and maximum of the counters that are new on this page, without a certain beginning
	begun         float64 // sum of the counters that are new on this page, and counted from 0
	heldAt        int64   // time of the held samples; 0: none
	heldSince     int64   // their presumed beginning

	pages      int32        // accepted so far
	decreasing bool         // a counter on this page decreases again and again
	kept       int          // counters of the page before that are on this page
	returned   int          // counters that are on this page, and on earlier ones, but were not on the page before
	swapped    unusualPages // pages without any counter of the page before, but with earlier ones
}

// unusualPages are the last pages of a family on which something unusual happened while its process ran on, the newest first; 0: none.
type unusualPages [maxUnusualPages]int32

func (u *unusualPages) addUnusualPage(page int32) {
	copy(u[1:], u[:])
	u[0] = page
}

// recurWithinPages reports whether it happened maxUnusualPages times within the last pages.
func (u *unusualPages) recurWithinPages(page int32) bool {
	first := u[maxUnusualPages-1]
	return first > 0 && first <= page && page-first <= decreasingPages
}

// isSamePodProcess reports whether the process behind the page has not started anew since the last accepted page. Started is
// truncated to the second.
func (g *pageFamilyGrowth) isSamePodProcess(page *PageOptions) bool {
	return !page.Started.IsZero() && page.Started.Add(time.Second).UnixMilli() <= g.acceptedAt
}

// detectSeveralProcesses ends a page, and returns whether several processes answer behind the port: a counter decreases again and again, or the
// page has the counters of another process again and again, which have labels of their own.
func (g *pageFamilyGrowth) detectSeveralProcesses(page *PageOptions) bool {
	g.pages++
	if g.kept == 0 && g.returned > 0 && g.isSamePodProcess(page) {
		g.swapped.addUnusualPage(g.pages)
	}
	return g.decreasing || g.swapped.recurWithinPages(g.pages)
}

// excuseProcessRestart forgets the newest decrease of each counter if the process has started anew: it may be known later than its page.
func (h *pageCounterHistory) excuseProcessRestart(p *Parser) {
	started := p.options.Started
	if started.IsZero() || started.Equal(h.started) {
		return
	}
	if !h.started.IsZero() {
		for i := range p.samples {
			s := p.samples[i].Series
			copy(s.decreased[:], s.decreased[1:])
			s.decreased[maxUnusualPages-1] = 0
		}
	}
	h.started = started
}

// heldSample is a new counter that waits for the growth of its family to prove its beginning.
type heldSample struct {
	sample Sample
	since  int64
}

// recordCounterPage takes an accepted page into the history. It returns the samples to append first, and marks the samples of
// the page to hold.
func (h *pageCounterHistory) recordCounterPage(p *Parser) []Sample {
	h.moveCounterHistory(p.options.Families)
	h.earlier = h.earlier[:0]
	h.releaseHeldCounters(p)
	h.excuseProcessRestart(p)
	h.beginCountersAnew(p)
	for i := range p.samples {
		h.measureCounterGrowth(p, &p.samples[i])
	}
	if !p.repeatsSeries { // else no counter is new
		for i := range p.samples {
			h.placeCounterBeginning(p, &p.samples[i])
		}
	}
	for i := range h.growths {
		g := &h.growths[i]
		if p.families[i].Err == nil {
			p.families[i].Decreasing = g.detectSeveralProcesses(&p.options)
			if g.acceptedAt > 0 {
				passed := float64(max(1, p.now-g.acceptedAt))
				g.addCounterGrowth(passed)
				g.rate = g.measureFamilyRate(passed)
			}
			g.acceptedAt = p.now
		}
		g.grown, g.born, g.begun, g.largest, g.decreasing, g.kept, g.returned = 0, 0, 0, 0, false, 0, 0
	}
	return h.earlier
}

// measureFamilyRate returns the rate since the last page, which was passed milliseconds ago. Where traffic moves to new counters
// on each page, the counters of the page before do not grow: new counters keep up the rate, but do not raise it, as no other growth proves it.
func (g *pageFamilyGrowth) measureFamilyRate(passed float64) float64 {
	return max(g.grown/passed, min(g.rate, (g.grown+g.begun)/passed))
}

// moveCounterHistory moves the history to another set of families.
func (h *pageCounterHistory) moveCounterHistory(f *Families) {
	if h.names == f {
		return
	}
	growths := make([]pageFamilyGrowth, len(f.Names()))
	for i, name := range h.names.Names() {
		if now, ok := f.indexes[name]; ok {
			growths[now] = h.growths[i]
		}
	}
	kept := h.held[:0]
	for _, held := range h.held {
		if now, ok := f.indexes[h.names.names[held.sample.family]]; ok {
			held.sample.family = now
			kept = append(kept, held)
		}
	}
	h.names, h.growths, h.held = f, growths, kept
}

// measureCounterGrowth adds a sample to the growth of its family.
func (h *pageCounterHistory) measureCounterGrowth(p *Parser, sample *Sample) {
	s, g := sample.Series, &h.growths[sample.family]
	if !s.isCounterSeries(p.families[sample.family].Type, h.names.names[sample.family]) || len(p.replaced) > 0 && s.isReplaced {
		return
	}
	if !s.alive {
		if s.endedAt > 0 && s.endedAt != s.markedAt && s.endedAt <= g.acceptedAt { // by a page
			g.returned++
		}
		if _, certain := h.findCounterBeginning(p, sample); !certain && h.mayCounterBeginNow(p, sample) {
			g.born += sample.Value
			g.largest = max(g.largest, sample.Value)
		}
		return
	}
	if sample.Value < s.lastValue && sample.Value >= s.lastValue*(1-maxRoundingError) {
		sample.Value = s.lastValue
	}
	g.kept++
	s.noteCounterDecrease(sample.Value, g, &p.options)
	g.decreasing = g.decreasing || s.decreasesRepeatedly(g.pages+1)
	grown := sample.Value - s.lastValue
	if s.fellFrom > 0 && sample.Value >= s.fellFrom {
		s.fellFrom = 0
		if grown > maxBornValue && grown > maxBornRatio*g.rate*float64(max(1, p.now-g.acceptedAt)) {
			h.earlier = append(h.earlier, Sample{Series: s, Time: sample.Time - 1, Value: math.Float64frombits(value.StaleNaN), family: sample.family})
			return
		}
	}
	if grown > 0 && !math.IsInf(grown, 0) {
		g.grown += grown
	}
}

// noteCounterDecrease notes the value from which a counter goes back although its process runs on. An exporter shows 0 while the
// program behind it is away: as soon as the counter is back, the step is no count of events, and a staleness marker stands before it.
func (s *PageSeries) noteCounterDecrease(now float64, g *pageFamilyGrowth, page *PageOptions) {
	switch {
	case !(now < s.lastValue):
	case g.isSamePodProcess(page):
		s.decreased.addUnusualPage(g.pages + 1)
		s.fellFrom = max(s.fellFrom, s.lastValue)
	default:
		s.fellFrom = 0
	}
}

// decreasesRepeatedly reports whether the counter decreased on several of the last pages. The sum of a histogram is not judged: it
// decreases with each negative observation.
func (s *PageSeries) decreasesRepeatedly(page int32) bool {
	return s.decreased.recurWithinPages(page) && !strings.HasSuffix(s.Labels.Get(model.MetricNameLabel), "_sum")
}

// mayCounterBeginNow reports whether a counter that the page before did not have may have begun since then. A counter that was gone for
// a while and has not become smaller goes on, unless its process has started since, or pages lacked it and its rate does not explain the
// step: a process that removed an idle counter begins it anew. Where nothing tells when a process started, its series must have ended without
// a page: the cluster may tell late that a process ended.
func (h *pageCounterHistory) mayCounterBeginNow(p *Parser, sample *Sample) bool {
	s := sample.Series
	since, _ := h.findCounterBeginning(p, sample)
	acceptedAt := h.growths[sample.family].acceptedAt
	return since > 0 && since < sample.Time && sample.Value >= 0 && !math.IsInf(sample.Value, 0) &&
		(!s.seenAlive || sample.Value < s.lastValue || p.options.Started.UnixMilli() > acceptedAt || p.options.NewProcess && s.markedAt > acceptedAt ||
			acceptedAt > s.seenAt && !s.explainsCounterStep(sample.Value, p.now))
}

// explainsCounterStep reports whether the counter's rate, as far as it is known, explains its step to a value since the last page that had it.
func (s *PageSeries) explainsCounterStep(now float64, at int64) bool {
	return s.lastValue > 0 && now-s.lastValue <= max(maxBornValue, maxResumedRatio*s.rate*float64(at-s.seenAt))
}

// noteCounterRate notes the rate of a counter up to this page. It is known of a counter on two pages in a row.
func (s *PageSeries) noteCounterRate(now float64, at int64) {
	s.rate = math.Inf(1)
	if s.alive {
		s.rate = max(0, now-s.lastValue) / float64(max(1, at-s.seenAt))
	}
}

// resumesEndedCounter reports whether a counter that ended without a page goes on: no other process has started since the page before.
// It then has its last value again right behind its staleness marker.
func (h *pageCounterHistory) resumesEndedCounter(p *Parser, sample *Sample) bool {
	s, before := sample.Series, h.growths[sample.family].acceptedAt
	return s.seenAlive && s.markedAt > before && s.markedAt+1 < sample.Time && sample.Value >= s.lastValue &&
		!p.options.Started.IsZero() && p.options.Started.UnixMilli() <= before
}

// findCounterBeginning returns the time at which a new counter was 0, in milliseconds, and whether that is certain; 0 if it is
// unknown. Beside counters of the page before, it is that page's time: load may have moved from them, and their counts since then are
// taken for even.
func (h *pageCounterHistory) findCounterBeginning(p *Parser, sample *Sample) (since int64, certain bool) {
	g := &h.growths[sample.family]
	since = g.acceptedAt
	oldest := p.options.Oldest.UnixMilli()
	switch created, known := p.findCreatedTime(sample); {
	case known && created < p.now: // else the service's clock is ahead
		switch {
		case created < since-maxFutureSkew.Milliseconds(), since == 0 && (created < oldest || p.options.isLongRunningProcess()):
			return 0, false
		case created < since: // the service's clock may be behind
		case since > 0 && g.kept > 0:
			certain = true
		default:
			since, certain = created, true
		}
	case since == 0 && !p.options.Started.IsZero() && p.options.Started.UnixMilli() >= oldest:
		since = p.options.Started.UnixMilli()
	}
	if since > 0 && sample.Series.endedAt >= since {
		since = sample.Series.endedAt + 1 // behind its staleness marker
	}
	return since, certain
}

// isLongRunningProcess reports whether the process behind the page started too long ago for a beginning. On its first page, a counter that
// was created since then tells nothing of the counts of the others, from which load may have moved.
func (p PageOptions) isLongRunningProcess() bool {
	return !p.Started.IsZero() && p.Started.Before(p.Oldest)
}

// lacksAcceptedPages reports whether a family of f has had no accepted page so far.
func (h *pageCounterHistory) lacksAcceptedPages(f *Families) bool {
	return h.names != f || slices.ContainsFunc(h.growths, func(g pageFamilyGrowth) bool { return g.acceptedAt == 0 })
}

// placeCounterBeginning adds the zero of a new counter, or holds its sample until the next page.
func (h *pageCounterHistory) placeCounterBeginning(p *Parser, sample *Sample) {
	s, g := sample.Series, &h.growths[sample.family]
	if s.alive || !s.isCounter || len(p.replaced) > 0 && s.isReplaced {
		return
	}
	if h.resumesEndedCounter(p, sample) {
		h.earlier = append(h.earlier, Sample{Series: s, Time: s.markedAt + 1, Value: s.lastValue, family: sample.family})
		return
	}
	if !h.mayCounterBeginNow(p, sample) {
		return
	}
	since, certain := h.findCounterBeginning(p, sample)
	if !certain && !g.provesCounterBeginning(p.now, since) {
		sample.held = true
		f := &p.families[sample.family]
		f.Held++
		if name := s.Labels.Get(model.MetricNameLabel); name == h.names.names[sample.family] || strings.HasSuffix(name, "_count") {
			f.HeldCounts += sample.Value
		}
		g.heldAt, g.heldSince = p.now, since
		h.held = append(h.held, heldSample{*sample, since})
		return
	}
	g.begun += sample.Value
	h.earlier = append(h.earlier, Sample{Series: s, Time: since, family: sample.family})
}

// addCounterGrowth keeps the rate of the counters since the last page, which was passed milliseconds ago, and their growth if it is a batch:
// their rate does not explain it, as it explains the growth over a long time without pages.
func (g *pageFamilyGrowth) addCounterGrowth(passed float64) {
	if g.pages%batchPages == 0 {
		g.batches, g.peaks = [2]float64{0, g.batches[0]}, [2]float64{0, g.peaks[0]}
	}
	g.peaks[0] = max(g.peaks[0], g.grown/passed)
	if g.grown > minBatchRatio*g.rate*passed {
		g.batches[0] = max(g.batches[0], g.grown)
	}
}

// provesCounterBeginning reports whether the new counters of a family may have counted from 0 since then: at a multiple of its
// rate, at about its rate on an earlier page, or in no larger batch than there.
func (g *pageFamilyGrowth) provesCounterBeginning(now, since int64) bool {
	if g.largest <= maxBornValue || g.born <= max(g.batches[0], g.batches[1]) {
		return true
	}
	rate := g.rate
	if g.acceptedAt > 0 {
		rate = max(rate, g.grown/float64(max(1, now-g.acceptedAt)))
	}
	return g.born/float64(max(1, now-since)) <= max(maxBornRatio*rate, maxPeakRatio*max(g.peaks[0], g.peaks[1]))
}

// releaseHeldCounters releases the held samples of the families that the page has accepted. They get their zero if the family grew at
// a similar rate since then.
func (h *pageCounterHistory) releaseHeldCounters(p *Parser) {
	if len(h.held) == 0 {
		return
	}
	for _, held := range h.held {
		s, g := held.sample.Series, &h.growths[held.sample.family]
		g.born += held.sample.Value
		if p.cache.isSeriesOnPage(s) && p.families[held.sample.family].Err == nil {
			g.grown += max(0, p.samples[s.sampleIndex].Value-held.sample.Value)
		}
	}
	kept := h.held[:0]
	for _, held := range h.held {
		g := &h.growths[held.sample.family]
		if p.families[held.sample.family].Err != nil {
			kept = append(kept, held)
			continue
		}
		before, after := g.born/float64(max(1, g.heldAt-g.heldSince)), g.grown/float64(max(1, p.now-g.heldAt))
		if before <= maxBornRatio*after {
			h.earlier = append(h.earlier, Sample{Series: held.sample.Series, Time: held.since, family: held.sample.family})
		}
		held.sample.held = false
		h.earlier = append(h.earlier, held.sample)
	}
	h.held = kept
	for i := range h.growths {
		h.growths[i].born, h.growths[i].grown = 0, 0
	}
}

// isCounterSeries reports whether the series counts events from 0: a counter, or a part of a histogram or summary.
func (s *PageSeries) isCounterSeries(familyType model.MetricType, family string) bool {
	if s.familyType != familyType {
		s.familyType = familyType
		s.isCounter = isCounterSample(familyType, s.Labels.Get(model.MetricNameLabel), family)
	}
	return s.isCounter
}

// isCounterSample reports whether the sample called name of a family counts events from 0. Without a type the name decides.
func isCounterSample(familyType model.MetricType, name, family string) bool {
	suffix := findSampleSuffix([]byte(name))
	switch familyType {
	case model.MetricTypeCounter:
		return name == family
	case model.MetricTypeHistogram:
		return suffix != ""
	case model.MetricTypeSummary:
		return suffix == "_sum" || suffix == "_count"
	case model.MetricTypeUnknown:
		return suffix != "" || strings.HasSuffix(name, "_total")
	}
	return false
}
