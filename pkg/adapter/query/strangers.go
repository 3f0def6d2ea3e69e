// Strangers: counters that go back to a value that no restart explains.

package query

import (
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/value"
)

const (
	// maxRestartEvents is the value to which a counter may have counted since a restart, however slow it was before.
	maxRestartEvents = 10
	// maxRestartRatio bounds the rate of a counter since a restart, relative to its rate before and after: what a pod lost while it
	// was away comes at once.
	maxRestartRatio = 2
	// minStrangers is the number of such values that tell several processes behind one port. After a single one, a pod has no value for
	// strangerSamples samples: the next may be of the process before.
	minStrangers    = 2
	strangerSamples = 4
)

// separateQueriedProcesses puts a staleness marker before each value to which a counter cannot have counted since the sample before: it
// went back, and another process or another program answers. PromQL would add the whole value, as after a restart. It returns
// the number of such values, and does not change the slices.
func separateQueriedProcesses(times []int64, values []float64) (_ []int64, _ []float64, strangers int) {
	for i := 1; i < len(values); i++ {
		if !(values[i] < values[i-1]) || restartExplainsQueriedValue(times, values, i) {
			continue
		}
		if strangers++; strangers == 1 {
			times, values = slices.Clone(times), slices.Clone(values)
		}
		times, values = slices.Insert(times, i, times[i]-1), slices.Insert(values, i, math.Float64frombits(value.StaleNaN))
		i++
	}
	return times, values, strangers
}

// restartExplainsQueriedValue reports whether a process that restarted after the sample before may have counted to the value with an index: at
// the rate of the next increment, or of the second fastest of all others, since the fastest may be an error.
func restartExplainsQueriedValue(times []int64, values []float64, i int) bool {
	if values[i] <= maxRestartEvents {
		return values[i] >= 0
	}
	fastest, second := 0.0, 0.0
	for j := 1; j < len(values); j++ {
		switch rate := incrementRateInQuery(times, values, j); {
		case rate > fastest:
			fastest, second = rate, fastest
		case rate > second:
			second = rate
		}
	}
	if i+1 < len(values) {
		second = max(second, incrementRateInQuery(times, values, i+1))
	}
	return values[i] <= maxRestartRatio*second*float64(times[i]-times[i-1])
}

// incrementRateInQuery returns the rate up to the value with an index, per millisecond; 0 for a decrease, behind a marker, and for
// infinity.
func incrementRateInQuery(times []int64, values []float64, i int) float64 {
	if n := values[i] - values[i-1]; n > 0 && !math.IsInf(n, 1) {
		return n / float64(times[i]-times[i-1])
	}
	return 0
}

// noteQueriedStrangers keeps the counter of a pod that went back most often, and the samples since it last did.
func (p *scannedPod) noteQueriedStrangers(strangers, samplesSince int) {
	if strangers > 0 && (p.strangers == 0 || samplesSince < p.strangerSamples) {
		p.strangerSamples = samplesSince
	}
	p.strangers = max(p.strangers, strangers)
}
