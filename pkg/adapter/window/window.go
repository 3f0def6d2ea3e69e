// Choose, and the test behind it.

// Package window chooses by statistics the span over which a group's counters are read: batches, dispersion and steps in the rate of
// their increments.
//
// A long window is calm and slow, a short one is fast and noisy. Choose starts from the newest increment of every pod
// and extends the window backwards for as long as nothing in it contradicts one steady rate (adaptive windowing:
// Bifet and Gavaldà, Learning from time-changing data with adaptive windowing, 2007). Steady traffic is read over the
// longest window; after a step the window begins at the step.
//
// # The test
//
// A window that reaches back to w is split at every s < w, into the increments after s and the increments between w
// and s, by their begin:
//
//	n₁, n₂  the events counted in the newer and in the older part
//	e₁, e₂  the events expected, if every pod had its own mean rate throughout: Σ rate × duration
//	mᵢ      (n₁ + n₂) eᵢ / (e₁ + e₂): the events expected if both parts had the same rate
//	G       2 (n₁ ln n₁/m₁ + n₂ ln n₂/m₂), with n₁ and n₂ moved towards m₁ and m₂ by ½
//
// The parts differ if
//
//	G/φ > 24 + 2 ln(L/ℓ₁) + 2 ln(L/ℓ₂)
//
// where L is the longest window, ℓ₁, ℓ₂ are the lengths of the parts, and φ ≥ 1 is the variance of the counts from one
// moment to the next, as a multiple of Poisson's. At the first w with a split whose parts differ, the window ends at the
// split that exceeds its threshold most. Increments with the step inside lie at that end. Their part is left out too if
// it differs from the rest by more than chance makes likely (G/φ > 1), in the direction of the older rate. Otherwise
// 40 → 400 requests/s would read 350 for as long as the window has such an increment.
//
// Why so:
//
//   - Counts are close to Poisson, given their sum the split is binomial, and G, the likelihood ratio (Wilks 1938), is
//     the square of a standard normal variable. The square roots of Anscombe (1948), which give 2√n a variance of
//     1, do the same for large counts; for none where ten are expected, they claim 5.2 standard deviations, G with the
//     correction for continuity 4.0, the exact probability 3.9. At 5 requests/s and intervals of 2 s ten are expected.
//   - eᵢ compares every pod with itself. Pods differ in load, miss scrapes, and are scraped at phases of their
//     own, so that the parts hold different shares of each. A mean over pods would take this for a change.
//   - A pod with samples for less than w has no older part and takes no part in the test. A starting pod takes load
//     off the others: this changes their rates, and its own load would hide the change.
//   - Events in batches, such as a browser's requests, vary more: φ is estimated from the differences between
//     neighbouring moments of the total, of which a step is in a few only, and where steps are many, without the levels
//     of the load (see dispersion.go). Without it, batches of five give short windows in three reads of four, and
//     totals of 3.6 × the standard deviation. A few rare batches are no evidence of a step: a single one leaves the
//     longest window.
//   - A part may have a batch of each pod more or less than its length explains: where the counts of a pod differ by multiples of a size, n₁ and n₂
//     move by it, and for several pods by the root of the sum of the squares. Periodic batches that come nearly once in an interval look steady,
//     and then twice in some; rare batches beside an even load look like steps.
//   - The newest page of a group's only pod may be older than it looks. There n₁ and n₂ move by the events of an interval,
//     not by ½: a change on a single page is no step, unless it is more than the age of the page explains.
//   - A false alarm costs the more, the shorter the window it leaves, and there are more short parts than long ones.
//     The logarithms (as in Dümbgen and Spokoiny, Multiscale testing, 2001) make up for both.
//
// # How often it is wrong
//
// Derived: a standard normal variable exceeds √G with a probability under exp(−G/2)/√(πG/2), to both sides. For the
// newest 4 s of 60 s this is 6 in a hundred million, for the newest half 2 in ten million; dozens of tests at each length,
// most of them alike, make some tens of a million reads. Measured: REPORT.md, which the tests of this package
// write.
package window

import (
	"math"
	"time"
)

// Counter is a counter of events in a group of pods.
type Counter struct {
	Pods []History
	// Among has the events of which the counter counts a part, such as the slow ones; nil if it counts all. How much the
	// part varies follows from how much they do: few events of the part are no evidence.
	Among []History
	// each has the single pods if Pods has their total.
	each []History
	// Sole is set if Pods has the only pod of its group: a change on the newest page alone may be the age of the page. Changes on the
	// pages of several pods support each other.
	Sole bool
	// blur is the time by which counts are dated wrong, in scrape intervals.
	blur float64
}

// Choose returns the window for a counter as of now, in milliseconds: longest, unless its rate changed within it. The
// window always holds the newest increment of every punctually scraped pod, so that each of them has a value. The caller
// has to handle late pods and pods with less history than the window. Increments end at now or before.
//
// It takes time proportional to the increments, and allocates nothing of their number unless pods are young.
func Choose(counter Counter, now int64, longest time.Duration) time.Duration {
	g, ok := newAgeGrid(counter.Pods, now, longest.Milliseconds())
	if !ok {
		return longest
	}
	var c cellCounts
	young := c.addPodEventHistories(g, counter.Pods)
	if counter.Sole {
		counter.blur = pageBlur
	}
	c.phi, c.blur = 1, counter.counterBlur(g)
	estimated := false
	for w := 1; w < g.cells; w++ {
		for len(young) > 0 && young[0].since < w {
			c.addPodEventHistory(g, young[0].history, -1)
			young = young[1:]
		}
		c.accumulateAgeCells(w)
		s, found := c.findAgeCellSplit(g, w)
		if found && !estimated { // in steady traffic hardly ever
			estimated = true
			pods := counter.singlePodEventHistories()
			c.phi = estimateDispersion(counter.varyingWindowEvents(), pods, g)
			c.blur = max(c.blur, historyBatchBlur(pods))
			s, found = c.findAgeCellSplit(g, w)
		}
		if found {
			return time.Duration(g.edges[c.trimAgeCellSplit(s, w)]) * time.Millisecond
		}
	}
	return longest
}

// counterBlur returns the number of events with an uncertain time, at the border of two parts.
func (c Counter) counterBlur(g *ageGrid) float64 {
	rates := 0.0
	for _, h := range c.Pods {
		if c.blur > 0 && len(h) > 0 {
			rates += h.meanEventHistoryRate(g)
		}
	}
	return max(minBlur, c.blur*float64(g.interval)*rates)
}

// historyBatchBlur returns the number of events by which a part differs if each pod has a batch of its own size more or less; 0 without batches.
func historyBatchBlur(pods []History) float64 {
	squares := 0.0
	for _, h := range pods {
		if size := h.batchSize(); size > 1 {
			squares += size * size
		}
	}
	return math.Sqrt(squares)
}

// batchSize returns the greatest common divisor of counts that differ: more than 1 if events come in batches of equal size, of which a part may
// have one more or less. Of single events it is soon known to be 1. Equal counts are an even rate.
func (h History) batchSize() float64 {
	size, differ := 0.0, false
	for _, i := range h {
		if size == 1 || i.Count-math.Trunc(i.Count) != 0 { // also of infinity
			return 1
		}
		differ = differ || i.Count != h[0].Count
		for rest := i.Count; rest != 0; {
			size, rest = rest, math.Mod(size, rest)
		}
	}
	if !differ {
		return 1
	}
	return size
}

// meanEventHistoryRate returns the mean rate within the longest window, per millisecond.
func (h History) meanEventHistoryRate(g *ageGrid) float64 {
	events, span := 0.0, int64(0)
	for _, i := range h {
		if g.now-i.From <= g.maxWindow {
			events, span = events+i.Count, span+i.To-i.From
		}
	}
	return events / float64(max(1, span))
}

// varyingWindowEvents returns the events that tell how much counts vary.
func (c Counter) varyingWindowEvents() []History {
	if c.Among != nil {
		return c.Among
	}
	return c.Pods
}

// singlePodEventHistories returns the events that tell how much counts of a single pod vary.
func (c Counter) singlePodEventHistories() []History {
	if c.each != nil {
		return c.each
	}
	return c.varyingWindowEvents()
}

// ChooseSettled is Choose for a group whose pods came or went some time before: it takes no batch for a step. One increment of each pod
// may have a batch more than the others.
func ChooseSettled(c Counter, now int64, longest time.Duration) time.Duration {
	c.blur = pageBlur
	return Choose(c, now, longest)
}

// ChooseTotal is Choose for a group whose pods come and go, and take load from each other: it tests their total. A pod
// counts nothing before its first increment and after its last. All pods are known until end, in milliseconds.
//
// Counts within an increment are divided by time, which is wrong where load moves: a pod that loses its load in the
// middle of an increment seems to have lost it earlier and later, by up to half of the load for half an interval each.
// Two parts must differ by more than that.
func ChooseTotal(c Counter, end int64, longest time.Duration) time.Duration {
	interval := meanTotalInterval(c.Pods)
	if interval <= 0 || longest.Milliseconds() < interval {
		return longest
	}
	total := Counter{Pods: []History{totalEventHistory(c.Pods, end, interval, longest)}, each: c.varyingWindowEvents(), blur: moveBlur}
	if c.Among != nil {
		total.Among = []History{totalEventHistory(c.Among, end, interval, longest)}
	}
	return Choose(total, end, longest)
}

// totalEventHistory returns the counts of all pods as a history, in cells of at least an interval that fill the longest window before end:
// what the window counts is tested, to its oldest moment.
func totalEventHistory(pods []History, end, interval int64, longest time.Duration) History {
	cells := min(longest.Milliseconds()/interval, maxCells)
	step := longest.Milliseconds() / cells
	t := newAgeCellTotals(pods, end, step, int(cells))
	total := make(History, t.cells)
	for i := range total {
		from := end - int64(i+1)*step
		total[t.cells-1-i] = Increment{From: from, To: from + step, Count: t.n[i]}
	}
	return total
}
