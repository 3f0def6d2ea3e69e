// The noise of a metric: how much its demand varies while it is steady.

package surge

import (
	"math"
	"time"
)

// LaneMetricMemory is the memory of one metric: its longest window, and its steady demand.
//
// The demand is the number of replicas that the metric wants, before it is rounded. Over a window of length L it is a mean of
// increments. Each second the window gains increments and loses as many old ones, so that the demand moves by d with
//
//	(L d)² / 2 = v on average
//
// where v is the variance of the increments of a second, in any unit of the metric, and whether requests come alone, in
// batches or by the clock. A metric without windows has the variance d²/2.
type LaneMetricMemory struct {
	Metric        string        // the specification that the memory belongs to
	Longest       time.Duration // longest window
	LongestSeenAt time.Time
	// Window is the latest window. ShrunkAt is when it last came down to half of the window before, or less: the adapter found a step.
	// Shortest is the shortest window since.
	Window, Shortest time.Duration
	ShrunkAt         time.Time
	// SteadyDemand is the latest demand over a window close to the longest.
	SteadyDemand float64
	SteadyAt     time.Time // zero: the windows since then are short
	// ShortAt is the time of the latest window that is not close to the longest, or of the latest change of the replicas.
	ShortAt time.Time
	Noise   noiseSum // decays with noiseMemory
	// Recent are the latest times, of noiseDelay each, that Noise does not have yet: the older, then the newer.
	Recent [2]noiseSum
}

// noiseSum is the sum of the squares behind a variance, and the seconds that it was taken over.
type noiseSum struct{ Squares, Seconds float64 }

const (
	// noiseMemory is the time constant of the variance. It spans several of the jobs that run every minute.
	noiseMemory = 10 * time.Minute
	// steadyShare is the least share of the longest window that a steady demand is taken over: an adapter aligns its windows to samples,
	// so that they differ by a few seconds.
	steadyShare = 0.75
	// noiseDelay is the least time before a change of the demand counts as noise. Within it an adapter finds that the change is a step.
	noiseDelay = 15 * time.Second
	// maxNoiseGap is the longest time between two demands that are compared.
	maxNoiseGap = 5 * time.Second
)

// noteMetricWindow notes the window of an answer. Another metric, or a longest window that did not come again, begins a new memory.
func (m *LaneMetricMemory) noteMetricWindow(metric string, window time.Duration, now time.Time) {
	if m.Metric != metric || now.Sub(m.LongestSeenAt) > longestFor {
		*m = LaneMetricMemory{Metric: metric}
	}
	if 2*window <= m.Window {
		m.ShrunkAt, m.Shortest = now, window
	}
	m.Window, m.Shortest = window, min(m.Shortest, window)
	if window > m.Longest { // a young adapter: the increments of before are not lost yet
		m.SteadyAt = time.Time{}
	}
	if float64(window) >= steadyShare*float64(m.Longest) {
		m.Longest, m.LongestSeenAt = max(window, m.Longest), now
	}
}

// noteSteadyDemand learns from a demand over a window close to the longest. A step of the load is no noise: what was learned while the
// adapter had not found it yet is forgotten.
func (m *LaneMetricMemory) noteSteadyDemand(r Reading, demand float64, now time.Time) {
	if float64(r.Window) < steadyShare*float64(m.Longest) {
		m.interruptSteadyDemand(now)
		return
	}
	gap := now.Sub(m.SteadyAt)
	switch {
	case m.SteadyAt.IsZero() && m.scoreDemandChange(m.SteadyDemand, demand, r.Window) >= minScore:
		m.Recent = [2]noiseSum{}
	case now.Sub(m.ShortAt) < m.Longest/3: // the rest of the step is about to leave the window
	case !m.SteadyAt.IsZero() && gap <= maxNoiseGap:
		change := demand - m.SteadyDemand
		if r.Window > 0 {
			change *= r.Window.Seconds()
		}
		m.addDemandNoise(noiseSum{change * change / 2, gap.Seconds()})
	}
	m.SteadyDemand, m.SteadyAt = demand, now
}

// interruptSteadyDemand notes that the demand of now is not comparable with those before.
func (m *LaneMetricMemory) interruptSteadyDemand(now time.Time) {
	m.SteadyAt, m.ShortAt = time.Time{}, now
}

// addDemandNoise adds the noise of a time.
func (m *LaneMetricMemory) addDemandNoise(n noiseSum) {
	m.Recent[1].Squares += n.Squares
	m.Recent[1].Seconds += n.Seconds
	if m.Recent[1].Seconds < noiseDelay.Seconds() {
		return
	}
	kept := math.Exp(-m.Recent[0].Seconds / noiseMemory.Seconds())
	m.Noise = noiseSum{kept*m.Noise.Squares + m.Recent[0].Squares, kept*m.Noise.Seconds + m.Recent[0].Seconds}
	m.Recent = [2]noiseSum{m.Recent[1], {}}
}

// scoreDemand returns by how many standard deviations a demand over a window exceeds the steady demand, or the replicas if these are
// fewer: the autoscaler has seen that the demand fell. It is 0 while too little is known, and infinite if the demand never varied.
func (m *LaneMetricMemory) scoreDemand(demand float64, window time.Duration, replicas int32) float64 {
	steady := min(m.SteadyDemand, float64(replicas))
	if demand <= steady {
		return 0
	}
	return m.scoreDemandChange(steady, demand, window)
}

// scoreDemandChange returns the standard deviations between two demands, of which the second was taken over a window.
//
// Over a window the demand is a count of independent batches, of size v/steady each. A Poisson count has a longer tail than a normal
// one. The score is the root of its likelihood ratio, √(2 (k ln(k/k₀) - k + k₀)), for k batches where k₀ are expected.
func (m *LaneMetricMemory) scoreDemandChange(steady, demand float64, window time.Duration) float64 {
	seconds := m.Noise.Seconds + m.Recent[0].Seconds + m.Recent[1].Seconds
	if demand == steady || seconds < settleFor.Seconds()/2 {
		return 0
	}
	variance := (m.Noise.Squares + m.Recent[0].Squares + m.Recent[1].Squares) / seconds
	switch {
	case variance == 0:
		return math.Inf(1)
	case window == 0:
		return math.Abs(demand-steady) / math.Sqrt(variance)
	case steady <= 0: // rare requests, and none within the longest window
		return demand / math.Sqrt(variance/window.Seconds())
	}
	batch := variance / steady
	k, expected := demand*window.Seconds()/batch, steady*window.Seconds()/batch
	if k == 0 {
		return math.Sqrt(2 * expected)
	}
	return math.Sqrt(2 * max(0, k*math.Log(k/expected)-k+expected))
}
