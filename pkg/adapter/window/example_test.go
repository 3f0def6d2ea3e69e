// Runnable examples of the package.

package window_test

import (
	"fmt"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/window"
)

// A steady rate is read over the longest window. Soon after a step the window begins at the step.
func ExampleChoose() {
	var times []int64
	var values []float64
	requests := 0.0
	for at := int64(0); at <= 120_000; at += 2000 { // milliseconds: a scrape every 2 s
		times, values = append(times, at), append(values, requests)
		if at < 114_000 {
			requests += 80 // 40 a second
		} else {
			requests += 800 // 400 a second
		}
	}
	for _, now := range []int64{114_000, 120_000} {
		scrapes := now/2000 + 1
		var pod window.History
		pod.Add(times[:scrapes], values[:scrapes])
		fmt.Println(window.Choose(window.Counter{Pods: []window.History{pod}}, now, time.Minute))
	}
	// Output:
	// 1m0s
	// 7s
}
