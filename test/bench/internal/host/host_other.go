//go:build !linux

package host

import (
	"errors"
	"time"
)

// CPUTime returns an error: other systems have no /proc to measure with.
func CPUTime(int) (time.Duration, error) {
	return 0, errors.New("the benchmarks measure with Linux's /proc")
}

func hostKernelVersion() string { return "unknown" }
