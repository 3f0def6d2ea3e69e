//go:build !linux

// This file replaces the thread's CPU clock on other systems.

package sample

import "time"

// workRequestThreadClock returns a wall clock: close enough on systems that run no pods.
func workRequestThreadClock() (clock func() time.Duration, release func()) {
	start := time.Now()
	return func() time.Duration { return time.Since(start) }, func() {}
}
