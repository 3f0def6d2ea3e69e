// Package retry has the parts of a retry loop: a growing delay, a sleep that a context ends, and a limit on repeated log lines.
package retry

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// Backoff is a delay that doubles from First to Max with each failure in a row. The zero value does not wait.
type Backoff struct {
	First, Max time.Duration
	// Jitter is the share of the delay, from 0 to 1, that is added at random, so that many clients that failed together do not retry
	// together. The delay with its jitter may exceed Max.
	Jitter float64
}

// Delay returns the delay after failures failures in a row, of which the first is 1. Without a failure it is 0.
func (b Backoff) Delay(failures int) time.Duration {
	if failures <= 0 || b.First <= 0 {
		return 0
	}
	d := min(b.First, b.Max)
	for i := 1; i < failures && d < b.Max; i++ {
		d = min(2*d, b.Max)
	}
	if spread := time.Duration(b.Jitter * float64(d)); spread > 0 {
		d += rand.N(spread + 1) //nolint:gosec // it only spreads
	}
	return d
}

// Sleep waits for d and reports true; it reports false at once when ctx ends before.
func Sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// maxThrottled bounds the keys of a Throttle.
const maxThrottled = 1024

// Throttle lets one log line of each key pass in Interval. It may be used concurrently.
type Throttle struct {
	Interval time.Duration

	mu     sync.Mutex // guards passed
	passed map[string]time.Time
}

// Allow reports whether a line of the key may be written at now, and counts it as written if so. Where too many different keys came
// within Interval, the lines of further ones pass unthrottled.
func (t *Throttle) Allow(key string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if last, ok := t.passed[key]; ok && now.Sub(last) < t.Interval {
		return false
	}
	if len(t.passed) >= maxThrottled {
		t.forgetThrottledRetryLines(now.Add(-t.Interval))
	}
	if t.passed == nil {
		t.passed = map[string]time.Time{}
	}
	if len(t.passed) < maxThrottled {
		t.passed[key] = now
	}
	return true
}

// forgetThrottledRetryLines drops the keys that may be logged again. The caller holds the lock.
func (t *Throttle) forgetThrottledRetryLines(limit time.Time) {
	for key, last := range t.passed {
		if !last.After(limit) {
			delete(t.passed, key)
		}
	}
}
