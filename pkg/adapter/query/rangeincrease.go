// The increase of a counter over a range, track by track.

package query

import "github.com/prometheus/prometheus/model/value"

// rangeIncrease adds up the increase of a counter over a range.
type rangeIncrease struct {
	*countedRange
	times  []int64
	values []float64

	first, last           int     // indices of the track's first and newest sample so far; last is -1 outside of a track
	fromZero              bool    // the track began at zero
	track, all            float64 // the track's increase within the range, and in all
	firstRate, newestRate float64 // of the track's increments, per millisecond

	before   endedCounterTrack
	ended    int64   // the newest sample of the tracks before
	increase float64 // of the tracks before
	isKnown  bool    // an increment tells something of the range
}

// increaseBetweenSamples returns the increase of a counter over a range, by interpolation between samples (see countIncrementPart); false if nothing
// is known of it. A counter that decreases began again at zero: since the sample before, or after a pause since an
// interval before its first sample. A track counts nothing before its first sample if it began at zero, and nothing after
// its last, or its end if no other follows. What a counter has beyond zero, it counted since its pod became ready.
func increaseBetweenSamples(times []int64, values []float64, r countedRange) (increase float64, ok bool) {
	c := rangeIncrease{countedRange: &r, times: times, values: values, first: -1, last: -1, ended: r.podEnded}
	for i, v := range values {
		switch {
		case value.IsStaleNaN(v):
			c.endTrack(i)
		case c.last < 0:
			c.beginTrack(i)
		default:
			c.addIncrement(i)
		}
	}
	if c.last <= c.first || c.first < 0 {
		c.addWithoutIncrement()
	} else {
		c.addBeforeTrack()
	}
	return c.increase + c.track, c.isKnown
}

// endTrack ends the track at the staleness marker with an index.
func (c *rangeIncrease) endTrack(marker int) {
	if c.last >= 0 {
		next := endedCounterTrack{to: c.times[c.last], marker: c.times[marker], newestRate: c.newestRate, hasRate: true}
		if c.first == c.last && !c.fromZero { // it tells no rate
			next.marker = next.to // nor does it tell its counts until its end
			next.newestRate, next.hasRate, c.firstRate = c.before.newestRate, c.before.hasRate, c.before.newestRate
		}
		if !c.fromZero {
			c.track += c.before.countBetweenTracks(c.times[c.first], c.firstRate, c.countedRange)
		}
		c.ended, c.before = next.to, next
	}
	c.increase, c.track, c.last, c.newestRate = c.increase+c.track, 0, -1, 0
}

// beginTrack begins a track at the sample with an index.
func (c *rangeIncrease) beginTrack(i int) {
	c.first, c.last, c.fromZero, c.all = i, i, c.values[i] == 0, 0
	if c.fromZero { // a process that began anew
		c.increase += c.before.countUntilTrackEnd(c.countedRange)
	}
}

// addIncrement adds the part within the range of the increment that ends at the sample with an index.
func (c *rangeIncrease) addIncrement(i int) {
	begin, n := c.times[c.last], c.values[i]-c.values[c.last]
	if n < 0 {
		n = c.values[i]
		if isPauseBetweenSamples(c.times[i]-begin, c.interval) {
			begin, c.fromZero = c.times[i]-c.interval, true
			c.increase, c.track = c.increase+c.track, 0
		}
	}
	whole := c.loadSpanOfIncrement(timeSpan{begin, c.times[i]}, n == c.values[i])
	c.noteIncrementRate(whole, n)
	c.last, c.all = i, c.all+n
	if max(min(begin, whole.from), c.from) >= min(whole.to, c.to) {
		return
	}
	counted := timeSpan{max(whole.from, c.from), max(whole.from, min(whole.to, c.to))}
	if counted != whole {
		part := newCounterIncrement(whole, n, c.times[c.first:], c.values[c.first:], i-c.first, c.interval).changeRateAt(c.gaveAt)
		n = c.countIncrementPart(part, counted)
	}
	c.track, c.isKnown = c.track+n, true
}

// noteIncrementRate keeps the rate of an increment after the track's samples so far. One in which young pods took load does not tell the
// newest rate.
func (c *rangeIncrease) noteIncrementRate(whole timeSpan, n float64) {
	rate := n / float64(whole.to-whole.from)
	if c.last == c.first || !c.tookLoadWithin(timeSpan{c.times[c.first], whole.to}) {
		c.newestRate = rate
	}
	if c.last == c.first {
		c.firstRate = rate
	}
}

// addWithoutIncrement adds the count after the samples if the last track has no increment. A track of a single sample goes on as the track
// before did.
func (c *rangeIncrease) addWithoutIncrement() {
	switch {
	case c.last < 0:
		n := c.before.countUntilTrackEnd(c.countedRange)
		c.increase, c.isKnown = c.increase+n, c.isKnown || n > 0
	case !c.fromZero && !c.silent:
		c.increase += c.before.countAfterTrackEnd(c.times[c.last], c.countedRange)
	}
}

// addBeforeTrack adds the count before and after the samples of the last track. Where its begin or end is not known, it is taken to have
// counted more of the same: back to the begin of the range, or to the end of the series that were in its place; but not if the pod was watched
// before and had no such series.
func (c *rangeIncrease) addBeforeTrack() {
	begin, end := c.times[c.first], c.times[c.last]
	from := c.from
	if c.ended <= begin {
		from = max(from, c.ended)
	}
	isWatchedSince := c.podSince == 0 || !missesScrapeWithin(begin-c.podSince, c.interval)
	if !c.fromZero && isWatchedSince && begin > from {
		if c.before.to != c.ended || isPauseBetweenSamples(begin-c.ended, c.interval) {
			c.track, c.isKnown = c.all*float64(c.to-from)/float64(end-begin), true
			return
		}
		c.track, c.isKnown = c.track+c.before.countBetweenTracks(begin, c.firstRate, c.countedRange), true
	}
	if !c.silent && end < c.to && end > from {
		rate := c.rateAfterLateSample(c.times[c.first:c.last+1], c.values[c.first:c.last+1], c.track/float64(end-from))
		c.track += rate * float64(c.to-end)
	}
}
