// Package window chooses the span over which a group's counters are read, from the increments themselves.
//
// A long window is calm and slow, a short one is fast and noisy. Choose starts from the newest increment of every pod
// and extends the window backwards for as long as nothing in it contradicts one steady rate (adaptive windowing:
// Bifet and Gavaldà, Learning from time-changing data with adaptive windowing, 2007). Steady traffic is read over the
// longest window; after a step the window begins at the step.
//
// # The test
//
// A window that reaches back to w is split at every s < w, into the increments that began after s and those that
// began between w and s:
//
//	n₁, n₂  the events counted in the newer and in the older part
//	e₁, e₂  those expected, if every pod had its own mean rate throughout: Σ rate × duration
//	mᵢ      (n₁ + n₂) eᵢ / (e₁ + e₂): those expected if both parts had the same rate, whatever it is
//	G       2 (n₁ ln n₁/m₁ + n₂ ln n₂/m₂), with n₁ and n₂ moved towards m₁ and m₂ by ½
//
// The parts differ if
//
//	G/φ > 24 + 2 ln(L/ℓ₁) + 2 ln(L/ℓ₂)
//
// where L is the longest window, ℓ₁, ℓ₂ are the lengths of the parts, and φ ≥ 1 is how much more the counts vary than
// Poisson's from one moment to the next. At the first w at which some split differs, the window ends at the one that
// exceeds its threshold most. Increments that the step fell into lie at that end: what differs there from the rest by
// more than chance makes likely (G/φ > 1), in the direction of the older rate, is left out too, so that 40 → 400
// requests/s does not read 350 for as long as the window has one of them.
//
// Why so:
//
//   - Counts are close to Poisson, given their sum the split is binomial, and G, the likelihood ratio (Wilks 1938), is
//     the square of a standard normal variable. The square roots of Anscombe (1948), which give 2√n a variance of
//     1, do the same for large counts; for none where ten are expected, they claim 5.2 standard deviations, G with the
//     correction for continuity 4.0, the exact probability 3.9. At 5 requests/s and intervals of 2 s ten are expected.
//   - eᵢ compares every pod with itself. Pods differ in load, miss scrapes, and are scraped at phases of their
//     own, so that the parts hold different shares of each; a mean over pods would take that for a change.
//   - A pod that is watched for less than w says nothing about the older part and takes no part in the test. A pod
//     that starts takes load off the others: that is a change of theirs, which its own load would hide.
//   - Events that come in batches, as a browser's requests do, vary more: φ is estimated from the differences between
//     neighbouring moments, of which a step is in a few only (see dispersion.go). Without it, batches of five give
//     short windows in three reads of four, and totals of 3.6 × the standard deviation.
//   - A false alarm costs the more, the shorter the window it leaves, and there are more short parts than long ones.
//     The logarithms (as in Dümbgen and Spokoiny, Multiscale testing, 2001) make up for both.
//
// # How often it is wrong
//
// Derived: a standard normal variable exceeds √G with a probability under exp(−G/2)/√(πG/2), to both sides. For the
// newest 4 s of 60 s that is 6 in a hundred million, for the newest half 2 in ten million; dozens of tests at each length,
// most of them alike, make some tens of a million reads. Measured: docs/benchmarks.md, which the tests of this package
// write.
package window

import "time"

// Choose returns the window over which to read the counters of a group of pods as of now, in milliseconds: longest,
// unless their rate changed within that. It is never shorter than what holds the newest increment of every pod that is
// scraped on time, so that each has a value; whoever reads a pod that is late, or that is watched for less than the
// window, has to see to that. Increments end at now or before.
//
// It takes time proportional to the increments, and allocates nothing of their number unless pods are young.
func Choose(pods []History, now int64, longest time.Duration) time.Duration {
	g, ok := newAgeGrid(pods, now, longest.Milliseconds())
	if !ok {
		return longest
	}
	var c cellCounts
	young := c.addPods(g, pods)
	c.phi = c.estimateDispersion(g)
	for w := 1; w < g.cells; w++ {
		for len(young) > 0 && young[0].since < w {
			c.addPod(g, young[0].history, -1)
			young = young[1:]
		}
		c.accumulateCells(w)
		if s, found := c.findSplit(g, w); found {
			return time.Duration(g.edges[c.trimSplit(s, w)]) * time.Millisecond
		}
	}
	return longest
}
