// The common stretch of a group whose pods came or went.

package query

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sort"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/window"
)

// While load moves between pods, the rate of each pod over a window of its own does not add up to the rate of the
// group: a young pod is read over its life, in which it had its share, beside old pods that are read over a window in
// which they still had the shares of others; and a pod that left takes its share of the window with it. Therefore, as
// soon as a pod begins or ends within the window, all pods are read over one stretch of time, from the
// same begin to the same end, by interpolation between their samples (promQLIncreaseBetween):
//
//   - The stretch ends at the oldest of the newest samples of the punctual pods. Until then every pod is known.
//   - A pod that began within the stretch has counted from zero. This is known from its first sample, which is 0 then:
//     the scraper adds it where it knows the begin. Another pod is as old as the stretch, but watched only since its
//     first sample: it is read over that time, as if it had counted the same before.
//   - A pod that ended within the stretch has counted until its last sample. A pod whose scrapes fail goes on at the
//     rate that it had: the scraper ends its series where nothing listens any more.
//   - The stretch does not reach back across a time without any pod.
//
// The sum over all pods is then the true mean rate over the stretch, however the load moved. The value of a single pod
// is its share of that: what it counted, divided by the whole stretch.

// hasQueriedPodPause reports whether the pod was not scraped for longer than a missed scrape takes, until now or before.
func (p *scannedPod) hasQueriedPodPause(now, interval int64) bool {
	if isPauseInQuery(now-p.newest, interval) {
		return true
	}
	for _, t := range p.sampleTimes {
		for i := 1; i < len(t.times); i++ {
			if isPauseInQuery(t.times[i]-t.times[i-1], interval) {
				return true
			}
		}
	}
	return false
}

// youngMargin is how much longer than the window a pod's samples must reach back, in scrape intervals, for a window of
// its own: its newest sample may be late, or a scrape may be missing at the begin.
const youngMargin = 3

// moveIntervals is how long load moves after a pod began or ended, in scrape intervals: until it is ready, and clients know it.
const moveIntervals = 5

// queryGroupMoved reports whether a pod began or ended within the span before now, or is about to, or fell silent.
func (ev *evaluation) queryGroupMoved() bool {
	if ev.Moving || ev.scan.hasEnded {
		return true
	}
	now, span, interval := ev.now.UnixMilli(), ev.span.Milliseconds(), ev.interval.Milliseconds()
	for _, p := range ev.scan.orderedPods {
		if p.silent || ev.querySumsPods() && p.newest > 0 && p.hasQueriedPodPause(now, interval) {
			return true // the pods of a sum have no evalPoints of their own
		}
		for _, t := range p.sampleTimes {
			if t.times[0] > now-span-youngMargin*interval {
				return true
			}
		}
	}
	return false
}

// commonStretch is the common time of a group's evaluation, in milliseconds.
type commonStretch struct {
	// begin is the end of the last time without any pod; math.MinInt64 if that is beyond the scan. Until end every
	// punctual pod is known.
	begin, end int64
	tracks     []trackSpan // of all series, ascending by first
}

// planQueryStretch plans the stretch of a group that moved; false if no pod is current.
func (s *seriesScan) planQueryStretch(now, interval int64) (c commonStretch, ok bool) {
	c.end = math.MaxInt64
	newest := int64(0)
	for _, p := range s.orderedPods {
		newest = max(newest, p.newest)
		if p.queriedPodHasIncrement() && !isPauseInQuery(now-p.newest, interval) {
			c.end = min(c.end, p.newest)
		}
	}
	c.end = min(c.end, newest)
	c.tracks = s.sortedQueriedTracks(interval)
	c.begin = c.lastGapOfQuery(s.since, interval)
	return c, newest > 0
}

// queriedPodKnownSince returns the time since which the pod's counts are known; math.MinInt64 if it began at zero.
func (p *scannedPod) queriedPodKnownSince() int64 {
	since := int64(math.MinInt64)
	for _, t := range p.sampleTimes {
		if !t.fromZero {
			since = max(since, t.times[0])
		}
	}
	return since
}

// queriedPodHasIncrement reports whether the pod has a counter with two samples, or another series with two.
func (p *scannedPod) queriedPodHasIncrement() bool {
	for _, t := range p.sampleTimes {
		if len(t.times) > 1 {
			return true
		}
	}
	return false
}

// coveredQueryMillis returns the greatest length of the stretch.
func (c commonStretch) coveredQueryMillis() int64 {
	if c.begin == math.MinInt64 {
		return math.MaxInt64
	}
	return c.end - c.begin
}

// sortedQueriedTracks returns the tracks of all series.
func (s *seriesScan) sortedQueriedTracks(interval int64) []trackSpan {
	var tracks []trackSpan
	for i := range s.seriesBySelector {
		for j := range s.seriesBySelector[i] {
			tracks = s.seriesBySelector[i][j].appendQueriedTracks(tracks, interval)
		}
	}
	slices.SortFunc(tracks, func(a, b trackSpan) int { return cmp.Compare(a.first, b.first) })
	return tracks
}

// lastGapOfQuery returns the time from which on increments are known after the last time before end without any pod. The scan
// has samples from since on.
func (c commonStretch) lastGapOfQuery(since, interval int64) int64 {
	begin, until := int64(math.MinInt64), int64(math.MinInt64)
	for _, t := range c.tracks {
		if t.first >= c.end {
			break
		}
		beyond := until == math.MinInt64 && !isPauseInQuery(t.first-since, interval) // the track may reach back further
		switch {
		case !beyond && (until == math.MinInt64 || isPauseInQuery(t.first-until, interval)):
			begin = t.counted
		case begin != math.MinInt64:
			begin = min(begin, t.counted)
		}
		until = max(until, t.last)
	}
	return begin
}

// lastQueriedPodEvent returns the time of the newest begin or end of a pod, without the end of tracks at newest.
func (c commonStretch) lastQueriedPodEvent(newest int64) (at int64) {
	for _, t := range c.tracks {
		at = max(at, t.first)
		if t.ended && t.last != newest {
			at = max(at, t.last)
		}
	}
	return at
}

// trimQueryRange lets the stretch of a window begin at the last pod that began or ended in its first quarter. It costs little,
// and each pod then has its own rate again, not only its share of the total.
func (c commonStretch) trimQueryRange(window int64) int64 {
	begin := c.end - window
	limit := begin + window/4
	trimmed := begin
	for _, t := range c.tracks {
		for _, event := range []int64{t.first, t.last} {
			if event > trimmed && event < limit {
				trimmed = event
			}
		}
	}
	return c.end - trimmed
}

// addEndedQueriedPods gives pods that ended objects of their own, so that they have values, which are parts of a sum.
func (s *seriesScanner) addEndedQueriedPods() {
	for _, p := range s.orderedPods {
		if p.scannedObject == nil && p.newest == 0 && p.ended > 0 {
			s.addQueriedObject(p)
			p.scannedObject.newest = max(p.scannedObject.newest, p.ended)
		}
	}
}

// planMovedQuery evaluates all objects at one point, over a common stretch.
func (ev *evaluation) planMovedQuery(s *seriesScanner, auto bool) error {
	if !s.keepSamples {
		return fmt.Errorf("too many samples: more than %d are within the window", s.maxSamples)
	}
	s.addEndedQueriedPods()
	c, ok := ev.scan.planQueryStretch(ev.now.UnixMilli(), ev.interval.Milliseconds())
	if !ok {
		return nil
	}
	if !ev.fixedWindow {
		ev.window = ev.longestQueryWindow(c.coveredQueryMillis())
	}
	ev.refuseUnknownQueriedPods(c)
	if auto {
		histories := ev.scan.queriedSelectorHistories()
		if ev.window < ev.maxWindow && queryHasFewEvents(histories, c.end-ev.window.Milliseconds(), c.end) {
			ev.refuseQueriedPods(metric.ReasonWarmingUp, fmt.Sprintf("fewer than %d events in %s", minEvents, ev.window.Round(time.Second)))
		}
		ev.scan.extendQueriedHistories(c, c.end-ev.window.Milliseconds())
		ev.window = chooseQueryTotalWindow(c.end, ev.window, append(ev.scan.queriedSelectorHistories(), ev.scan.queriedQuantileHistories(s.selectors)...))
	}
	if !ev.fixedWindow && ev.Rule.Span(ev.window) == ev.window {
		ev.window = queryMillisToDuration(c.trimQueryRange(ev.window.Milliseconds()))
	}
	ev.span = ev.Rule.Span(ev.window)
	ev.refuseLateQueriedPods(c)
	if ev.window > 0 {
		ev.moved = true
		ev.groupAllQueryObjects(evalPoint{at: c.end, window: ev.window.Milliseconds()})
	}
	return nil
}

// refuseUnknownQueriedPods refuses pods without an increment, or without increments over all of the ranges if these are written
// or nested.
func (ev *evaluation) refuseUnknownQueriedPods(c commonStretch) {
	whole := ev.fixedWindow || ev.Rule.Span(ev.window) != ev.window
	interval := ev.interval.Milliseconds()
	for _, p := range ev.scan.orderedPods {
		since := p.queriedPodKnownSince()
		if late := isPauseInQuery(c.end-p.newest, interval); late && p.newest > 0 && !p.silent && p.newest < c.lastQueriedPodEvent(p.newest)+moveIntervals*interval {
			ev.refuseQueriedPod(p, metric.ReasonStale, "no sample since pods came or went, and load with them")
		}
		if p.newest > 0 && (!p.queriedPodHasIncrement() || whole && since > c.end-ev.span.Milliseconds()) {
			ev.refuseQueriedPod(p, metric.ReasonWarmingUp, "scraped for "+queryMillisToDuration(max(0, p.newest-max(since, ev.scan.since))).Round(time.Second).String())
		}
	}
}

// refuseLateQueriedPods refuses pods whose newest sample is hardly within the stretch: what they count now is not known.
func (ev *evaluation) refuseLateQueriedPods(c commonStretch) {
	interval, begin := ev.interval.Milliseconds(), c.end-ev.window.Milliseconds()
	for _, p := range ev.scan.orderedPods {
		if p.newest > 0 && !p.silent && isPauseInQuery(c.end-p.newest, interval) && p.newest < begin+interval {
			ev.refuseQueriedPod(p, metric.ReasonStale, "no sample within the window")
		}
	}
}

// extendQueriedHistories gives pods that are watched only since a later time than begin, or whose newest increments are late,
// what they may have counted in the missing time: the same rate. What is not known is then no step of the total.
func (s *seriesScan) extendQueriedHistories(c commonStretch, begin int64) {
	for _, p := range s.orderedPods {
		if p.newest == 0 || p.silent {
			continue
		}
		since := p.queriedPodKnownSince()
		for i, h := range p.histories {
			if len(h) == 0 {
				continue
			}
			count, span := 0.0, int64(0)
			for _, n := range h {
				count, span = count+n.Count, span+n.To-n.From
			}
			rate := count / float64(span)
			if since > begin {
				earlier := window.Increment{From: begin, To: since, Count: rate * float64(since-begin)}
				p.histories[i] = append(window.History{earlier}, h...)
			}
			if last := h[len(h)-1].To; last < c.end {
				p.histories[i] = append(p.histories[i], window.Increment{From: last, To: c.end, Count: rate * float64(c.end-last)})
			}
		}
	}
}

// longestQueryWindow returns the longest window whose span is covered, at most ev.window.
func (ev *evaluation) longestQueryWindow(covered int64) time.Duration {
	longest := ev.window.Milliseconds()
	if ev.span.Milliseconds() <= covered {
		return ev.window
	}
	w := sort.Search(int(min(covered, longest)), func(w int) bool {
		return ev.Rule.Span(queryMillisToDuration(int64(w)+1)).Milliseconds() > covered
	})
	return queryMillisToDuration(int64(w))
}

// groupAllQueryObjects puts all objects without a refusal into one group.
func (ev *evaluation) groupAllQueryObjects(at evalPoint) {
	g := evalGroup{evalPoint: at}
	ev.scan.forEachQueriedObject(func(_ metric.Object, s *scannedObject) {
		ev.objectCount++
		if !s.hasValue {
			s.groupIndex = 0
			g.objectCount++
		}
	})
	ev.evalGroups = append(ev.evalGroups, g)
}

// minEvents is the least number of events for a rate over less than the longest window: with fewer, chance makes a
// multiple of the rate, or nothing.
const minEvents = 10

// queryHasFewEvents reports whether a counter of whole events has fewer than minEvents from begin to end.
func queryHasFewEvents(counters []window.Counter, begin, end int64) bool {
	for _, c := range counters {
		events, increments := 0.0, 0
		for _, h := range c.Pods {
			increments += len(h)
			for _, i := range h {
				if i.To > begin && i.From < end {
					events += i.Count
				}
			}
		}
		if increments > 0 && events < minEvents && events == math.Trunc(events) {
			return true
		}
	}
	return false
}
