// The counts of a pod's series until the edges of a common stretch.

package query

import (
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/value"
)

// Load that moves from one series of a pod to another changes the rates of both. If load also moves between pods within the same increment, a
// series may change twice in it, and its rate tells neither time. The total of the pod changes once: its counts until the edge are shared by
// the series.

// edgeKey identifies the edge of a stretch, in milliseconds, in a series.
type edgeKey struct {
	series uint64 // the hash of its labels
	at     int64
}

// minEdgeCounts is the least difference between the count of a pod and the sum of its series' counts that is shared.
const minEdgeCounts = 1

// setStretchEdgeCounts sets the counts of the series until both edges of a stretch, for pods with series that do not add up.
func (s *evaluationScan) setStretchEdgeCounts(selectors []exprSelector, stretch timeSpan, interval int64) {
	var buffers edgeBuffers
	for i, series := range s.seriesBySelector {
		if !selectors[i].isCounter || selectors[i].lastBucketOnly {
			continue // the buckets of a histogram are parts of each other
		}
		for len(series) > 0 {
			n := slices.IndexFunc(series, func(c evaluatedSeries) bool { return c.pod != series[0].pod })
			if n < 0 {
				n = len(series)
			}
			for _, at := range [...]int64{stretch.from, stretch.to} {
				s.sharePodEdgeCount(series[:n], at, interval, &buffers)
			}
			series = series[n:]
		}
	}
}

// edgeIncrement is the increment of a series in which an edge lies: its count, and its count until the edge.
type edgeIncrement struct {
	series       *evaluatedSeries
	count, until float64
}

// edgeBuffers are the buffers of one pod's edge, for the next.
type edgeBuffers struct {
	times  []int64
	values []float64
	parts  []edgeIncrement
}

// sharePodEdgeCount sets the counts until an edge for the series of a pod. It sets none if a series began again near the edge.
func (s *evaluationScan) sharePodEdgeCount(series []evaluatedSeries, at, interval int64, b *edgeBuffers) {
	if len(series) < 2 {
		return
	}
	total, ok := b.sumSeriesAroundEdge(series, at, interval)
	if !ok {
		return
	}
	whole, ok := total.incrementAtStretchEdge(at, interval)
	if !ok {
		return
	}
	parts, sum := b.parts[:0], 0.0
	for i := range series {
		if part, ok := series[i].incrementAtStretchEdge(at, interval); ok {
			parts, sum = append(parts, part), sum+part.until
		}
	}
	b.parts = parts
	if math.Abs(whole.until-sum) < minEdgeCounts {
		return
	}
	shareEdgeCount(parts, whole.until, sum)
	if s.edgeCounts == nil {
		s.edgeCounts = map[edgeKey]float64{}
	}
	for _, part := range parts {
		s.edgeCounts[edgeKey{part.series.labels.Hash(), at}] = part.until
	}
}

// shareEdgeCount changes the counts of parts until an edge from their sum to a total. Series that counted before the edge get more first, and
// none gets more than its increment.
func shareEdgeCount(parts []edgeIncrement, total, sum float64) {
	if total < sum {
		for i := range parts {
			parts[i].until *= total / sum
		}
		return
	}
	for _, counted := range [...]bool{true, false} {
		room := 0.0
		for _, part := range parts {
			if part.until > 0 == counted {
				room += part.count - part.until
			}
		}
		if room <= 0 {
			continue
		}
		share := min(1, (total-sum)/room)
		for i, part := range parts {
			if part.until > 0 == counted {
				parts[i].until += (part.count - part.until) * share
			}
		}
		if sum += room * share; sum >= total {
			return
		}
	}
}

// incrementAtStretchEdge returns the increment of a counter around an edge; false if there is none, or it began again.
func (s *evaluatedSeries) incrementAtStretchEdge(at, interval int64) (e edgeIncrement, ok bool) {
	i := evaluatedTimes(s.times).sampleIndexAfter(at)
	if i == 0 || i == len(s.times) || s.times[i-1] == at || !(s.values[i] >= s.values[i-1]) {
		return e, false
	}
	first := i - 1
	for first > 0 && !value.IsStaleNaN(s.values[first-1]) {
		first--
	}
	n := s.values[i] - s.values[i-1]
	r := countedRange{readied: s.pod.readied, unreadied: s.pod.unreadied, interval: interval}
	whole := r.loadSpanOfIncrement(timeSpan{s.times[i-1], s.times[i]}, s.values[i-1] == 0)
	part := newCounterIncrement(whole, n, s.times[first:], s.values[first:], i-first, interval).changeRateAt(s.pod.gaveAt)
	return edgeIncrement{series: s, count: n, until: part.countIncrementPart(timeSpan{whole.from, max(whole.from, at)})}, true
}

// edgeSamples is the number of samples on each side of an edge that tell how much counts until then.
const edgeSamples = 3

// sumSeriesAroundEdge returns the sum of a pod's series at the pages around an edge, until the next use of the buffers; false if a series
// began again there. A series that is not on a page has its value from before.
func (b *edgeBuffers) sumSeriesAroundEdge(series []evaluatedSeries, at, interval int64) (sum evaluatedSeries, ok bool) {
	b.times = append(b.times[:0], series[0].sampleTimesAroundEdge(at)...)
	pages := len(b.times)
	for i := range series[1:] {
		if times := series[1+i].sampleTimesAroundEdge(at); !slices.Equal(times, b.times[:pages]) {
			b.times = append(b.times, times...)
		}
	}
	if len(b.times) > pages {
		slices.Sort(b.times)
		b.times = slices.Compact(b.times)
	}
	sum = evaluatedSeries{pod: series[0].pod, times: b.times}
	sum.times = sum.sampleTimesAroundEdge(at)
	b.values = append(b.values[:0], make([]float64, len(sum.times))...)
	sum.values = b.values
	for i := range series {
		if !series[i].addCounterToSum(&sum, interval) {
			return sum, false
		}
	}
	return sum, true
}

// sampleTimesAroundEdge returns the times of the samples on both sides of an edge.
func (s *evaluatedSeries) sampleTimesAroundEdge(at int64) []int64 {
	k := evaluatedTimes(s.times).sampleIndexAfter(at)
	return s.times[max(0, k-edgeSamples):min(len(s.times), k+edgeSamples)]
}

// addCounterToSum adds a counter to a sum of counters; false if it began again, or paused.
func (s *evaluatedSeries) addCounterToSum(sum *evaluatedSeries, interval int64) bool {
	last, newest, ended := 0.0, int64(0), false
	next := evaluatedTimes(s.times).sampleIndexAfter(sum.times[0] - 1)
	if next > 0 && !value.IsStaleNaN(s.values[next-1]) {
		last = s.values[next-1]
	}
	for i, at := range sum.times {
		for ; next < len(s.times) && s.times[next] <= at; next++ {
			v, t := s.values[next], s.times[next]
			switch {
			case value.IsStaleNaN(v):
				ended = true
				continue
			case ended, v < last, newest > 0 && isPauseBetweenSamples(t-newest, interval):
				return false
			}
			last, newest = v, t
		}
		sum.values[i] += last
	}
	return true
}
