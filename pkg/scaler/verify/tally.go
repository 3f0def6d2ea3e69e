package verify

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// requestTally counts answers. Its methods may be called concurrently.
type requestTally struct {
	mu        sync.Mutex // guards all below
	requests  int
	failed    int
	causes    map[string]int
	latencies *hdrhistogram.Histogram // in microseconds
	max       time.Duration
}

const (
	// maxTrackedLatency is beyond every timeout, which is not exact to the microsecond.
	maxTrackedLatency = 2 * maxTimeout
	// maxCauses bounds a report; pods that answer nonsense have a new cause every time.
	maxCauses  = 10
	otherCause = "other"
)

func newRequestTally() *requestTally {
	return &requestTally{causes: map[string]int{}, latencies: hdrhistogram.New(1, maxTrackedLatency.Microseconds(), 3)}
}

// countPodRequest counts one request. Requests that timed out count among the latencies too, or dropping the slowest would make the rest
// look fast; other failures do not, for they may be faster than any answer.
func (t *requestTally) countPodRequest(took time.Duration, cause string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.requests++
	if cause != "" {
		t.failed++
		t.countCause(cause, 1)
	}
	if cause == "" || cause == timeoutCause {
		took = min(max(took, time.Microsecond), maxTrackedLatency)
		t.max = max(t.max, took)
		_ = t.latencies.RecordValue(took.Microseconds()) // within its bounds, by the line above
	}
}

func (t *requestTally) countCause(cause string, n int) {
	_, known := t.causes[cause]
	if others := min(t.causes[otherCause], 1); !known && len(t.causes)-others >= maxCauses {
		cause = otherCause
	}
	t.causes[cause] += n
}

// cannotPass tells whether a pod cannot pass any more, were all its other requests answered well.
func (t *requestTally) cannotPass(spec Spec) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return float64(spec.Requests-t.causes[timeoutCause])/float64(spec.Requests) < spec.Success
}

// mergeTally adds the counts of a tally that nobody adds to any more.
func (t *requestTally) mergeTally(from *requestTally) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.requests += from.requests
	t.failed += from.failed
	for _, cause := range slices.Sorted(maps.Keys(from.causes)) { // in an order, so that equal answers make equal reports
		t.countCause(cause, from.causes[cause])
	}
	t.latencies.Merge(from.latencies)
	t.max = max(t.max, from.max)
}

// summarizeRequests is what was counted.
func (t *requestTally) summarizeRequests() Summary {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := Summary{Requests: t.requests, Failed: t.failed, Max: metav1.Duration{Duration: t.max.Truncate(time.Microsecond)}}
	if t.requests > 0 {
		s.Success = float64(t.requests-t.failed) / float64(t.requests)
	}
	if t.failed > 0 {
		s.Causes = maps.Clone(t.causes)
	}
	s.P50, s.P95, s.P99 = t.latencyPercentile(50), t.latencyPercentile(95), t.latencyPercentile(99)
	return s
}

// latencyPercentile is a percentile, in the three digits that the histogram is good for: it rounds up by as much as a thousandth, and a latency
// that is as shown must not break a threshold that is the same. It is never beyond the greatest.
func (t *requestTally) latencyPercentile(percentile float64) metav1.Duration {
	us := t.latencies.ValueAtPercentile(percentile)
	return metav1.Duration{Duration: min(roundLatency(time.Duration(us)*time.Microsecond), t.max.Truncate(time.Microsecond))}
}

// roundLatency rounds to three digits, and to microseconds.
func roundLatency(d time.Duration) time.Duration {
	step := time.Microsecond
	for d >= 1000*step {
		step *= 10
	}
	return d.Round(step)
}
