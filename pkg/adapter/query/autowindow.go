// The window of `auto` for a group of pods.

package query

import (
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/window"
)

// chooseWindow returns the window of `auto` for a group of pods as of now, in milliseconds: the choice of pkg/window
// for its counters. Of several counters, as in a ratio, the shortest window wins. A longer window would read one
// counter from before a change and after it, and show neither.
func chooseWindow(now int64, longest time.Duration, counters [][]window.History) time.Duration {
	chosen := longest
	for _, pods := range counters {
		chosen = min(chosen, window.Choose(pods, now, longest))
	}
	return chosen
}

// chooseTotalWindow is chooseWindow for a group whose pods came and went: only its total shows a change of the load. It
// counts the total until end.
func chooseTotalWindow(end int64, longest time.Duration, counters [][]window.History) time.Duration {
	chosen := longest
	for _, pods := range counters {
		chosen = min(chosen, window.ChooseTotal(pods, end, longest))
	}
	return chosen
}
