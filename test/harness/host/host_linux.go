package host

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// CPUTime returns the CPU time of a process so far, in user and kernel mode, over all threads, to the nanosecond. The ticks of
// /proc/PID/stat are too coarse for a hundred scrapes.
func CPUTime(pid int) (time.Duration, error) {
	var used unix.Timespec
	const scheduler = 2 // CPUCLOCK_SCHED of the kernel's posix-timers.h
	if err := unix.ClockGettime(int32(^pid<<3|scheduler), &used); err != nil {
		return 0, fmt.Errorf("read CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(used.Nano()), nil
}

func hostKernelVersion() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return "unknown"
	}
	return "Linux " + unix.ByteSliceToString(name.Release[:])
}
