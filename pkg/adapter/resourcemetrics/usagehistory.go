// CPU usage from successive readings of a counter.

package resourcemetrics

import (
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// usageReading has the samples of a container or node on a page. A zero time means that the page lacks the sample.
type usageReading struct {
	cpu        float64 // seconds of CPU used since the start
	cpuTime    time.Time
	memory     float64 // bytes
	memoryTime time.Time
	started    time.Time
}

// cpuSample is a CPU counter at a time.
type cpuSample struct {
	seconds float64
	time    time.Time
}

// windowLimits bound the time between two compared samples.
type windowLimits struct {
	// minWindow is the shortest time between them: the kubelet's clock ticks and the accounting of the kernel are too coarse
	// for less.
	minWindow time.Duration
	// maxGap is the longest: an average over more time does not describe the present.
	maxGap time.Duration
}

// usageHistory has the recent readings of a container or node. It is immutable.
type usageHistory struct {
	newest     usageReading
	cpuSamples []cpuSample // oldest first; the first is the newest at least minWindow before the last, if any is
	missed     bool        // the newest page lacks the container
}

// addContainerReading returns the history with another page. It starts anew if the counter did, and after a gap.
func (h usageHistory) addContainerReading(r usageReading, l windowLimits) usageHistory {
	after := usageHistory{newest: r}
	if !h.newest.started.Equal(r.started) && !r.started.IsZero() || r.cpuTime.IsZero() {
		h = usageHistory{}
	}
	if r.cpuTime.IsZero() {
		return after
	}
	now := cpuSample{r.cpu, r.cpuTime}
	for _, p := range h.cpuSamples {
		if p.time.Before(now.time) && p.seconds <= now.seconds && now.time.Sub(p.time) <= l.maxGap {
			after.cpuSamples = append(after.cpuSamples, p)
		}
	}
	if len(after.cpuSamples) > 0 && h.cpuSamples[len(h.cpuSamples)-1].seconds > now.seconds {
		after.cpuSamples = nil // the counter was reset between them
	}
	for len(after.cpuSamples) > 1 && now.time.Sub(after.cpuSamples[1].time) >= l.minWindow {
		after.cpuSamples = after.cpuSamples[1:]
	}
	after.cpuSamples = append(after.cpuSamples, now)
	return after
}

// usageSpan is the time of a usage and its window.
type usageSpan struct {
	time   time.Time
	window time.Duration
}

// computeContainerUsage returns the usage by the history, or a reason if the history is too short.
func (h usageHistory) computeContainerUsage(l windowLimits) (Usage, usageSpan, metric.Reason) {
	r := h.newest
	if r.cpuTime.IsZero() || r.memoryTime.IsZero() {
		return Usage{}, usageSpan{}, metric.ReasonAbsent
	}
	base, last := h.cpuSamples[0], h.cpuSamples[len(h.cpuSamples)-1]
	window := last.time.Sub(base.time)
	if window < l.minWindow {
		return Usage{}, usageSpan{}, metric.ReasonWarmingUp
	}
	at := r.cpuTime
	if r.memoryTime.Before(at) {
		at = r.memoryTime
	}
	return Usage{CPU: (last.seconds - base.seconds) / window.Seconds(), Memory: r.memory}, usageSpan{at, window}, ""
}
