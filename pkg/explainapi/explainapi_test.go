package explainapi

import (
	"math"
	"testing"
	"time"
)

// TestWindowDuration: a window that no duration can hold keeps its sign.
func TestWindowDuration(t *testing.T) {
	t.Parallel()
	longest := time.Duration(math.MaxInt64).Truncate(time.Second)
	for seconds, want := range map[int64]time.Duration{
		0: 0, 30: 30 * time.Second, -1: -time.Second, math.MaxInt64: longest, math.MaxInt64 / 1_000_000_000: longest, 18446744074: longest, math.MinInt64: -longest,
	} {
		if got := WindowDuration(seconds); got != want {
			t.Errorf("%d seconds are %v, want %v", seconds, got, want)
		}
	}
}
