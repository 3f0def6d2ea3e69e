// Quantiles of measured durations, in seconds.

package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/retry"
)

// figures are measured durations, in their order.
type figures []time.Duration

// nearestFigureRank returns the smallest duration that at least a share q of them does not exceed (nearest rank).
func (f figures) nearestFigureRank(q float64) time.Duration {
	if len(f) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(f))
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}

// summarizeFigures returns the median, the 95th percentile and the maximum, as columns of a table.
func (f figures) summarizeFigures() string {
	return fmt.Sprintf("%.1f | %.1f | %.1f", f.nearestFigureRank(0.5).Seconds(), f.nearestFigureRank(0.95).Seconds(), f.nearestFigureRank(1).Seconds())
}

// formatFigureRange returns the median, and the smallest and the greatest duration.
func (f figures) formatFigureRange() string {
	return fmt.Sprintf("%.1f (%.1f to %.1f)", f.nearestFigureRank(0.5).Seconds(), f.nearestFigureRank(0).Seconds(), f.nearestFigureRank(1).Seconds())
}

// sleepUntilBenchTime waits until a time, or returns ctx's error.
func sleepUntilBenchTime(ctx context.Context, until time.Time) error {
	if !retry.Sleep(ctx, time.Until(until)) {
		return ctx.Err()
	}
	return nil
}
