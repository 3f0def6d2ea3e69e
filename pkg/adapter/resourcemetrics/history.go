package resourcemetrics

import (
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// reading is what one page tells of one container or node. A zero time means that the page does not tell it.
type reading struct {
	cpu        float64 // seconds of CPU used since the start
	cpuTime    time.Time
	memory     float64 // bytes
	memoryTime time.Time
	started    time.Time
}

// point is a CPU counter at a time.
type point struct {
	seconds float64
	time    time.Time
}

// limits say which samples are compared.
type limits struct {
	// window is the least distance of two samples that a usage is computed from: the kubelet's clock ticks and the
	// accounting of the kernel are too coarse for less.
	window time.Duration
	// gap is the largest: an average over longer says nothing of the present.
	gap time.Duration
}

// history is what is known of one container or node. It is immutable.
type history struct {
	newest reading
	cpu    []point // oldest first; the first is the newest that is limits.window before the last, if there is one
}

// next is the history after one more page. It starts anew where the counter did, and after a gap.
func (h history) next(r reading, l limits) history {
	after := history{newest: r}
	if !h.newest.started.Equal(r.started) && !r.started.IsZero() || r.cpuTime.IsZero() {
		h = history{}
	}
	if r.cpuTime.IsZero() {
		return after
	}
	now := point{r.cpu, r.cpuTime}
	for _, p := range h.cpu {
		if p.time.Before(now.time) && p.seconds <= now.seconds && now.time.Sub(p.time) <= l.gap {
			after.cpu = append(after.cpu, p)
		}
	}
	if len(after.cpu) > 0 && h.cpu[len(h.cpu)-1].seconds > now.seconds {
		after.cpu = nil // between the two the counter was reset
	}
	for len(after.cpu) > 1 && now.time.Sub(after.cpu[1].time) >= l.window {
		after.cpu = after.cpu[1:]
	}
	after.cpu = append(after.cpu, now)
	return after
}

// span is the time of a usage and the window it was computed over.
type span struct {
	time   time.Time
	window time.Duration
}

// usage is what the history tells; a reason if it does not tell enough.
func (h history) usage(l limits) (Usage, span, metric.Reason) {
	r := h.newest
	if r.cpuTime.IsZero() || r.memoryTime.IsZero() {
		return Usage{}, span{}, metric.ReasonAbsent
	}
	base, last := h.cpu[0], h.cpu[len(h.cpu)-1]
	window := last.time.Sub(base.time)
	if window < l.window {
		return Usage{}, span{}, metric.ReasonWarmingUp
	}
	at := r.cpuTime
	if r.memoryTime.Before(at) {
		at = r.memoryTime
	}
	return Usage{CPU: (last.seconds - base.seconds) / window.Seconds(), Memory: r.memory}, span{at, window}, ""
}
