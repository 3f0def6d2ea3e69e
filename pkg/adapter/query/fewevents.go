// Too few events for a rate: a group that is watched for less than the longest window.

package query

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/value"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/window"
)

// minEvents is the least number of events for a rate over less than the longest window: with fewer, chance makes a
// multiple of the rate, or nothing. Of events in batches, it takes minBatches of them. Events at minMoments different times
// need not be batches, and events that may have come at once are not if their numbers say so.
const (
	minEvents  = 10
	minBatches = 3
	minMoments = 2
	// idleShare divides the longest window: a service of minEvents in it is without events for that part of it in one case of 150. A
	// service without any has 0.
	idleShare = 2
)

// describeFewQueryEvents returns the lack of a counter of whole events within less than the longest window; "" if none lacks
// anything.
func (ev *evaluation) describeFewQueryEvents(c commonStretch, counters []window.Counter) string {
	if ev.window >= ev.maxWindow || ev.neverCountedInWindow() {
		return ""
	}
	for selector, counter := range counters {
		within := timeSpan{c.end - ev.window.Milliseconds(), c.end}
		if few := ev.describeFewCounterEvents(counter, within, func() bool { return ev.scan.mayBeFewBatches(selector) }); few != "" {
			return few
		}
		// At an edge of the window each pod shows up to a batch too much or too little, of chance: a tenth of the total in all.
		if least := math.Ceil(minEvents * math.Sqrt(float64(len(counter.Pods)))); c.afterHole && ev.scan.countQueriedBatches(selector, within) < least {
			return fmt.Sprintf("fewer than %.0f batches of events", least)
		}
	}
	return ""
}

// describeFewCounterEvents returns the lack of a counter of whole events within a time; "" if it lacks nothing.
func (ev *evaluation) describeFewCounterEvents(counter window.Counter, within timeSpan, mayBeBatch func() bool) string {
	events, full, pauses := countCounterEvents(counter, within.from, within.to)
	moments := countBatchMoments(full)
	switch {
	case events != math.Trunc(events) || math.IsNaN(events):
	case events == 0 && evalMillisToDuration(within.to-within.from) >= ev.maxWindow/idleShare:
	case events < minEvents:
		return fmt.Sprintf("fewer than %d events", minEvents)
	case moments < minMoments && (pauses >= len(full) || mayBeBatch()), moments < minBatches && pauses > len(full):
		return fmt.Sprintf("fewer than %d batches of events", minBatches)
	}
	return ""
}

// omitBrieflyWatchedPods omits pods with few events that are watched for less than half of the window: they are read as if they had counted
// the same in the rest of it.
func (ev *evaluation) omitBrieflyWatchedPods() {
	if ev.neverCountedInWindow() {
		return
	}
	seriesByPod := map[int]map[*evaluatedPod][]*evaluatedSeries{} // of the selectors that need it
	for _, p := range ev.scan.orderedPods {
		watched := timeSpan{p.podCountsKnownSince(), p.newest}
		if p.newest == 0 || p.silent || watched.from == math.MinInt64 || 2*(watched.to-watched.from) >= ev.window.Milliseconds() {
			continue
		}
		for selector, h := range p.histories {
			counter := window.Counter{Pods: []window.History{h}}
			few := ev.describeFewCounterEvents(counter, watched, func() bool {
				if seriesByPod[selector] == nil {
					seriesByPod[selector] = ev.scan.counterSeriesByPod(selector)
				}
				return !slices.ContainsFunc(seriesByPod[selector][p], func(c *evaluatedSeries) bool { return !c.mayBeFewBatches(watched.from) })
			})
			if few != "" {
				ev.omitScannedPod(p, metric.ReasonWarmingUp, few+" in "+evalMillisToDuration(watched.to-watched.from).Round(time.Second).String())
				break
			}
		}
	}
}

// neverCountedInWindow reports whether all counters are at 0, in processes that are older than the longest window: there were no
// events within it, however short the time that they are watched.
func (ev *evaluation) neverCountedInWindow() bool {
	if ev.Began.IsZero() || ev.now.Sub(ev.Began) < ev.maxWindow {
		return false
	}
	for _, series := range ev.scan.seriesBySelector {
		for _, s := range series {
			if s.isCounter && slices.ContainsFunc(s.values, func(v float64) bool { return v != 0 && !value.IsStaleNaN(v) }) {
				return false
			}
		}
	}
	return true
}

// countCounterEvents returns the events of a counter from begin to end, its increments with events, and the number of increments without; NaN
// without an increment at any time.
func countCounterEvents(c window.Counter, begin, end int64) (events float64, full []window.Increment, pauses int) {
	events = math.NaN()
	for _, h := range c.Pods {
		if len(h) > 0 && math.IsNaN(events) {
			events = 0
		}
		for _, i := range h {
			switch {
			case i.To <= begin || i.From >= end:
			case i.Count > 0:
				events, full = events+i.Count, append(full, i)
			default:
				pauses++
			}
		}
	}
	return events, full, pauses
}

// countBatchMoments returns the least number of moments at which all increments can have got their events: one batch may be in
// increments of several pods. It sorts the increments.
func countBatchMoments(full []window.Increment) (moments int) {
	slices.SortFunc(full, func(a, b window.Increment) int { return cmp.Compare(a.To, b.To) })
	latest := int64(math.MinInt64)
	for _, i := range full {
		if i.From >= latest {
			moments, latest = moments+1, i.To
		}
	}
	return moments
}

// counterSeriesByPod returns the series of a selector by their pods.
func (s *evaluationScan) counterSeriesByPod(selector int) map[*evaluatedPod][]*evaluatedSeries {
	byPod := map[*evaluatedPod][]*evaluatedSeries{}
	for i := range s.seriesBySelector[selector] {
		c := &s.seriesBySelector[selector][i]
		byPod[c.pod] = append(byPod[c.pod], c)
	}
	return byPod
}

// mayBeFewBatches reports whether few batches explain each counter of a selector.
func (s *evaluationScan) mayBeFewBatches(selector int) bool {
	return !slices.ContainsFunc(s.seriesBySelector[selector], func(c evaluatedSeries) bool { return !c.mayBeFewBatches(math.MinInt64) })
}

// mayBeFewBatches reports whether fewer than minBatches batches of equal size explain all that a counter has counted since a time: its
// values are multiples of that size. Values of single events hardly ever are.
func (s *evaluatedSeries) mayBeFewBatches(since int64) bool {
	size, counted := 0.0, 0.0
	for i, v := range s.values {
		if value.IsStaleNaN(v) || v != math.Trunc(v) {
			continue
		}
		if size = greatestCommonDivisor(size, v); i > 0 && s.times[i-1] >= since && v > s.values[i-1] {
			counted += v - s.values[i-1]
		}
	}
	return counted < minBatches*size || size <= 0
}

// countQueriedBatches returns the number of batches within a time that explain the counts of a selector; infinity if each counter grows evenly,
// as far as its samples tell, or not in whole events.
func (s *evaluationScan) countQueriedBatches(selector int, within timeSpan) float64 {
	batches, uneven := 0.0, false
	for i := range s.seriesBySelector[selector] {
		c := &s.seriesBySelector[selector][i]
		size, even := c.queriedBatchSize()
		uneven = uneven || !even
		for j := 1; j < len(c.values) && size > 0; j++ {
			if n := c.values[j] - c.values[j-1]; n > 0 && c.times[j] > within.from && c.times[j-1] < within.to {
				batches += n / size
			}
		}
	}
	if !uneven || batches == 0 {
		return math.Inf(1)
	}
	return batches
}

// queriedBatchSize returns the greatest number of events of which all increments of a counter are multiples, 0 without one, and whether all
// increments are equal.
func (s *evaluatedSeries) queriedBatchSize() (size float64, even bool) {
	least, most := math.Inf(1), 0.0
	for i := 1; i < len(s.values); i++ {
		n := s.values[i] - s.values[i-1]
		switch {
		case !(n >= 0):
			continue // a marker, or it began again
		case n != math.Trunc(n) || math.IsInf(n, 1):
			return 0, true
		}
		size, least, most = greatestCommonDivisor(size, n), min(least, n), max(most, n)
	}
	return size, least >= most
}

// greatestCommonDivisor returns the greatest common divisor of two whole numbers.
func greatestCommonDivisor(a, b float64) float64 {
	for b != 0 {
		a, b = b, math.Mod(a, b)
	}
	return a
}
