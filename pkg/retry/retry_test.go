package retry

import (
	"context"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"
)

func TestDelay(t *testing.T) {
	t.Parallel()
	b := Backoff{First: 100 * time.Millisecond, Max: time.Second}
	for failures, want := range map[int]time.Duration{
		-1: 0, 0: 0, 1: 100 * time.Millisecond, 2: 200 * time.Millisecond, 4: 800 * time.Millisecond, 5: time.Second,
		math.MaxInt: time.Second,
	} {
		if got := b.Delay(failures); got != want {
			t.Errorf("Delay(%d) = %v, want %v", failures, got, want)
		}
	}
	if got := (Backoff{First: time.Minute, Max: time.Second}).Delay(1); got != time.Second {
		t.Errorf("First above Max: %v, want Max", got)
	}
	if got := (Backoff{}).Delay(3); got != 0 {
		t.Errorf("zero value: %v, want 0", got)
	}
}

func TestJitterStaysInItsShare(t *testing.T) {
	t.Parallel()
	b := Backoff{First: time.Second, Max: time.Second, Jitter: 0.5}
	different := false
	for range 100 {
		d := b.Delay(1)
		if d < time.Second || d > 1500*time.Millisecond {
			t.Fatalf("delay %v, want 1s to 1.5s", d)
		}
		different = different || d != b.Delay(1)
	}
	if !different {
		t.Error("100 delays with jitter are all equal")
	}
}

func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if !Sleep(ctx, 300*time.Millisecond) || time.Since(start) != 300*time.Millisecond {
			t.Errorf("slept %v, want 300ms", time.Since(start))
		}
		if Sleep(ctx, time.Hour) || time.Since(start) != time.Second {
			t.Errorf("a context that ended after 1s ended the sleep after %v", time.Since(start))
		}
	})
}

func TestThrottle(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	th := Throttle{Interval: time.Minute}
	steps := []struct {
		key   string
		after time.Duration
		want  bool
	}{
		{"a", 0, true}, {"a", time.Second, false}, {"b", time.Second, true}, {"a", 59 * time.Second, false},
		{"a", time.Minute, true}, {"a", 119 * time.Second, false},
	}
	for _, s := range steps {
		if got := th.Allow(s.key, now.Add(s.after)); got != s.want {
			t.Errorf("%s after %v: %v, want %v", s.key, s.after, got, s.want)
		}
	}
}

// TestThrottleCounts: a few lines of a key pass in each interval, and the next one that passes has the number of the suppressed.
func TestThrottleCounts(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	th := Throttle{Interval: time.Minute, Lines: 2}
	for _, s := range []struct {
		key        string
		after      time.Duration
		suppressed int
		want       bool
	}{
		{"a", 0, 0, true}, {"a", 30 * time.Second, 0, true}, {"a", 59 * time.Second, 0, false}, {"b", 59 * time.Second, 0, true},
		{"a", 59 * time.Second, 0, false}, {"a", time.Minute, 2, true}, {"a", time.Minute, 0, true}, {"a", 61 * time.Second, 0, false},
	} {
		if suppressed, ok := th.AllowLine(s.key, now.Add(s.after)); ok != s.want || suppressed != s.suppressed {
			t.Errorf("%s after %v: %v, %d suppressed; want %v, %d", s.key, s.after, ok, suppressed, s.want, s.suppressed)
		}
	}
	if first, second := th.TakeSuppressed(), th.TakeSuppressed(); first != 1 || second != 0 {
		t.Errorf("%d suppressed, then %d; want 1, then 0", first, second)
	}
}

func TestThrottleIsBounded(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	th := Throttle{Interval: time.Minute}
	for i := range 3 * maxThrottled {
		th.Allow(fmt.Sprint(i), now)
	}
	if len(th.passed) != maxThrottled {
		t.Errorf("%d keys are remembered, want %d", len(th.passed), maxThrottled)
	}
	th.Allow("later", now.Add(time.Hour))
	if len(th.passed) != 1 {
		t.Errorf("%d keys are remembered an hour later, want 1", len(th.passed))
	}
}
