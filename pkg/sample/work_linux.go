// This file reads a thread's CPU clock.

package sample

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// workRequestThreadClock returns a clock of the calling goroutine's CPU time; the goroutine keeps its thread until release.
func workRequestThreadClock() (clock func() time.Duration, release func()) {
	runtime.LockOSThread()
	return func() time.Duration {
		var t unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
			panic(err) // every Linux since 2.6.12 has this clock
		}
		return time.Duration(t.Nano())
	}, runtime.UnlockOSThread
}
