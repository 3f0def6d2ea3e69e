// This file counts the responses of pods and computes their percentiles.

package verify

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// requestTally counts requests. Its methods may be called concurrently.
type requestTally struct {
	mu        sync.Mutex // guards all below
	requests  int
	failed    int
	causes    map[string]int
	latencies *hdrhistogram.Histogram // in microseconds
	max       time.Duration
}

const (
	// maxTrackedLatency is above every timeout; a timeout is not exact to the microsecond.
	maxTrackedLatency = 2 * maxTimeout
	// maxCauses bounds a report: a pod with nonsense responses has a new cause every time.
	maxCauses  = 10
	otherCause = "other"
)

func newRequestTally() *requestTally {
	return &requestTally{causes: map[string]int{}, latencies: hdrhistogram.New(1, maxTrackedLatency.Microseconds(), 3)}
}

// tallyRequest counts a request. The latencies include requests that timed out: without the slowest, the rest would look fast. They
// exclude other failures, which may be faster than any response.
func (t *requestTally) tallyRequest(took time.Duration, cause string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.requests++
	if cause != "" {
		t.failed++
		t.tallyRequestCause(cause, 1)
	}
	if cause == "" || cause == timeoutCause {
		took = min(max(took, time.Microsecond), maxTrackedLatency)
		t.max = max(t.max, took)
		_ = t.latencies.RecordValue(took.Microseconds()) // the line above keeps it within the histogram's range
	}
}

func (t *requestTally) tallyRequestCause(cause string, n int) {
	_, known := t.causes[cause]
	if others := min(t.causes[otherCause], 1); !known && len(t.causes)-others >= maxCauses {
		cause = otherCause
	}
	t.causes[cause] += n
}

// cannotPassSpec reports whether timeouts alone put a pod below the required success, even if all its other requests succeed.
func (t *requestTally) cannotPassSpec(spec Spec) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return float64(spec.Requests-t.causes[timeoutCause])/float64(spec.Requests) < spec.Success
}

// mergeRequestTally adds the counts of a finished tally.
func (t *requestTally) mergeRequestTally(from *requestTally) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.requests += from.requests
	t.failed += from.failed
	for _, cause := range slices.Sorted(maps.Keys(from.causes)) { // sorted, so that equal responses make equal reports
		t.tallyRequestCause(cause, from.causes[cause])
	}
	t.latencies.Merge(from.latencies)
	t.max = max(t.max, from.max)
}

// summarizeRequests returns the counts and percentiles.
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

// latencyPercentile returns a percentile with the three digits of the histogram's precision, and at most the maximum. The histogram rounds
// up by as much as a thousandth; without this rounding, a latency could break a threshold equal to its printed value.
func (t *requestTally) latencyPercentile(percentile float64) metav1.Duration {
	us := t.latencies.ValueAtPercentile(percentile)
	return metav1.Duration{Duration: min(roundRequestLatency(time.Duration(us)*time.Microsecond), t.max.Truncate(time.Microsecond))}
}

// roundRequestLatency rounds to three digits, and to microseconds.
func roundRequestLatency(d time.Duration) time.Duration {
	step := time.Microsecond
	for d >= 1000*step {
		step *= 10
	}
	return d.Round(step)
}
