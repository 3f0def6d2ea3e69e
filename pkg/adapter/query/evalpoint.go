package query

import (
	"math/bits"
	"sort"
	"time"
)

// PromQL's rate extrapolates: of n samples in a range of width w, the first d0 after its start and the last d1
// before its end, with a mean step of g between them, it takes the increase per second of the samples, times
//
//	(d0' + (n−1)g + d1') / w
//
// where d' is d if d < 1.1 g, and else g/2. While both are small the factor is 1 and the rate is right. Else it is
// too low, by up to a half in a short range: after a missed scrape, when the newest is late, and in a pod that is
// watched for less than w. An HPA that believes such a number takes pods away from a service under load.
//
// So every object gets a slot, a time and a window at which d0 and d1 are small:
//
//   - where the newest sample is late, the time of the evaluation is moved back to it;
//   - where a scrape is missing at the start of the window, the window begins at the sample before that;
//   - where the object is watched for less than the window, the window begins at its first sample, and d0 is all
//     but nothing: rate knows that a counter was not below zero, and would cut d0 off for one that began at zero;
//   - where none of this is possible there is no slot, and the object has no value.
//
// Most objects need none of it and share one slot, so that one query answers for all.

// evalPoint is when, and over which window, an object is evaluated. Both are milliseconds.
type evalPoint struct {
	at, window int64
}

const (
	// maxEdgeSteps is PromQL's limit for d0 and d1, in steps.
	maxEdgeSteps = 1.1
	// maxStretch is how much longer than asked for a window may get to begin at the sample before missed scrapes, if
	// there is a choice.
	maxStretch = 1.5
	// maxCut is the part of a fixed range by which a rate may be too low; beyond it there is no value.
	maxCut = 0.05
	// alignmentShift is the part of a window to which windows that begin at a sample are rounded up, as a shift: a
	// 1/64th, so that objects whose first samples are close share a query, at an error of no more than that.
	alignmentShift = 6
)

// pointPlanner makes slots for the objects of one question. All times are milliseconds.
type pointPlanner struct {
	now      int64
	interval int64
	window   int64
	// span is how far back the expression looks with a window; see rule.Rule.Span.
	span func(window int64) int64
	// fixedWindow tells that the expression needs its ranges as they are: they are written out, or the value depends on
	// their length, as an increase does.
	fixedWindow bool
	// anchored tells that the window begins at a change, so that it must begin no earlier for an object that is
	// evaluated at an earlier time.
	anchored bool
}

// planPoint finds the slot of an object with these podTimes, none of them empty; false if it has none.
func (p pointPlanner) planPoint(podTimes []sampleTimes) (evalPoint, bool) {
	freshest := podTimes[0]
	first := podTimes[0][0]
	for _, t := range podTimes[1:] {
		if t.lastTime() > freshest.lastTime() {
			freshest = t
		}
		first = min(first, t[0])
	}
	at := p.chooseEvalTime(freshest)
	if newest := len(freshest) - 1; p.anchored && newest > 0 {
		p.window = min(p.window, max(p.window-(p.now-at), alignWindow(at-freshest[newest-1]+1)))
	}
	start := at - p.span(p.window)
	if first > start {
		return p.planYoungObject(at, first, podTimes)
	}
	return p.planCoveredObject(at, start, podTimes)
}

// chooseEvalTime is the time to evaluate at: now, or, where the newest sample is late, a time soon after it. That is a whole
// number of half intervals ago, so that objects share slots, or of less where samples are denser than that.
func (p pointPlanner) chooseEvalTime(t sampleTimes) int64 {
	span := p.span(p.window)
	if p.reachesRangeEnd(t, p.now, span) {
		return p.now
	}
	late := p.now - t.lastTime()
	for unit := p.interval / 2; unit > 1; unit /= 2 {
		if at := p.now - late/unit*unit; p.reachesRangeEnd(t, at, span) {
			return at
		}
	}
	return t.lastTime()
}

// reachesRangeEnd reports whether the samples of a range that ends at at reach its end, for rate.
func (p pointPlanner) reachesRangeEnd(t sampleTimes, at, span int64) bool {
	return float64(at-t.lastTime()) < maxEdgeSteps*t[min(t.indexAfter(at-span), len(t)-1):].meanStep()
}

// planYoungObject is the slot of an object that is watched since first, for less than the expression looks back.
func (p pointPlanner) planYoungObject(at, first int64, podTimes []sampleTimes) (evalPoint, bool) {
	if p.fixedWindow || !p.hasSamplePair(podTimes, first-1) {
		return evalPoint{}, false
	}
	covered := alignWindow(at - first + 1)
	// The longest window that stays within the coverage; mostly that is the coverage itself.
	window := int64(sort.Search(int(min(covered, p.window)), func(w int) bool { return p.span(int64(w)+1) > covered }))
	if window < p.window && !p.hasSamplePair(podTimes, at-window) {
		return evalPoint{}, false
	}
	return evalPoint{at: at, window: window}, window > 0
}

// planCoveredObject is the slot of an object whose samples reach back to start or further.
func (p pointPlanner) planCoveredObject(at, start int64, podTimes []sampleTimes) (evalPoint, bool) {
	plain := evalPoint{at: at, window: p.window}
	begin, cut, found := start, 0.0, false
	for _, t := range podTimes {
		i := t.indexAfter(start)
		if i == len(t) {
			continue // the pod has not been heard of for longer than that
		}
		found = found || i+1 < len(t)
		missing := float64(t[i] - start)
		step := t[i:].meanStep()
		if i == 0 || missing < maxEdgeSteps*step && step > 0 {
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
	return p.planStretchedWindow(at, begin, start, podTimes)
}

// planStretchedWindow is the slot of an object with a scrape missing at start, of which begin is the sample before.
func (p pointPlanner) planStretchedWindow(at, begin, start int64, podTimes []sampleTimes) (evalPoint, bool) {
	from := begin
	if float64(at-begin) > maxStretch*float64(p.window) && p.hasSamplePair(podTimes, start) {
		// The gap is too long to reach across, and there are samples enough behind it.
		from = at
		for _, t := range podTimes {
			if i := t.indexAfter(start); i < len(t) {
				from = min(from, t[i]-1)
			}
		}
	}
	return evalPoint{at: at, window: alignWindow(at - from)}, p.hasSamplePair(podTimes, from)
}

// hasSamplePair reports whether some track has two samples after start.
func (p pointPlanner) hasSamplePair(podTimes []sampleTimes, start int64) bool {
	for _, t := range podTimes {
		if t.indexAfter(start)+1 < len(t) {
			return true
		}
	}
	return false
}

// alignWindow rounds up to a multiple of a 64th of ms, or of somewhat less: of a power of two.
func alignWindow(ms int64) int64 {
	unit := int64(1) << max(0, bits.Len64(uint64(ms))-1-alignmentShift)
	return (ms + unit - 1) / unit * unit
}

// lastTime is the time of the newest sample.
func (t sampleTimes) lastTime() int64 { return t[len(t)-1] }

// indexAfter is the index of the first sample after start.
func (t sampleTimes) indexAfter(start int64) int {
	return sort.Search(len(t), func(i int) bool { return t[i] > start })
}

// meanStep is the mean step between samples; 0 for a single one.
func (t sampleTimes) meanStep() float64 {
	if len(t) < 2 {
		return 0
	}
	return float64(t.lastTime()-t[0]) / float64(len(t)-1)
}

func millisDuration(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }
