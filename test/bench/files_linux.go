// The check of the limit of open files, on Linux.

package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// checkOpenFileLimit returns an error if a process may not hold a connection to each target. Go programs use the hard limit.
func checkOpenFileLimit(targets int) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("read limit of open files: %w", err)
	}
	const others = 200
	if need := uint64(targets + others); limit.Max < need {
		return fmt.Errorf("%d targets need %d open files; the hard limit is %d (ulimit -Hn)", targets, need, limit.Max)
	}
	return nil
}
