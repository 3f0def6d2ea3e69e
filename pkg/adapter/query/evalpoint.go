// When, and over which window, an object is evaluated so that its rate is right.

package query

import (
	"math/bits"
	"sort"
	"time"
)

// PromQL's rate extrapolates: of n samples in a range of width w, the first d0 after its start and the last d1 before
// its end, with a mean step of g between them, it takes the increase per second of the samples, times
//
//	(d0' + (n−1)g + d1') / w
//
// where d' is d if d < 1.1 g, and else g/2. While both are small the factor is 1 and the rate is right. Otherwise the
// rate is too low, by up to a half in a short range. This happens after a missed scrape, with a late newest sample,
// and in a pod with less than w of samples. An HPA that believes such a number takes pods away from a service under
// load.
//
// So every object gets an evalPoint, a time and a window at which d0 and d1 are small:
//
//   - If the newest sample is late, the evaluation moves back to its time.
//   - If a scrape is missing at the start of the window, or leaves a short one with too few increments, the window begins
//     at the sample before.
//   - If the samples cover less than the window, the window begins at the first sample, and d0 is all but zero. This
//     matters because rate knows that no counter is negative, and would cut d0 off for a counter that began at zero.
//   - If none of this is possible, the object has no evalPoint and no value.
//
// Most objects need no correction and share an evalPoint, so that one query answers for all.

// evalPoint is the time and window of an object's evaluation, in milliseconds.
type evalPoint struct {
	at, window int64
}

const (
	// maxEdgeSteps is PromQL's limit for d0 and d1, in steps.
	maxEdgeSteps = 1.1
	// maxStretch bounds the stretch of a window back to the sample before missed scrapes, as a multiple of the
	// requested window. It applies only if there is a choice.
	maxStretch = 1.5
	// maxCut is the part of a fixed range by which a rate may be too low. Beyond it the object has no value.
	maxCut = 0.05
	// maxShortEdges is the part of a short window, in scrape intervals, that a rate may extrapolate if there is a choice: where a scrape is
	// missing, one increment would stand for three.
	maxShortEdges = 1.6
	// alignmentShift rounds up windows that begin at a sample, to a 1/64th of the window, as a shift. Objects whose
	// first samples are close then share a query, at an error of at most this part.
	alignmentShift = 6
)

// pointPlanner plans the evalPoints for the objects of a query. All times are milliseconds.
type pointPlanner struct {
	now      int64
	interval int64
	window   int64
	// span is how far back the expression looks with a window; see rule.Rule.Span.
	span func(window int64) int64
	// fixedWindow is set if the expression needs its ranges unchanged: they are written out, or the value depends on
	// their length, as an increase does.
	fixedWindow bool
	// anchored is set if the window begins at a change. For an object with an earlier evaluation time it must begin
	// no earlier.
	anchored bool
}

// planQueryEvalPoint returns the evalPoint of an object with pods that have these sample times, none of them empty; false without
// any.
func (p pointPlanner) planQueryEvalPoint(podTimes []evaluatedTimes) (evalPoint, bool) {
	freshest := podTimes[0]
	first := podTimes[0][0]
	for _, t := range podTimes[1:] {
		if t.lastSampleTime() > freshest.lastSampleTime() {
			freshest = t
		}
		first = min(first, t[0])
	}
	at := p.chooseQueryEvalTime(freshest)
	if newest := len(freshest) - 1; p.anchored && newest > 0 {
		p.window = min(p.window, max(p.window-(p.now-at), roundUpWindowMillis(at-freshest[newest-1]+1)))
	}
	start := at - p.span(p.window)
	if first > start {
		return p.planYoungQueryEvalPoint(at, first, podTimes)
	}
	return p.planCoveredQueryEvalPoint(at, start, podTimes)
}

// chooseQueryEvalTime returns now, or a time soon after the newest sample if it is late. This is a whole number of half
// intervals ago, so that objects share evalPoints; less if samples are denser.
func (p pointPlanner) chooseQueryEvalTime(t evaluatedTimes) int64 {
	span := p.span(p.window)
	if p.reachesQueryEvalEnd(t, p.now, span) {
		return p.now
	}
	late := p.now - t.lastSampleTime()
	for unit := p.interval / 2; unit > 1; unit /= 2 {
		if at := p.now - late/unit*unit; p.reachesQueryEvalEnd(t, at, span) {
			return at
		}
	}
	return t.lastSampleTime()
}

// reachesQueryEvalEnd returns whether the samples of a range that ends at at reach its end, by the rule of PromQL's rate.
func (p pointPlanner) reachesQueryEvalEnd(t evaluatedTimes, at, span int64) bool {
	return float64(at-t.lastSampleTime()) < maxEdgeSteps*t[min(t.sampleIndexAfter(at-span), len(t)-1):].meanSampleStep()
}

// planYoungQueryEvalPoint returns the evalPoint of an object with samples that begin at first, within the span of the expression. Only the span of
// an object that is late reaches so far: a group with a young pod is read over a common stretch.
func (p pointPlanner) planYoungQueryEvalPoint(at, first int64, podTimes []evaluatedTimes) (evalPoint, bool) {
	if p.fixedWindow || !p.queryEvalPointHasPair(podTimes, first-1) {
		return evalPoint{}, false
	}
	covered := roundUpWindowMillis(at - first + 1)
	// The longest window that stays within the samples; mostly their whole length.
	window := int64(sort.Search(int(min(covered, p.window)), func(w int) bool { return p.span(int64(w)+1) > covered }))
	if window < p.window && !p.queryEvalPointHasPair(podTimes, at-window) {
		return evalPoint{}, false
	}
	return evalPoint{at: at, window: window}, window > 0
}

// planCoveredQueryEvalPoint returns the evalPoint of an object with samples that reach back to start or further.
func (p pointPlanner) planCoveredQueryEvalPoint(at, start int64, podTimes []evaluatedTimes) (evalPoint, bool) {
	plain := evalPoint{at: at, window: p.window}
	begin, cut, found := start, 0.0, false
	for _, t := range podTimes {
		i := t.sampleIndexAfter(start)
		if i == len(t) {
			continue // the pod has no sample after start
		}
		found = found || i+1 < len(t)
		missing := float64(t[i] - start)
		step := t[i:].meanSampleStep()
		if i == 0 || missing < maxEdgeSteps*step && step > 0 && !p.extrapolatesShortQuery(at, start, t, i) {
			continue
		}
		begin = min(begin, t[i-1]-1)
		cut += (missing - step/2) / float64(at-start) / float64(len(podTimes))
	}
	if begin == start {
		return plain, found
	}
	if p.fixedWindow || p.span(p.window) != p.window {
		return plain, found && cut <= maxCut
	}
	return p.planStretchedQueryEvalPoint(at, begin, start, podTimes)
}

// extrapolatesShortQuery reports whether a rate would extrapolate too much of a short window with a missing scrape, in which the sample with
// an index is the first, and less with the sample before. A window that begins at a change must have no more.
func (p pointPlanner) extrapolatesShortQuery(at, start int64, t evaluatedTimes, i int) bool {
	if p.fixedWindow || p.anchored || p.span(p.window) != p.window || at-start > shortWindowIntervals*p.interval || !t[i-1:].missesScrapeBetweenSamples(p.interval) {
		return false
	}
	edges := at - start - (t.lastSampleTime() - t[i])
	return float64(edges) > maxShortEdges*float64(p.interval) && p.reachesQueryEvalEnd(t, at, at-t[i-1]+1)
}

// planStretchedQueryEvalPoint returns the evalPoint of an object with a missed scrape at start; begin is the sample before.
func (p pointPlanner) planStretchedQueryEvalPoint(at, begin, start int64, podTimes []evaluatedTimes) (evalPoint, bool) {
	from := begin
	if float64(at-begin) > maxStretch*float64(p.window) && p.queryEvalPointHasPair(podTimes, start) {
		// The gap is too long to reach across, and the samples behind it suffice.
		from = at
		for _, t := range podTimes {
			if i := t.sampleIndexAfter(start); i < len(t) {
				from = min(from, t[i]-1)
			}
		}
	}
	return evalPoint{at: at, window: roundUpWindowMillis(at - from)}, p.queryEvalPointHasPair(podTimes, from)
}

// queryEvalPointHasPair returns whether some pod has two samples after start.
func (p pointPlanner) queryEvalPointHasPair(podTimes []evaluatedTimes, start int64) bool {
	for _, t := range podTimes {
		if t.sampleIndexAfter(start)+1 < len(t) {
			return true
		}
	}
	return false
}

// roundUpWindowMillis rounds ms up to a multiple of a power of two: a 64th of ms or somewhat less.
func roundUpWindowMillis(ms int64) int64 {
	unit := int64(1) << max(0, bits.Len64(uint64(ms))-1-alignmentShift)
	return (ms + unit - 1) / unit * unit
}

// missesScrapeBetweenSamples reports whether a scrape is missing between two of the samples.
func (t evaluatedTimes) missesScrapeBetweenSamples(interval int64) bool {
	for i := 1; i < len(t); i++ {
		if missesScrapeWithin(t[i]-t[i-1], interval) {
			return true
		}
	}
	return false
}

func (t evaluatedTimes) lastSampleTime() int64 { return t[len(t)-1] }

// sampleIndexAfter returns the index of the first sample after start.
func (t evaluatedTimes) sampleIndexAfter(start int64) int {
	return sort.Search(len(t), func(i int) bool { return t[i] > start })
}

// meanSampleStep returns the mean step between samples; 0 for a single sample.
func (t evaluatedTimes) meanSampleStep() float64 {
	if len(t) < 2 {
		return 0
	}
	return float64(t.lastSampleTime()-t[0]) / float64(len(t)-1)
}

func evalMillisToDuration(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }
