// Tracks: the stretches of a series in which one process counted.

package query

import (
	"math"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
)

// maxLateIntervals is the greatest age of a punctual pod's newest sample, and the longest pause within a track, in scrape
// intervals with some jitter: one scrape may fail.
const maxLateIntervals = 2.2

// currentCounterTrack is the last track of a series.
type currentCounterTrack struct {
	start       int   // index of its first sample; as many as there are samples if the series ended
	first       int   // index of its first sample, also if the series ended
	since       int64 // the first sample of the track, or of the tracks before that it continues, milliseconds
	afterMarker bool  // a staleness marker is before it
	fromZero    bool  // a counter that is known to have begun at zero
	decreases   int   // of a counter, over all tracks, without zeros between pages
	// decreased is the increment of the newest of them.
	decreased timeSpan
	// hasIncrement is set if the track, or a track before that it continues, has two samples.
	hasIncrement bool
}

// findCurrentTrack returns the track after the last end of a series. A staleness marker ends a track. A counter's track
// also ends where the counter begins again after a pause: its process was away. A track continues the track before if no more
// than a missed scrape is between them, as after a change of the URL.
func findCurrentTrack(sel exprSelector, times []int64, values []float64, interval int64) (t currentCounterTrack) {
	restarted := false // with the track, also if the series ended
	newest := int64(0) // the newest sample
	for i, v := range values {
		switch {
		case value.IsStaleNaN(v):
			t.start, t.afterMarker = i+1, true
			continue
		case t.start == i:
			t.first, restarted = i, false
		case sel.isCounter && i > 0 && v < values[i-1]:
			if !isZeroBetweenPages(times, values, i, interval) {
				t.decreases++
				t.decreased = timeSpan{times[i-1], times[i]}
			}
			if isPauseBetweenSamples(times[i]-times[i-1], interval) {
				t.start, t.first, restarted = i, i, true
			}
		}
		if newest == 0 || isPauseBetweenSamples(times[i]-newest, interval) && (restarted || t.start == i) {
			t.since, t.hasIncrement = times[i], false
		} else if t.start < i || restarted {
			t.hasIncrement = true
		}
		newest = times[i]
	}
	t.fromZero = sel.isCounter && newest > 0 && (restarted || values[t.first] == 0)
	return t
}

// isZeroBetweenPages reports whether a sample is the zero of a counter that began anew between two pages: the scraper adds it. A process
// behind the same port with a count of 0 would have a page of its own, an interval after the one before.
func isZeroBetweenPages(times []int64, values []float64, i int, interval int64) bool {
	return values[i] == 0 && i > 0 && i+1 < len(times) && values[i+1] > 0 && !missesScrapeWithin(times[i+1]-times[i-1], interval)
}

// lastZeroOfTrack returns the index of the last 0 before the track's first count; its first sample if that is none, or all are 0.
func (t currentCounterTrack) lastZeroOfTrack(values []float64) int {
	for i := t.first; i < len(values); i++ {
		if values[i] != 0 {
			return max(t.first, i-1)
		}
	}
	return t.first
}

// joinResumedCounter removes the staleness markers behind which a counter has its last value again: the scraper ended it for want of
// pages, and the same process goes on. It changes the slices in place, unless nothing is to be removed.
func joinResumedCounter(times []int64, values []float64) ([]int64, []float64) {
	n := 0
	for i := 0; i < len(values); i++ {
		if n > 0 && i+2 < len(values) && value.IsStaleNaN(values[i]) && times[i+1] == times[i]+1 && values[i+1] == values[n-1] && values[n-1] > 0 {
			i++ // the marker, and the last value again
			continue
		}
		if n < i {
			times[n], values[n] = times[i], values[i]
		}
		n++
	}
	return times[:n], values[:n]
}

// maxScrapeIntervals is the longest time between two samples without a missed scrape, in scrape intervals: PromQL's rate
// extrapolates over no more; see maxEdgeSteps.
const maxScrapeIntervals = maxEdgeSteps

// missesScrapeWithin reports whether a scrape is missing between two samples.
func missesScrapeWithin(ms, interval int64) bool {
	return float64(ms) > maxScrapeIntervals*float64(interval)
}

// timeSpan is a stretch of time, in milliseconds.
type timeSpan struct{ from, to int64 }

// minHoleIntervals is the shortest time without an answer from which counts are missed, in scrape intervals: a pod that answers loses
// up to one.
const minHoleIntervals = 1.2

// appendCounterHoles appends the times in which a counter has counts that no sample shows: its pod ended without an answer for longer
// than an interval. A counter that began again was away. A counter that stood still before a page that is late is taken to have counted nothing.
// The samples begin at since, in the midst of the series.
func appendCounterHoles(dst []timeSpan, since int64, times []int64, values []float64, interval int64) []timeSpan {
	answered := since
	for i, v := range values {
		if !value.IsStaleNaN(v) {
			answered = times[i]
			continue
		}
		least := minHoleIntervals
		if i > 1 && values[i-1] == values[i-2] {
			least = maxLateIntervals
		}
		if (i == 0 || !value.IsStaleNaN(values[i-1])) && float64(times[i]-answered) > least*float64(interval) {
			dst = append(dst, timeSpan{answered, times[i]})
		}
	}
	return dst
}

// isPauseBetweenSamples reports whether the time between two samples is too long for a missed scrape.
func isPauseBetweenSamples(ms, interval int64) bool {
	return float64(ms) > maxLateIntervals*float64(interval)
}

// trackSpan is the time between a track's first and last sample, in milliseconds.
type trackSpan struct {
	first, last int64
	// counted is the time since which increments are known to the millisecond. A counter's first 0 may stand for the
	// second in which its process started.
	counted int64
	ended   bool // by a staleness marker, or by a later track
}

// appendTrackSpans appends the spans of a series' tracks to dst.
func (s *evaluatedSeries) appendTrackSpans(dst []trackSpan, interval int64) []trackSpan {
	begin := -1
	for i, v := range s.values {
		if value.IsStaleNaN(v) {
			if begin >= 0 {
				dst[len(dst)-1].ended = true
			}
			begin = -1
			continue
		}
		t := s.times[i]
		if begin >= 0 && s.isCounter && v < s.values[i-1] && isPauseBetweenSamples(t-s.times[i-1], interval) {
			begin, dst[len(dst)-1].ended = -1, true
		}
		switch {
		case begin < 0:
			begin = i
			dst = append(dst, trackSpan{first: t, counted: t})
		case i == begin+1 && s.isCounter && s.values[begin] == 0:
			dst[len(dst)-1].counted = t
		}
		dst[len(dst)-1].last = t
	}
	return dst
}

// countedRange is a range of time over which a counter's increase is wanted, in milliseconds.
type countedRange struct {
	from, to int64
	interval int64 // between scrapes
	// podSince is the first sample of the process's counter of this name that is watched for longest. podEnded is the same if that is its
	// beginning at zero, or the newest sample of the pod's counters that ended before; 0 without any.
	podSince, podEnded int64
	// readied is the time at which the pod became ready, if it did so lately; else 0.
	readied int64
	// unreadied is the time at which the pod stopped being ready, likewise.
	unreadied int64
	// settled is the time since which load no longer moves between pods; 0 if it did not move.
	settled int64
	// silent is set if the pod's newest sample is too old to go on.
	silent bool
	// taken, takenAt and gaveAt: see evaluatedPod.
	taken           float64
	takenAt, gaveAt int64
	// edgeCounts are the counts of the series with the hash series until an edge; see evaluationScan.
	edgeCounts map[edgeKey]float64
	series     uint64
}

// setSeriesCountedRange sets the properties of a series in a range.
func (r *countedRange) setSeriesCountedRange(p *evaluatedPod, l labels.Labels, edgeCounts map[edgeKey]float64) {
	if p != nil {
		p.setPodCountedRange(l.Get(model.MetricNameLabel), r)
	}
	if r.edgeCounts = edgeCounts; len(edgeCounts) > 0 {
		r.series = l.Hash()
	}
}

// countIncrementPart returns the count of a counter in a part of an increment.
func (r *countedRange) countIncrementPart(n counterIncrement, part timeSpan) float64 {
	count := n.countIncrementPart(part)
	if until, ok := r.edgeCounts[edgeKey{r.series, part.to}]; ok && part.to < n.to {
		count += until - n.countIncrementPart(timeSpan{n.from, part.to})
	}
	if until, ok := r.edgeCounts[edgeKey{r.series, part.from}]; ok && part.from > n.from {
		count -= until - n.countIncrementPart(timeSpan{n.from, part.from})
	}
	return count
}

// loadSpanOfIncrement returns the part of an increment in which a counter counted: a pod gets no load before it is ready, if the counter was
// at zero at the begin. Counts that a page shows after a pause are from before the pod stopped being ready.
func (r *countedRange) loadSpanOfIncrement(increment timeSpan, fromZero bool) timeSpan {
	if fromZero && increment.from < r.readied && r.readied < increment.to {
		increment.from = r.readied
	}
	if r.unreadied > 0 && r.unreadied < increment.to && isPauseBetweenSamples(increment.to-increment.from, r.interval) {
		increment.to = r.unreadied // a counter that ended then began at zero before it
		increment.from = min(increment.from, increment.to-r.interval)
	}
	return increment
}

// counterIncrement is the increment of a counter between two samples, with the rates of the increments beside it, per millisecond; NaN for an
// unknown rate. doubt is the weight of even counts, beside those of a rate that changed once: more the more the rates beside it changed, too.
type counterIncrement struct {
	timeSpan
	count, before, after, doubt float64
}

// newCounterIncrement returns the increment that ends at the sample with an index, of a track. A track that begins at zero counted nothing
// before. Rates of much shorter times than a scrape interval are chance.
func newCounterIncrement(span timeSpan, count float64, times []int64, values []float64, i int, interval int64) counterIncrement {
	least, rate := min(span.to-span.from, interval)/2, count/float64(span.to-span.from)
	n := counterIncrement{timeSpan: span, count: count, before: math.NaN()}
	n.after, n.doubt = settledRateBesideSample(times, values, i, 1, least, rate)
	switch {
	case values[i] < values[i-1]: // the process before had another rate
	case i > 1:
		before, doubt := settledRateBesideSample(times, values, i-1, -1, least, rate)
		n.before, n.doubt = before, max(n.doubt, doubt)
	case values[0] == 0:
		n.before = 0
	}
	return n
}

// changeRateAt returns an increment without samples behind it as one with a change of the rate at a time: the pod had its rate from before
// until then, and gave load to a pod that became ready. It changes nothing if the count does not fit.
func (n counterIncrement) changeRateAt(at int64) counterIncrement {
	if !math.IsNaN(n.after) || math.IsNaN(n.before) || at <= n.from || n.to <= at {
		return n
	}
	if after := (n.count - n.before*float64(at-n.from)) / float64(n.to-at); after >= 0 && after < n.before {
		n.after = after
	}
	return n
}

// settledRateBesideSample returns rateBesideSample, and the doubt that it is the rate at the border of the increment: if the rate
// beyond it differs in the same direction, it changed meanwhile, to any rate up to that of the increment.
func settledRateBesideSample(times []int64, values []float64, i, direction int, least int64, rate float64) (beside, doubt float64) {
	beside, end := rateBesideSample(times, values, i, direction, least)
	beyond, _ := rateBesideSample(times, values, end, direction, least)
	if changed := (beyond - beside) / (beyond - rate); changed > 0 && changed < 1 {
		doubt = changed / (1 + changed)
	}
	return beside, doubt
}

// rateBesideSample returns the rate from the sample with an index, per millisecond, over the next samples in a direction that
// are at least so far away, and the index of the last of them; NaN without them, or if the counter began again.
func rateBesideSample(times []int64, values []float64, i, direction int, least int64) (rate float64, end int) {
	for j := i + direction; j >= 0 && j < len(values); j += direction {
		if earlier := min(j, j-direction); !(values[earlier+1] >= values[earlier]) {
			break
		}
		if span := (times[j] - times[i]) * int64(direction); span >= least {
			return (values[j] - values[i]) / float64(times[j]-times[i]), j
		}
	}
	return math.NaN(), i
}

// countIncrementPart returns the count of a counter in a part of an increment. If its rate is between the rates beside it, it changed once, from
// the one to the other: load moves in the midst of an increment. Otherwise the counts are taken for even.
func (n counterIncrement) countIncrementPart(part timeSpan) float64 {
	rate := n.count / float64(n.to-n.from)
	even := rate * float64(part.to-part.from)
	if (rate-n.before)*(n.after-rate) > 0 {
		stepped := n.countOfSteppedRate(part.to) - n.countOfSteppedRate(part.from)
		return stepped + n.doubt*(even-stepped)
	}
	return even
}

// countOfSteppedRate returns the count in an increment until a time, of a counter with one change of its rate.
func (n counterIncrement) countOfSteppedRate(until int64) float64 {
	passed := float64(until - n.from)
	changed := (n.count - n.after*float64(n.to-n.from)) / (n.before - n.after)
	return n.before*min(passed, changed) + n.after*max(0, passed-changed)
}

// rateAfterLateSample returns the rate, per millisecond, at which a late counter is taken to go on after its samples: that since load last
// moved, if the samples show it for an interval, and else the mean rate.
func (r *countedRange) rateAfterLateSample(times []int64, values []float64, mean float64) float64 {
	since := countedRange{from: max(r.settled, times[0]), to: times[len(times)-1], interval: r.interval}
	if r.settled <= r.from || since.to-since.from < r.interval {
		return mean
	}
	n, ok := increaseBetweenSamples(times, values, since)
	if !ok {
		return mean
	}
	return n / float64(since.to-since.from)
}

// endedCounterTrack is a track that ended.
type endedCounterTrack struct {
	to, marker int64   // its last sample, and the staleness marker behind it
	newestRate float64 // of its last increment, per millisecond
	hasRate    bool
}

// countUntilTrackEnd returns the count of an ended process between its last sample and its end, if that is no hole: as much
// as before, without what young pods took.
func (t endedCounterTrack) countUntilTrackEnd(r *countedRange) float64 {
	overlap := min(t.marker, r.to) - max(t.to, r.from)
	if overlap <= 0 || float64(t.marker-t.to) > minHoleIntervals*float64(r.interval) {
		return 0
	}
	count := t.newestRate * float64(overlap)
	if taken := min(overlap, min(t.marker, r.to)-r.takenAt); r.taken > 0 && taken > 0 {
		count -= t.newestRate * float64(taken) * r.taken
	}
	return count
}

// tookLoadWithin reports whether young pods took load from the pod within a time.
func (r *countedRange) tookLoadWithin(span timeSpan) bool {
	return r.taken > 0 && span.from < r.takenAt && r.takenAt < span.to
}

// countBetweenTracks returns the count of a counter between the end of a track and the first sample of the next, at from, where the same
// counter goes on elsewhere: at the mean of the rates just before and just after.
func (t endedCounterTrack) countBetweenTracks(from int64, firstRate float64, r *countedRange) float64 {
	overlap := min(from, r.to) - max(t.to, r.from)
	if t.to == 0 || overlap <= 0 || isPauseBetweenSamples(from-t.to, r.interval) {
		return 0
	}
	if !t.hasRate {
		return firstRate * float64(overlap)
	}
	return (t.newestRate + firstRate) / 2 * float64(overlap)
}

// countAfterTrackEnd returns the count of a track after its end until the end of the range, if its counter goes on elsewhere: the
// first sample there is at since.
func (t endedCounterTrack) countAfterTrackEnd(since int64, r *countedRange) float64 {
	if t.to == 0 || t.to >= r.to || isPauseBetweenSamples(since-t.to, r.interval) {
		return 0
	}
	return t.newestRate * float64(r.to-max(t.to, r.from))
}
