// Quantiles of the observations that a Prometheus histogram gained between two readings.

package main

import "math"

// histogram is cumulative, its buckets in order of their bounds.
type histogram []bucket

type bucket struct{ bound, count float64 }

// histogramObservedSince returns the observations after before.
func (h histogram) histogramObservedSince(before histogram) histogram {
	if len(before) != len(h) {
		return nil
	}
	d := make(histogram, len(h))
	for i := range h {
		d[i] = bucket{h[i].bound, h[i].count - before[i].count}
	}
	return d
}

// interpolateHistogramQuantile interpolates in the bucket, as PromQL's histogram_quantile does. It returns false without
// observations.
func (h histogram) interpolateHistogramQuantile(q float64) (float64, bool) {
	if len(h) == 0 || h[len(h)-1].count == 0 {
		return 0, false
	}
	rank := q * h[len(h)-1].count
	var below bucket
	for _, b := range h {
		if b.count >= rank {
			if math.IsInf(b.bound, 1) {
				return below.bound, true
			}
			return below.bound + (b.bound-below.bound)*(rank-below.count)/(b.count-below.count), true
		}
		below = b
	}
	return below.bound, true
}
