// Unexplained decreases: counters that go back to a value that no restart explains.

package query

import (
	"math"
	"slices"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
)

const (
	// maxRestartEvents is the value to which a counter may have counted since a restart, however slow it was before.
	maxRestartEvents = 10
	// maxRestartRatio bounds the rate of a counter since a restart, relative to its rate before and after: the counts that a pod lost while it
	// was away come at once.
	maxRestartRatio = 2
	// minUnexplained is the number of such values that tell several processes behind one port. After a single one, a pod has no value for
	// unexplainedSamples samples: the next may be of the process before.
	minUnexplained     = 2
	unexplainedSamples = 4
)

// separateCounterProcesses removes the samples of another process or another program: PromQL would add a value that it goes back to, as after
// a restart, and the step back up. Where a counter goes back and then goes on from where it was, the samples between are another's; likewise
// increments above a value that goes on from an earlier one. A staleness marker stands before any other value to which a counter cannot have counted
// since the sample before, at its own rates or a known one, per millisecond. It returns the number of such changes, and the index of the first
// sample behind the last. It does not change the slices.
func separateCounterProcesses(times []int64, values []float64, known float64) (_ []int64, _ []float64, unexplained, since int) {
	for i := 1; i < len(values); i++ {
		if !(values[i] < values[i-1]) {
			continue
		}
		from, to := i, findCounterReturn(times, values, i, known)
		if to == 0 {
			if restartExplainsCounterValue(times, values, i, known) {
				continue
			}
			from, to = findCounterSpike(times, values, i)
		}
		if unexplained++; unexplained == 1 {
			times, values = slices.Clone(times), slices.Clone(values)
		}
		if to > 0 {
			times, values = slices.Delete(times, from, to), slices.Delete(values, from, to)
			i = from
		} else {
			times, values = slices.Insert(times, i, times[i]-1), slices.Insert(values, i, math.Float64frombits(value.StaleNaN))
			i++
		}
		since = i
	}
	return times, values, unexplained, since
}

// findCounterReturn returns the index at which a counter that goes back at index i goes on from the value before, in a step that
// neither its rates and the known rate explain nor its count since index i; 0 if it does not.
func findCounterReturn(times []int64, values []float64, i int, known float64) int {
	for j := i + 1; j < len(values); j++ {
		if !(values[j] >= values[i-1]) {
			continue
		}
		rate := max(fastestIncrementRate(times[:j], values[:j]), rateAfterSample(times, values, j))
		explained := rateExplainsCounterStep(max(rate, known), times, values, j-1, j) || values[j]-values[j-1] <= maxRestartRatio*(values[j-1]-values[i])
		if !explained && rateExplainsCounterStep(rate, times, values, i-1, j) {
			return j
		}
		return 0
	}
	return 0
}

// findCounterSpike returns the range of the samples before index i that are another's: the value goes on from one before them, and
// the rates of the counter do not explain the step up to them. It returns zeros if there are none.
func findCounterSpike(times []int64, values []float64, i int) (from, to int) {
	k := i - 1
	for k >= 0 && values[k] > values[i] {
		k--
	}
	if k < 0 || value.IsStaleNaN(values[k]) {
		return 0, 0
	}
	rate := max(fastestIncrementRate(times[:k+1], values[:k+1]), fastestIncrementRate(times[k+1:i], values[k+1:i]),
		rateAfterSample(times, values, i))
	if rateExplainsCounterStep(rate, times, values, k, k+1) || !rateExplainsCounterStep(rate, times, values, k, i) {
		return 0, 0
	}
	return k + 1, i
}

// fastestIncrementRate returns the rate of the fastest increment, per millisecond.
func fastestIncrementRate(times []int64, values []float64) (fastest float64) {
	for j := 1; j < len(values); j++ {
		fastest = max(fastest, rateBeforeSample(times, values, j))
	}
	return fastest
}

// rateAfterSample returns the rate from the value with an index to the next; 0 without a next.
func rateAfterSample(times []int64, values []float64, i int) float64 {
	if i+1 == len(values) {
		return 0
	}
	return rateBeforeSample(times, values, i+1)
}

// rateExplainsCounterStep reports whether a counter of this rate, per millisecond, may have counted from one value to another.
func rateExplainsCounterStep(rate float64, times []int64, values []float64, from, to int) bool {
	return values[to]-values[from] <= max(maxRestartEvents, maxRestartRatio*rate*float64(times[to]-times[from]))
}

// restartExplainsCounterValue reports whether a process that restarted after the sample before may have counted to the value with an index: at
// the known rate, that of the next increment, or of the second fastest of all others, since the fastest may be an error.
func restartExplainsCounterValue(times []int64, values []float64, i int, known float64) bool {
	if values[i] <= maxRestartEvents {
		return values[i] >= 0
	}
	fastest, second := 0.0, 0.0
	for j := 1; j < len(values); j++ {
		switch rate := rateBeforeSample(times, values, j); {
		case rate > fastest:
			fastest, second = rate, fastest
		case rate > second:
			second = rate
		}
	}
	second = max(second, known, rateAfterSample(times, values, i))
	return values[i] <= maxRestartRatio*second*float64(times[i]-times[i-1])
}

// rateBeforeSample returns the rate up to the value with an index, per millisecond; 0 for a decrease, behind a marker, and for
// infinity.
func rateBeforeSample(times []int64, values []float64, i int) float64 {
	if n := values[i] - values[i-1]; n > 0 && !math.IsInf(n, 1) {
		return n / float64(times[i]-times[i-1])
	}
	return 0
}

// separateProcessesOfQueriedPod is separateCounterProcesses, with the rate of the pod's other counters if it is needed.
func (s *evaluationScanner) separateProcessesOfQueriedPod(p *evaluatedPod, l labels.Labels, times []int64, values []float64) (_ []int64, _ []float64, unexplained, since int) {
	separated, left, unexplained, since := separateCounterProcesses(times, values, 0)
	if unexplained > 0 {
		if known := s.steadyQueriedRate(p, l); known > 0 {
			return separateCounterProcesses(times, values, known)
		}
	}
	return separated, left, unexplained, since
}

// steadyQueriedRate returns the second highest rate, per millisecond, at which a pod's counters of the same name counted together that never
// decreased: load moves from series to series of a process, and one that begins again may get all of it. Counters of several processes
// behind one port decrease.
func (s *evaluationScanner) steadyQueriedRate(p *evaluatedPod, l labels.Labels) float64 {
	name := l.Get(model.MetricNameLabel)
	if rate, ok := p.steadyRates[name]; ok {
		return rate
	}
	matchers := []*labels.Matcher{
		labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, name),
		labels.MustNewMatcher(labels.MatchEqual, namespaceLabel, l.Get(namespaceLabel)),
		labels.MustNewMatcher(labels.MatchEqual, podLabel, l.Get(podLabel)),
	}
	rates := map[int64]float64{} // by page
	s.data.Visit(s.since, s.until, matchers, "", nil, func(_ labels.Labels, times []int64, values []float64) {
		addSteadyQueriedRates(rates, times, values)
	})
	if p.steadyRates == nil {
		p.steadyRates = map[string]float64{}
	}
	p.steadyRates[name] = secondHighestQueriedRate(rates)
	return p.steadyRates[name]
}

// secondHighestQueriedRate returns the second highest of rates: the highest may be an error.
func secondHighestQueriedRate(rates map[int64]float64) float64 {
	highest, second := 0.0, 0.0
	for _, rate := range rates {
		second = max(second, min(highest, rate))
		highest = max(highest, rate)
	}
	return second
}

// addSteadyQueriedRates adds the rates of a counter to those of its pages, unless it decreases.
func addSteadyQueriedRates(rates map[int64]float64, times []int64, values []float64) {
	last := math.Inf(-1)
	for _, v := range values {
		if v < last {
			return
		}
		if !value.IsStaleNaN(v) {
			last = v
		}
	}
	for i := 1; i < len(values); i++ {
		if rate := rateBeforeSample(times, values, i); rate > 0 {
			rates[times[i]] += rate
		}
	}
}

// noteUnexplainedDecreases keeps the counter of a pod that went back most often, and the samples since it last did.
func (p *evaluatedPod) noteUnexplainedDecreases(unexplained, samplesSince int) {
	if unexplained > 0 && (p.unexplained == 0 || samplesSince < p.unexplainedSince) {
		p.unexplainedSince = samplesSince
	}
	p.unexplained = max(p.unexplained, unexplained)
}
