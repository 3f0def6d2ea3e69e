package retry

import (
	"context"
	"time"
)

// RunRounds runs a round at once, after the pause that the round before returned, and whenever wake receives, until ctx ends.
func RunRounds(ctx context.Context, wake <-chan struct{}, round func(ctx context.Context, now time.Time) time.Duration) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-wake:
		case <-timer.C:
		}
		timer.Reset(round(ctx, time.Now()))
	}
}
