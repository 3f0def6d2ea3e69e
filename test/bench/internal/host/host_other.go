//go:build !linux

package host

import (
	"errors"
	"time"
)

// CPUTime is not known elsewhere: there is no /proc to measure with.
func CPUTime(int) (time.Duration, error) {
	return 0, errors.New("the benchmarks measure with Linux's /proc")
}

func hostKernelVersion() string { return "unknown" }
