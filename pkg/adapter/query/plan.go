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

// slot is when, and over which window, an object is evaluated. Both are milliseconds.
type slot struct {
	at, window int64
}

const (
	// edge is PromQL's limit for d0 and d1, in steps.
	edge = 1.1
	// stretch is how much longer than asked for a window may get to begin at the sample before missed scrapes, if
	// there is a choice.
	stretch = 1.5
	// maxCut is the part of a fixed range by which a rate may be too low; beyond it there is no value.
	maxCut = 0.05
	// alignment is the part of a window to which windows that begin at a sample are rounded up, as a shift: a
	// 1/64th, so that objects whose first samples are close share a query, at an error of no more than that.
	alignment = 6
)

// planner makes slots for the objects of one question. All times are milliseconds.
type planner struct {
	now      int64
	interval int64
	window   int64
	// span is how far back the expression looks with a window; see rule.Rule.Span.
	span func(window int64) int64
	// fixed tells that the expression needs its ranges as they are: they are written out, or the value depends on
	// their length, as an increase does.
	fixed bool
	// anchored tells that the window begins at a change, so that it must begin no earlier for an object that is
	// evaluated at an earlier time.
	anchored bool
}

// plan finds the slot of an object with these tracks, none of them empty; false if it has none.
func (p planner) plan(tracks []track) (slot, bool) {
	freshest := tracks[0]
	first := tracks[0][0]
	for _, t := range tracks[1:] {
		if t.last() > freshest.last() {
			freshest = t
		}
		first = min(first, t[0])
	}
	at := p.at(freshest)
	if newest := len(freshest) - 1; p.anchored && newest > 0 {
		p.window = min(p.window, max(p.window-(p.now-at), align(at-freshest[newest-1]+1)))
	}
	start := at - p.span(p.window)
	if first > start {
		return p.young(at, first, tracks)
	}
	return p.covered(at, start, tracks)
}

// at is the time to evaluate at: now, or, where the newest sample is late, a time soon after it. That is a whole
// number of half intervals ago, so that objects share slots, or of less where samples are denser than that.
func (p planner) at(t track) int64 {
	span := p.span(p.window)
	if p.ends(t, p.now, span) {
		return p.now
	}
	late := p.now - t.last()
	for unit := p.interval / 2; unit > 1; unit /= 2 {
		if at := p.now - late/unit*unit; p.ends(t, at, span) {
			return at
		}
	}
	return t.last()
}

// ends reports whether the samples of a range that ends at at reach its end, for rate.
func (p planner) ends(t track, at, span int64) bool {
	return float64(at-t.last()) < edge*t[min(t.after(at-span), len(t)-1):].mean()
}

// young is the slot of an object that is watched since first, for less than the expression looks back.
func (p planner) young(at, first int64, tracks []track) (slot, bool) {
	if p.fixed || !p.anyPair(tracks, first-1) {
		return slot{}, false
	}
	covered := align(at - first + 1)
	// The longest window that stays within the coverage; mostly that is the coverage itself.
	window := int64(sort.Search(int(min(covered, p.window)), func(w int) bool { return p.span(int64(w)+1) > covered }))
	if window < p.window && !p.anyPair(tracks, at-window) {
		return slot{}, false
	}
	return slot{at: at, window: window}, window > 0
}

// covered is the slot of an object whose samples reach back to start or further.
func (p planner) covered(at, start int64, tracks []track) (slot, bool) {
	plain := slot{at: at, window: p.window}
	begin, cut, found := start, 0.0, false
	for _, t := range tracks {
		i := t.after(start)
		if i == len(t) {
			continue // the pod has not been heard of for longer than that
		}
		found = found || i+1 < len(t)
		missing := float64(t[i] - start)
		step := t[i:].mean()
		if i == 0 || missing < edge*step && step > 0 {
			continue
		}
		begin = min(begin, t[i-1]-1)
		cut += (missing - step/2) / float64(at-start) / float64(len(tracks))
	}
	if begin == start {
		return plain, found
	}
	if p.fixed || p.span(p.window) != p.window {
		return plain, found && cut <= maxCut
	}
	return p.stretched(at, begin, start, tracks)
}

// stretched is the slot of an object with a scrape missing at start, of which begin is the sample before.
func (p planner) stretched(at, begin, start int64, tracks []track) (slot, bool) {
	from := begin
	if float64(at-begin) > stretch*float64(p.window) && p.anyPair(tracks, start) {
		// The gap is too long to reach across, and there are samples enough behind it.
		from = at
		for _, t := range tracks {
			if i := t.after(start); i < len(t) {
				from = min(from, t[i]-1)
			}
		}
	}
	return slot{at: at, window: align(at - from)}, p.anyPair(tracks, from)
}

// anyPair reports whether some track has two samples after start.
func (p planner) anyPair(tracks []track, start int64) bool {
	for _, t := range tracks {
		if t.after(start)+1 < len(t) {
			return true
		}
	}
	return false
}

// align rounds up to a multiple of a 64th of ms, or of somewhat less: of a power of two.
func align(ms int64) int64 {
	unit := int64(1) << max(0, bits.Len64(uint64(ms))-1-alignment)
	return (ms + unit - 1) / unit * unit
}

// last is the time of the newest sample.
func (t track) last() int64 { return t[len(t)-1] }

// after is the index of the first sample after start.
func (t track) after(start int64) int {
	return sort.Search(len(t), func(i int) bool { return t[i] > start })
}

// mean is the mean step between samples; 0 for a single one.
func (t track) mean() float64 {
	if len(t) < 2 {
		return 0
	}
	return float64(t.last()-t[0]) / float64(len(t)-1)
}

func milliseconds(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }
