// The load that young pods took from a pod before its end.

package query

import (
	"slices"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/value"
)

// A pod that ends without notice counts until its end as before its newest sample, unless load moved to young pods lately: what they count,
// the others lost, each the same part of its load. The increment in which load moved does not tell the rate at its end.

// maxTakenEnds bounds the pods that ended at about the same time for which this is computed.
const maxTakenEnds = 20

// noteLoadLeavingEndedPods sets the part of its load that each ended pod lost before its end, at most until the end of the stretch.
func (s *evaluationScan) noteLoadLeavingEndedPods(c commonStretch, interval int64) {
	newest := map[*evaluatedPod]timeSpan{}
	for _, series := range s.seriesBySelector {
		for i := range series {
			if span, ok := series[i].newestIncrementBeforeEnd(interval); ok {
				span.to = min(span.to, c.end)
				if s.lastPodReadiness(span) > 0 {
					newest[series[i].pod] = span
				}
			}
		}
	}
	if len(newest) > maxTakenEnds || len(newest)*minLateShare < len(s.orderedPods) {
		return // within the tolerance of the total
	}
	for p, span := range newest {
		at := s.lastPodReadiness(span)
		p.taken, p.takenAt = s.loadTakenByReadyPods(timeSpan{span.from - interval, span.from}, timeSpan{at, span.to}, interval), at
	}
}

// noteLoadGivenToReadyPods sets when each pod that goes on gave load to pods that became ready together within its newest increment. Where load
// also moved earlier, since the begin of the increment before, the rate of that increment did not last until then.
func (s *evaluationScan) noteLoadGivenToReadyPods(c commonStretch, interval int64) {
	readied, others := s.listLoadMoves(c)
	for _, p := range s.orderedPods {
		if p.newest == 0 || len(p.sampleTimes) == 0 {
			continue
		}
		times := p.sampleTimes[0].times
		n := len(times)
		if n < 3 {
			continue
		}
		before, _ := slices.BinarySearch(readied, times[n-1])
		if before == 0 || readied[before-1] <= max(times[n-2], p.readied) {
			continue
		}
		at := readied[before-1]
		if !hasSampleTimeWithin(readied, times[n-3], at-interval/4) && !hasSampleTimeWithin(others, times[n-3], times[n-1]) {
			p.gaveAt = at
		}
	}
}

// listLoadMoves returns the times at which pods became ready, and those at which they ended or ceased to be ready, both ascending.
func (s *evaluationScan) listLoadMoves(c commonStretch) (readied, others []int64) {
	for _, p := range s.orderedPods {
		if p.readied > 0 {
			readied = append(readied, p.readied)
		}
		if p.unreadied > 0 {
			others = append(others, p.unreadied)
		}
	}
	for _, t := range c.tracks {
		if t.ended {
			others = append(others, t.last)
		}
	}
	slices.Sort(readied)
	slices.Sort(others)
	return readied, others
}

// hasSampleTimeWithin reports whether a time is after from, and at to or earlier. The times ascend.
func hasSampleTimeWithin(times []int64, from, to int64) bool {
	i, _ := slices.BinarySearch(times, from+1)
	return i < len(times) && times[i] <= to
}

// newestIncrementBeforeEnd returns the time from the begin of a counter's newest increment to its end; false if it stood still, or the end is
// that of a hole.
func (s *evaluatedSeries) newestIncrementBeforeEnd(interval int64) (newest timeSpan, ok bool) {
	if !s.isCounter {
		return newest, false
	}
	for i := len(s.values) - 1; i > 1; i-- {
		if value.IsStaleNaN(s.values[i]) && s.values[i-1] > s.values[i-2] {
			return timeSpan{s.times[i-2], s.times[i]}, float64(s.times[i]-s.times[i-1]) <= minHoleIntervals*float64(interval)
		}
	}
	return newest, false
}

// lastPodReadiness returns the last time within a span at which a pod became ready; 0 without any.
func (s *evaluationScan) lastPodReadiness(span timeSpan) (at int64) {
	for _, p := range s.orderedPods {
		if span.from < p.readied && p.readied < span.to {
			at = max(at, p.readied)
		}
	}
	return at
}

// loadTakenByReadyPods returns the part of the load before that pods which became ready between two times count since then.
func (s *evaluationScan) loadTakenByReadyPods(before, since timeSpan, interval int64) float64 {
	load, taken := 0.0, 0.0 // per millisecond
	for _, series := range s.seriesBySelector {
		for i := range series {
			switch c := &series[i]; {
			case !c.isCounter:
			case before.to < c.pod.readied && c.pod.readied <= since.from:
				taken += c.meanCounterRateWithin(since, interval)
			default:
				load += c.meanCounterRateWithin(before, interval)
			}
		}
	}
	if load <= 0 {
		return 0
	}
	return min(1, taken/load)
}

// meanCounterRateWithin returns the rate of a counter within a time, per millisecond.
func (s *evaluatedSeries) meanCounterRateWithin(span timeSpan, interval int64) float64 {
	r := countedRange{from: span.from, to: span.to, interval: interval}
	s.pod.setPodCountedRange(s.labels.Get(model.MetricNameLabel), &r)
	n, _ := increaseBetweenSamples(s.times, s.values, r)
	return n / float64(span.to-span.from)
}
