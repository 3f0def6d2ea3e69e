// The first increments of pods in which load moved.

package query

import (
	"slices"
	"sort"
	"time"
)

// windowBesideFirstIncrements returns the window without a begin in the midst of the first increment of a pod in which others began or ended: no earlier
// rate tells which of its counts came before. The window begins before or after the increment, if it can.
func (ev *evaluation) windowBesideFirstIncrements(c commonStretch) time.Duration {
	begin, interval := c.end-ev.window.Milliseconds(), ev.interval.Milliseconds()
	find := func(t namedSampleTimes, i int) (timeSpan, bool) { return c.findMovedIncrement(t, i, interval) }
	earlier := max(c.begin, ev.scan.leaveSampleGaps(begin, find, func(gap timeSpan) int64 { return gap.from }))
	if c.end-earlier <= max(ev.window, ev.maxWindow).Milliseconds() {
		return evalMillisToDuration(c.end - earlier)
	}
	later := ev.scan.leaveSampleGaps(begin, find, func(gap timeSpan) int64 { return gap.to })
	if later < c.end-minStretchIntervals*interval {
		return evalMillisToDuration(c.end - later)
	}
	return ev.window
}

// findMovedIncrement returns the first increment of a pod, and whether load moved in it and the sample with an index ends it.
func (c commonStretch) findMovedIncrement(t namedSampleTimes, i int, interval int64) (first timeSpan, moved bool) {
	first = timeSpan{t.times[0], t.times[t.firstCountIndex(interval)]}
	within := first
	if t.fromZero { // pods that begin together get their load together
		within.from += interval / 4
	}
	return first, t.times[i] <= first.to && c.hasPodBeginOrEndWithin(within)
}

// firstCountIndex returns the index of the first sample after the first one that may have counts: a pod that began at zero may show zero soon again.
func (t namedSampleTimes) firstCountIndex(interval int64) int {
	if t.fromZero && len(t.times) > 2 && t.times[1]-t.times[0] < interval/2 {
		return 2
	}
	return 1
}

// hasPodBeginOrEndWithin reports whether a pod began or ended within a time, and not at its edges.
func (c commonStretch) hasPodBeginOrEndWithin(span timeSpan) bool {
	next := sort.Search(len(c.tracks), func(i int) bool { return c.tracks[i].first > span.from })
	if next < len(c.tracks) && c.tracks[next].first < span.to {
		return true
	}
	return span.from < c.events.ended && slices.ContainsFunc(c.tracks, func(t trackSpan) bool { return t.ended && span.from < t.last && t.last < span.to })
}
