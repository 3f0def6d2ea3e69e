package query

import (
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/window"
)

// chooseWindow is what `auto` means for a group of pods as of now, in milliseconds: what pkg/window finds in its
// counters. With several of them, as in a ratio, the shortest decides: a longer one would read one counter from before
// a change and after it, and show neither.
func chooseWindow(now int64, longest time.Duration, counters [][]window.History) time.Duration {
	chosen := longest
	for _, pods := range counters {
		chosen = min(chosen, window.Choose(pods, now, longest))
	}
	return chosen
}
