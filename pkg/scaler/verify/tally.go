package verify

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// tally counts answers. Its methods may be called concurrently.
type tally struct {
	mu        sync.Mutex // guards all below
	requests  int
	failed    int
	causes    map[string]int
	latencies *hdrhistogram.Histogram // in microseconds
	max       time.Duration
}

const (
	// maxTracked is beyond every timeout, which is not exact to the microsecond.
	maxTracked = 2 * maxTimeout
	// maxCauses bounds a report; pods that answer nonsense have a new cause every time.
	maxCauses  = 10
	otherCause = "other"
)

func newTally() *tally {
	return &tally{causes: map[string]int{}, latencies: hdrhistogram.New(1, maxTracked.Microseconds(), 3)}
}

// add counts one request. Requests that timed out count among the latencies too, or dropping the slowest would make the rest
// look fast; other failures do not, for they may be faster than any answer.
func (t *tally) add(took time.Duration, cause string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.requests++
	if cause != "" {
		t.failed++
		t.blame(cause, 1)
	}
	if cause == "" || cause == timedOut {
		took = min(max(took, time.Microsecond), maxTracked)
		t.max = max(t.max, took)
		_ = t.latencies.RecordValue(took.Microseconds()) // within its bounds, by the line above
	}
}

func (t *tally) blame(cause string, n int) {
	_, known := t.causes[cause]
	if others := min(t.causes[otherCause], 1); !known && len(t.causes)-others >= maxCauses {
		cause = otherCause
	}
	t.causes[cause] += n
}

// hopeless tells whether a pod cannot pass any more, were all its other requests answered well.
func (t *tally) hopeless(spec Spec) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return float64(spec.Requests-t.causes[timedOut])/float64(spec.Requests) < spec.Success
}

// merge adds the counts of a tally that nobody adds to any more.
func (t *tally) merge(from *tally) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.requests += from.requests
	t.failed += from.failed
	for _, cause := range slices.Sorted(maps.Keys(from.causes)) { // in an order, so that equal answers make equal reports
		t.blame(cause, from.causes[cause])
	}
	t.latencies.Merge(from.latencies)
	t.max = max(t.max, from.max)
}

// summary is what was counted.
func (t *tally) summary() Summary {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := Summary{Requests: t.requests, Failed: t.failed, Max: metav1.Duration{Duration: t.max.Truncate(time.Microsecond)}}
	if t.requests > 0 {
		s.Success = float64(t.requests-t.failed) / float64(t.requests)
	}
	if t.failed > 0 {
		s.Causes = maps.Clone(t.causes)
	}
	s.P50, s.P95, s.P99 = t.at(50), t.at(95), t.at(99)
	return s
}

// at is a percentile, in the three digits that the histogram is good for: it rounds up by as much as a thousandth, and a latency
// that is as shown must not break a threshold that is the same. It is never beyond the greatest.
func (t *tally) at(percentile float64) metav1.Duration {
	us := t.latencies.ValueAtPercentile(percentile)
	return metav1.Duration{Duration: min(digits(time.Duration(us)*time.Microsecond), t.max.Truncate(time.Microsecond))}
}

// digits rounds to three digits, and to microseconds.
func digits(d time.Duration) time.Duration {
	step := time.Microsecond
	for d >= 1000*step {
		step *= 10
	}
	return d.Round(step)
}
