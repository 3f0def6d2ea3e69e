package hpa

import (
	"math"
	"testing"
	"time"
)

// TestWindowsAreBounded: no seconds overflow a duration, or twice its window.
func TestWindowsAreBounded(t *testing.T) {
	t.Parallel()
	for seconds, want := range map[int64]time.Duration{
		0: 0, 10: 10 * time.Second, -1: 0, math.MinInt64: 0, math.MaxInt64: MaxWindow, math.MaxInt64 / int64(time.Second): MaxWindow, 9_223_372_037: MaxWindow,
		365 * 86400: MaxWindow, 365*86400 - 1: MaxWindow - time.Second,
	} {
		if got := ConvertWindow(seconds); got != want || 2*got < got {
			t.Errorf("%d seconds: %v; want %v", seconds, got, want)
		}
	}
}
