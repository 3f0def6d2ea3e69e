// Package retry has the parts of loops that repeat work: rounds, a growing delay, a sleep that a context ends, and a limit on repeated log lines.
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

// Throttle lets a few log lines of each key pass in an interval, and counts the others. It may be used concurrently.
type Throttle struct {
	Interval time.Duration
	Lines    int // of a key in Interval; 0: one

	mu     sync.Mutex // guards passed
	passed map[string]*throttledLines
}

// throttledLines are the lines of a key since the first that passed.
type throttledLines struct {
	since               time.Time
	written, suppressed int
}

// Allow reports whether a line of the key may be written at now, and counts it as written if so.
func (t *Throttle) Allow(key string, now time.Time) bool {
	_, ok := t.AllowLine(key, now)
	return ok
}

// AllowLine is Allow, and returns with a line that passes how many of its key were suppressed since the last that passed. Where too many different
// keys came within Interval, the lines of further ones pass unthrottled.
func (t *Throttle) AllowLine(key string, now time.Time) (suppressed int, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.passed[key]
	if l == nil {
		if l = t.addThrottledKey(key, now); l == nil {
			return 0, true
		}
	}
	if now.Sub(l.since) >= t.Interval {
		l.since, l.written = now, 0
	}
	if l.written >= max(t.Lines, 1) {
		l.suppressed++
		return 0, false
	}
	suppressed, l.suppressed = l.suppressed, 0
	l.written++
	return suppressed, true
}

// TakeSuppressed returns the number of suppressed lines of all keys that no line has told yet, and counts them as told.
func (t *Throttle) TakeSuppressed() (suppressed int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range t.passed {
		suppressed += l.suppressed
		l.suppressed = 0
	}
	return suppressed
}

// addThrottledKey adds a key. It returns nil if there is no room. The caller holds the lock.
func (t *Throttle) addThrottledKey(key string, now time.Time) *throttledLines {
	if len(t.passed) >= maxThrottled {
		t.forgetThrottledRetryLines(now.Add(-t.Interval))
	}
	if len(t.passed) >= maxThrottled {
		return nil
	}
	if t.passed == nil {
		t.passed = map[string]*throttledLines{}
	}
	l := &throttledLines{since: now}
	t.passed[key] = l
	return l
}

// forgetThrottledRetryLines drops the keys that may be logged again. The caller holds the lock.
func (t *Throttle) forgetThrottledRetryLines(limit time.Time) {
	for key, l := range t.passed {
		if !l.since.After(limit) {
			delete(t.passed, key)
		}
	}
}
