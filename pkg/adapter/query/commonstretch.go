// The common stretch of a group with pods that came or went.

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
// same begin to the same end, by interpolation between their samples (increaseBetweenSamples):
//
//   - The stretch ends at the oldest of the newest samples of the punctual pods. Until then every pod is known.
//   - A pod that began within the stretch has counted from zero, since it became ready. This is known from its first
//     sample, which is 0 then: the scraper adds it where it knows the begin. Another pod is as old as the stretch, but watched only since its
//     first sample: it is read over that time, as if it had counted the same before. The stretch does not reach back to before its
//     first sample if load moved meanwhile.
//   - A pod that ended within the stretch has counted until its last sample. A pod with failing scrapes goes on at the
//     rate that it had since load last moved: the scraper ends its series where nothing listens any more.
//   - The stretch does not reach back across a time without any pod.
//
// The sum over all pods is then the true mean rate over the stretch, however the load moved. The value of a single pod
// is its share of that: its count, divided by the whole stretch.

// missesScrapeOfPod reports whether a scrape of the pod is missing, until now or before.
func (p *evaluatedPod) missesScrapeOfPod(now, interval int64) bool {
	if missesScrapeWithin(now-p.newest, interval) {
		return true
	}
	return slices.ContainsFunc(p.sampleTimes, func(t namedSampleTimes) bool { return t.times.missesScrapeBetweenSamples(interval) })
}

// pausesAroundTime reports whether the pod has a pause between two samples around a time, or up to a missed scrape before it: its
// counts in the pause came at an unknown time.
func (p *evaluatedPod) pausesAroundTime(at, interval int64) bool {
	for _, t := range p.sampleTimes {
		if last := len(t.times) - 1; float64(t.times[last]-t.times[0]) < (float64(last)+1)*float64(interval) {
			continue // no scrape is missing
		}
		from := at - int64(maxLateIntervals*float64(interval))
		for i := max(1, t.times.sampleIndexAfter(from)); i < len(t.times) && t.times[i-1] < at; i++ {
			if isPauseBetweenSamples(t.times[i]-t.times[i-1], interval) {
				return true
			}
		}
	}
	return false
}

// youngMargin is how much longer than the window a pod's samples must reach back, in scrape intervals, for a window of
// its own: its newest sample may be late, or a scrape may be missing at the begin.
const youngMargin = 3

// beginningSamples is the number of samples after a pod's begin at zero until its load is there.
const beginningSamples = 3

// minStretchIntervals is the least length of a stretch in scrape intervals, also while earlier samples are denser: within an interval, load
// that moved is counted twice, or not at all.
const minStretchIntervals = 2

// moveIntervals is how long load moves after a pod began or ended, in scrape intervals: until it is ready, and clients know it.
const moveIntervals = 5

// groupLoadMoved reports whether a pod began or ended within the span before now, or is about to, or fell silent, or paused where the
// span begins, or whether pods are scraped at two intervals.
func (ev *evaluation) groupLoadMoved() bool {
	recently := ev.now.Add(-ev.span - moveIntervals*ev.interval)
	if ev.mixedIntervals || ev.scan.hasEnded || ev.Moved.After(recently) {
		return true
	}
	now, span, interval := ev.now.UnixMilli(), ev.span.Milliseconds(), ev.interval.Milliseconds()
	pauses := false
	for _, p := range ev.scan.orderedPods {
		if p.silent || ev.querySumsPods() && p.newest > 0 && p.missesScrapeOfPod(now, interval) {
			return true // the pods of a sum have no evalPoints of their own
		}
		pauses = pauses || p.newest > 0 && p.pausesAroundTime(now-span, interval)
		for _, t := range p.sampleTimes {
			if t.times[0] > now-span-youngMargin*interval {
				return true
			}
		}
	}
	return pauses && !ev.hasLateScannedPod()
}

// hasLateScannedPod reports whether the newest sample of some pod is late. Over a common stretch such a pod may have no value until it is back.
func (ev *evaluation) hasLateScannedPod() bool {
	return slices.ContainsFunc(ev.scan.orderedPods, ev.isLateScannedPod)
}

func (ev *evaluation) isLateScannedPod(p *evaluatedPod) bool {
	return p.newest > 0 && isPauseBetweenSamples(ev.now.UnixMilli()-p.newest, ev.interval.Milliseconds())
}

// commonStretch is the common time of a group's evaluation, in milliseconds.
type commonStretch struct {
	// begin is the end of the last time without any pod; math.MinInt64 if that is beyond the scan. Until end every
	// punctual pod is known.
	begin, end int64
	// afterHole is set if the stretch may not reach back to before a time in which counts are missing.
	afterHole bool
	tracks    []trackSpan // of all series, ascending by first
	events    podEvents
}

// podEvents are the latest times at which pods began and ended; 0: none did.
type podEvents struct {
	began, beganAtZero int64 // the first sample of a pod, and of a counter at zero
	ended, endedBefore int64 // the latest end, and the latest one before that
}

func newPodEvents(tracks []trackSpan) (e podEvents) {
	for _, t := range tracks {
		e.began = max(e.began, t.first)
		if t.counted != t.first {
			e.beganAtZero = max(e.beganAtZero, t.first)
		}
		switch {
		case !t.ended || t.last == e.ended:
		case t.last > e.ended:
			e.ended, e.endedBefore = t.last, e.ended
		default:
			e.endedBefore = max(e.endedBefore, t.last)
		}
	}
	return e
}

// planQueryStretch plans the stretch of a group that moved; false if no pod is current. The newest samples of punctual pods have an interval of
// their own.
func (s *evaluationScan) planQueryStretch(now, interval, newestInterval int64) (c commonStretch, ok bool) {
	c.end = math.MaxInt64
	newest := int64(0)
	for _, p := range s.orderedPods {
		newest = max(newest, p.newest)
		if p.hasCounterIncrement() && !p.silent && !isPauseBetweenSamples(now-p.newest, newestInterval) {
			c.end = min(c.end, p.newest)
		}
	}
	c.end = min(c.end, newest)
	c.tracks = s.scannedTrackSpans(interval)
	slices.SortFunc(c.tracks, func(a, b trackSpan) int { return cmp.Compare(a.first, b.first) })
	c.events = newPodEvents(c.tracks)
	c.begin = c.endOfLastGapWithoutPods(s.since, interval)
	for _, h := range s.holes { // load leaves a pod soon after its end is known
		if h.to > s.since {
			c.begin, c.afterHole = max(c.begin, h.to+interval), true
		}
	}
	for _, p := range s.orderedPods { // load moved, so that the pod's earlier counts do not tell its present ones
		if since := p.podCountsKnownSince(); p.newest > 0 && since > c.begin {
			moved := c.events.lastPodBeginOrEnd(p.newest, true) + moveIntervals*interval
			c.begin = max(c.begin, min(since, moved))
		}
	}
	return c, newest > 0
}

// podCountsKnownSince returns the time since which the pod's counts are known; math.MinInt64 if it began at zero.
func (p *evaluatedPod) podCountsKnownSince() int64 {
	since := int64(math.MinInt64)
	for _, t := range p.sampleTimes {
		if !t.fromZero {
			since = max(since, t.since)
		}
	}
	return since
}

// hasLivingCounter reports whether a counter of the pod goes on. Of another pod the expression reads only gauges, up to the rule's maxAge.
func (p *evaluatedPod) hasLivingCounter() bool { return len(p.sampleTimes) > 0 }

// hasCounterIncrement reports whether the pod has a series with two samples of a process, also at another URL before.
func (p *evaluatedPod) hasCounterIncrement() bool {
	for _, t := range p.sampleTimes {
		if len(t.times) > 1 || t.hasIncrement {
			return true
		}
	}
	return false
}

// commonStretchMillis returns the greatest length of the stretch.
func (c commonStretch) commonStretchMillis() int64 {
	if c.begin == math.MinInt64 {
		return math.MaxInt64
	}
	return c.end - c.begin
}

func (s *evaluationScan) scannedTrackSpans(interval int64) (tracks []trackSpan) {
	for i := range s.seriesBySelector {
		for j := range s.seriesBySelector[i] {
			tracks = s.seriesBySelector[i][j].appendTrackSpans(tracks, interval)
		}
	}
	return tracks
}

// endOfLastGapWithoutPods returns the time from which on increments are known after the last time before end without any pod. The scan
// has samples from since on.
func (c commonStretch) endOfLastGapWithoutPods(since, interval int64) int64 {
	begin, until := int64(math.MinInt64), int64(math.MinInt64)
	for _, t := range c.tracks {
		if t.first >= c.end {
			break
		}
		beyond := until == math.MinInt64 && !isPauseBetweenSamples(t.first-since, interval) // the track may reach back further
		switch {
		case !beyond && (until == math.MinInt64 || isPauseBetweenSamples(t.first-until, interval)):
			begin = t.counted
		case begin != math.MinInt64:
			begin = min(begin, t.counted)
		}
		until = max(until, t.last)
	}
	return begin
}

// lastPodBeginOrEnd returns the time of the newest begin or end of a pod, without the end of tracks at newest. With certain,
// a begin is a counter's at zero, and not its first sample's alone.
func (e podEvents) lastPodBeginOrEnd(newest int64, certain bool) int64 {
	began, ended := e.began, e.ended
	if certain {
		began = e.beganAtZero
	}
	if ended == newest {
		ended = e.endedBefore
	}
	return max(began, ended)
}

// trimStretchToPodBegin lets the stretch of a window begin at the last pod that began or ended in its first quarter. It costs little,
// and each pod then has its own rate again, not only its share of the total.
func (c commonStretch) trimStretchToPodBegin(window int64) int64 {
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

// addEndedPodsAsObjects gives pods that ended objects of their own, so that they have values, which are parts of a sum.
func (s *evaluationScanner) addEndedPodsAsObjects() {
	for _, p := range s.orderedPods {
		if p.scannedObject == nil && p.newest == 0 && p.ended > 0 {
			s.linkPodToMetricObject(p)
			p.scannedObject.newest = max(p.scannedObject.newest, p.ended)
		}
	}
}

// planMovedGroup evaluates all objects at one point, over a common stretch.
func (ev *evaluation) planMovedGroup(s *evaluationScanner, auto bool) error {
	if !s.keepSamples {
		return fmt.Errorf("too many samples: more than %d are within the window", s.maxSamples)
	}
	s.addEndedPodsAsObjects()
	counters := ev.scan.selectorHistories()
	c, ok := ev.scan.planQueryStretch(ev.now.UnixMilli(), ev.interval.Milliseconds(), ev.newestInterval.Milliseconds())
	if !ok {
		return nil
	}
	if !ev.fixedWindow {
		ev.window = ev.longestQueryWindow(max(0, c.commonStretchMillis()))
	}
	ev.scan.noteLoadLeavingEndedPods(c, ev.interval.Milliseconds())
	ev.scan.noteLoadGivenToReadyPods(c, ev.interval.Milliseconds())
	ev.omitPodsNearHoles(c)
	ev.omitPodsWithoutIncrement(c)
	ev.omitPodsOfBriefStretch(c)
	if auto {
		if few := ev.describeFewQueryEvents(c, counters); few != "" {
			ev.omitAllScannedPods(metric.ReasonWarmingUp, few+" in "+ev.window.Round(time.Second).String())
		}
		extended := ev.scan.extendPodHistories(counters, c, c.end-ev.window.Milliseconds(), ev.interval.Milliseconds())
		chosen := chooseQueryTotalWindow(c.end, ev.window, append(extended, ev.scan.quantileHistories(s.selectors)...))
		ev.window = max(chosen, min(ev.window, minStretchIntervals*ev.interval))
	}
	if !ev.fixedWindow && ev.Rule.Span(ev.window) == ev.window {
		ev.window = evalMillisToDuration(c.trimStretchToPodBegin(ev.window.Milliseconds()))
		ev.window = ev.windowBesidePodPauses(c)
		ev.window = ev.windowBesideFirstIncrements(c)
	}
	if few := ev.describeFewQueryEvents(c, counters); few != "" && !auto && !ev.fixedWindow && ev.window < ev.Rule.Window.Duration*3/4 { // a trimmed window is longer
		ev.omitAllScannedPods(metric.ReasonWarmingUp, few+" in "+ev.window.Round(time.Second).String())
	}
	ev.span = ev.Rule.Span(ev.window)
	ev.omitBrieflyWatchedPods()
	ev.omitLateScannedPods(c)
	if ev.window > 0 {
		ev.moved = true
		ev.scan.setStretchEdgeCounts(s.selectors, timeSpan{c.end - ev.span.Milliseconds(), c.end}, ev.interval.Milliseconds())
		ev.groupAllQueryObjects(evalPoint{at: c.end, window: ev.window.Milliseconds()})
	}
	return nil
}

// windowBesidePodPauses returns the window without a begin in the midst of a pause of a pod, in which its counts came at an unknown
// time: the window reaches back to the last sample before, if it may, and else to the first after. If it can do neither, since pods ended in
// the pause and no page has followed so far, no pod has a value. A fixed window does not begin in the first increments of a pod either: it
// gets its load in the midst of one.
func (ev *evaluation) windowBesidePodPauses(c commonStretch) time.Duration {
	begin, interval := c.end-ev.window.Milliseconds(), ev.interval.Milliseconds()
	earlier := ev.scan.leaveSampleGaps(begin, func(t namedSampleTimes, i int) (timeSpan, bool) {
		first := t.times[0]
		if begins := t.times[min(beginningSamples, len(t.times)-1)]; !ev.Rule.Window.Auto && t.fromZero && t.times[i] <= begins &&
			float64(c.end-first) <= maxStretch*float64(ev.window.Milliseconds()) {
			return timeSpan{first, begins}, true
		}
		return timeSpan{t.times[i-1], t.times[i]}, isPauseBetweenSamples(t.times[i]-t.times[i-1], interval)
	}, func(gap timeSpan) int64 { return gap.from })
	if earlier >= c.begin && c.end-earlier <= max(ev.window, ev.maxWindow).Milliseconds() {
		return evalMillisToDuration(c.end - earlier)
	}
	later := ev.scan.leaveSampleGaps(begin, func(t namedSampleTimes, i int) (timeSpan, bool) {
		return timeSpan{t.times[i-1], t.times[i]}, isPauseBetweenSamples(t.times[i]-t.times[i-1], interval)
	}, func(gap timeSpan) int64 { return gap.to })
	// Without a pause, an increment of the present interval is enough, also while others are longer.
	if later < c.end-interval || later == begin && begin < c.end-ev.scrapeInterval.Milliseconds() {
		return evalMillisToDuration(c.end - later)
	}
	if earlier < c.begin {
		ev.omitAllScannedPods(metric.ReasonStale, "no page for a while, and load moved since the page before")
	}
	return ev.window
}

// leaveSampleGaps moves a time to an edge of each gap of a pod in which it lies, until it lies in none. find returns the gap
// around the sample with an index and the sample before, if there is one.
func (s *evaluationScan) leaveSampleGaps(at int64, find func(namedSampleTimes, int) (timeSpan, bool), edge func(timeSpan) int64) int64 {
	for again := true; again; {
		before := at
		for _, p := range s.orderedPods {
			for _, all := range [...][]namedSampleTimes{p.sampleTimes, p.endedTimes} {
				at = leaveCounterSampleGaps(all, at, find, edge)
			}
		}
		again = at != before
	}
	return at
}

// leaveCounterSampleGaps moves a time to an edge of the gap in which it lies, for one counter after the other.
func leaveCounterSampleGaps(all []namedSampleTimes, at int64, find func(namedSampleTimes, int) (timeSpan, bool), edge func(timeSpan) int64) int64 {
	for _, t := range all {
		i := t.times.sampleIndexAfter(at)
		if i == 0 || i == len(t.times) || t.times[i-1] == at {
			continue
		}
		if gap, ok := find(t, i); ok && gap.from < at && at < gap.to {
			at = edge(gap)
		}
	}
	return at
}

// extendPodHistories returns the counters, where pods that are watched only since a later time than begin, or have newest increments that
// are late, have the same rate in the missing time. An unknown part is then no step of the total.
func (s *evaluationScan) extendPodHistories(counters []window.Counter, c commonStretch, begin, interval int64) []window.Counter {
	extended := make([]window.Counter, len(counters))
	for _, p := range s.orderedPods {
		since := p.podCountsKnownSince()
		for i, h := range p.histories {
			if h == nil {
				continue
			}
			switch {
			case len(h) == 0:
			case p.newest == 0:
				h = p.extendHistoryToPodEnd(h, c.end, interval)
			case !p.silent:
				h = extendHistoryAtMeanRate(h, since, begin, c.end, p.settled)
			}
			extended[i].Pods = append(extended[i].Pods, h)
		}
	}
	return extended
}

// extendHistoryAtMeanRate gives a history that is known since a time increments of its mean rate from begin, if that is earlier, and until end
// of its mean rate since load settled.
func extendHistoryAtMeanRate(h window.History, since, begin, end, settled int64) window.History {
	last := h[len(h)-1].To
	if last < end {
		h = append(slices.Clip(h), window.Increment{From: last, To: end, Count: meanIncrementRate(h, settled) * float64(end-last)})
	}
	if since > begin {
		h = append(window.History{{From: begin, To: since, Count: meanIncrementRate(h, begin) * float64(since-begin)}}, h...)
	}
	return h
}

// extendHistoryToPodEnd gives the history of a pod that ended an increment until its end, as countUntilTrackEnd counts it.
func (p *evaluatedPod) extendHistoryToPodEnd(h window.History, end, interval int64) window.History {
	last, until := h[len(h)-1], min(p.ended, end)
	if until <= last.To || float64(p.ended-last.To) > minHoleIntervals*float64(interval) {
		return h
	}
	rate := last.Count / float64(last.To-last.From)
	if p.taken > 0 && p.takenAt > last.To {
		rate *= 1 - p.taken
	}
	return append(slices.Clip(h), window.Increment{From: last.To, To: until, Count: rate * float64(until-last.To)})
}

// meanIncrementRate returns the mean rate, per millisecond, of the increments that begin at a time or later; of all if none does.
func meanIncrementRate(h window.History, since int64) float64 {
	if h[len(h)-1].From < since {
		since = math.MinInt64
	}
	count, span := 0.0, int64(0)
	for _, n := range h {
		if n.From >= since {
			count, span = count+n.Count, span+n.To-n.From
		}
	}
	return count / float64(span)
}

// longestQueryWindow returns the longest window with a covered span, at most ev.window.
func (ev *evaluation) longestQueryWindow(covered int64) time.Duration {
	longest := ev.window.Milliseconds()
	if ev.span.Milliseconds() <= covered {
		return ev.window
	}
	w := sort.Search(int(min(covered, longest)), func(w int) bool {
		return ev.Rule.Span(evalMillisToDuration(int64(w)+1)).Milliseconds() > covered
	})
	return evalMillisToDuration(int64(w))
}

// groupAllQueryObjects puts all objects that are not omitted into one group.
func (ev *evaluation) groupAllQueryObjects(at evalPoint) {
	g := evalGroup{evalPoint: at}
	ev.scan.forEachScannedObject(func(_ metric.Object, s *evaluatedObject) {
		ev.objectCount++
		if !s.hasValue {
			s.groupIndex = 0
			g.objectCount++
		}
	})
	ev.evalGroups = append(ev.evalGroups, g)
}
