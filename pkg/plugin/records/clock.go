package records

import (
	"fmt"
	"time"
)

// ClockSkew is the difference of clocks from which ages mislead: a read takes less.
const ClockSkew = 5 * time.Second

// MeasureClockAhead returns by how much the adapter's clock, as of an answer, is ahead of this machine's; 0 below ClockSkew or for an unknown time.
func MeasureClockAhead(answered, now time.Time) time.Duration {
	ahead := answered.Sub(now).Round(time.Second)
	if answered.IsZero() || ahead.Abs() < ClockSkew {
		return 0
	}
	return ahead
}

// DescribeClock says by how much this machine's clock differs from the adapter's.
func DescribeClock(ahead time.Duration) string {
	word := "behind"
	if ahead < 0 {
		word = "ahead of"
	}
	return fmt.Sprintf("this machine's clock is %s %s the adapter's", ahead.Abs(), word)
}
