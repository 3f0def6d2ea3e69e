//go:build !linux

package host

import (
	"errors"
	"time"
)

// CPUTime returns an error: other systems have no /proc to measure with.
func CPUTime(int) (time.Duration, error) {
	return 0, errors.New("only Linux has a /proc to measure with")
}

func hostKernelVersion() string { return "unknown" }
