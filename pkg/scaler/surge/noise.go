// The noise of a metric: how much its demand varies while it is steady.

package surge

import (
	"math"
	"time"
)

// MetricMemory is the memory of one metric: its longest window, and its steady demand.
//
// The demand is the number of replicas that the metric wants, before it is rounded. Over a window of length L it is a mean of
// increments. Each second the window gains increments and loses as many old ones, so that the demand moves by d with
//
//	(L d)² / 2 = v on average
//
// where v is the variance of the increments of a second, whatever the unit of the metric, and whether requests come alone, in
// batches or by the clock. A metric without windows has the variance d²/2.
type MetricMemory struct {
	Metric        string        // the specification that the memory belongs to
	Longest       time.Duration // longest window
	LongestSeenAt time.Time
	// SteadyDemand is the latest demand over a window close to the longest.
	SteadyDemand float64
	SteadyAt     time.Time
	// Squares and Seconds are the sums behind the variance. They decay with noiseMemory.
	Squares, Seconds float64
}

const (
	// noiseMemory is the time constant of the variance. It spans several of the jobs that run every minute.
	noiseMemory = 10 * time.Minute
	// steadyShare is the least share of the longest window that a steady demand is taken over: an adapter aligns its windows to samples,
	// so that they differ by a few seconds.
	steadyShare = 0.75
	// maxNoiseGap is the longest time between two demands that are compared.
	maxNoiseGap = 5 * time.Second
)

// noteMetricWindow notes the window of an answer. Another metric, or a longest window that did not come again, begins a new memory.
func (m *MetricMemory) noteMetricWindow(metric string, window time.Duration, now time.Time) {
	if m.Metric != metric || now.Sub(m.LongestSeenAt) > longestFor {
		*m = MetricMemory{Metric: metric}
	}
	if window > m.Longest { // a young adapter: the increments of before are not lost yet
		m.SteadyAt = time.Time{}
	}
	if float64(window) >= steadyShare*float64(m.Longest) {
		m.Longest, m.LongestSeenAt = max(window, m.Longest), now
	}
}

// noteSteadyDemand learns from a demand over a window close to the longest.
func (m *MetricMemory) noteSteadyDemand(r Reading, demand float64, now time.Time) {
	if float64(r.Window) < steadyShare*float64(m.Longest) {
		m.SteadyAt = time.Time{}
		return
	}
	if gap := now.Sub(m.SteadyAt); !m.SteadyAt.IsZero() && gap <= maxNoiseGap {
		kept, change := math.Exp(-gap.Seconds()/noiseMemory.Seconds()), demand-m.SteadyDemand
		if r.Window > 0 {
			change *= r.Window.Seconds()
		}
		m.Squares = kept*m.Squares + change*change/2
		m.Seconds = kept*m.Seconds + gap.Seconds()
	}
	m.SteadyDemand, m.SteadyAt = demand, now
}

// scoreDemand returns by how many standard deviations a demand over a window exceeds the steady demand. It is 0 while too little is
// known, and infinite if the demand never varied.
//
// Over a window the demand is a count of independent batches, of size v/steady each. A Poisson count has a longer tail than a normal
// one. The score is the root of its likelihood ratio, √(2 (k ln(k/k₀) - k + k₀)), for k batches where k₀ are expected.
func (m *MetricMemory) scoreDemand(demand float64, window time.Duration) float64 {
	if m.Seconds < settleFor.Seconds()/2 || demand <= m.SteadyDemand {
		return 0
	}
	variance := m.Squares / m.Seconds
	switch {
	case variance == 0:
		return math.Inf(1)
	case window == 0:
		return (demand - m.SteadyDemand) / math.Sqrt(variance)
	case m.SteadyDemand <= 0: // rare requests, and none within the longest window
		return demand / math.Sqrt(variance/window.Seconds())
	}
	batch := variance / m.SteadyDemand
	k, expected := demand*window.Seconds()/batch, m.SteadyDemand*window.Seconds()/batch
	return math.Sqrt(2 * (k*math.Log(k/expected) - k + expected))
}
