package resourcemetrics

import (
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// usageReading is what one page tells of one container or node. A zero time means that the page does not tell it.
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

// windowLimits say which samples are compared.
type windowLimits struct {
	// minWindow is the least distance of two samples that a usage is computed from: the kubelet's clock ticks and the
	// accounting of the kernel are too coarse for less.
	minWindow time.Duration
	// maxGap is the largest: an average over longer says nothing of the present.
	maxGap time.Duration
}

// usageHistory is what is known of one container or node. It is immutable.
type usageHistory struct {
	newest     usageReading
	cpuSamples []cpuSample // oldest first; the first is the newest that is limits.window before the last, if there is one
}

// withReading is the history after one more page. It starts anew where the counter did, and after a gap.
func (h usageHistory) withReading(r usageReading, l windowLimits) usageHistory {
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
		after.cpuSamples = nil // between the two the counter was reset
	}
	for len(after.cpuSamples) > 1 && now.time.Sub(after.cpuSamples[1].time) >= l.minWindow {
		after.cpuSamples = after.cpuSamples[1:]
	}
	after.cpuSamples = append(after.cpuSamples, now)
	return after
}

// usageSpan is the time of a usage and the window it was computed over.
type usageSpan struct {
	time   time.Time
	window time.Duration
}

// computeUsage is what the history tells; a reason if it does not tell enough.
func (h usageHistory) computeUsage(l windowLimits) (Usage, usageSpan, metric.Reason) {
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
