// Counts by cell, and the search for the split at which the rate changes.

package window

import (
	"math"
	"slices"
)

const (
	// minDeviance is the least G of two parts that differ, if both are as long as the longest window: 4.9 standard
	// deviations. With 16 a step of ×1.5 from 40 requests/s is found a second sooner (the median is 4.1 s, not 5.2).
	// But then, in four of 60 hours of steady traffic, an HPA asks for a further replica, which it keeps; with 24 in
	// no hour.
	minDeviance = 24
	// minBlur is the correction for continuity: counts are whole numbers.
	minBlur = 0.5
	// pageBlur is how much older than it looks the page of a sole pod may be, in scrape intervals: a cache serves it, or what its
	// process counted last is lost by a restart.
	pageBlur = 1
	// moveBlur is the time by which counts seem to have moved at another time, in scrape intervals; see ChooseTotal.
	moveBlur = 0.5
	// minTrimDeviance is the least G for leaving out the old end of the newer part: one standard deviation. Leaving
	// it out by mistake costs some events. Keeping it by mistake costs the bias of a whole increment.
	minTrimDeviance = 1
	// maxTrimIntervals bounds the intervals left out: increments with a step inside are in the two intervals around it.
	maxTrimIntervals = 2
)

// cellCounts are the counted and expected events, by the cell of the grid in which their increments began.
type cellCounts struct {
	n, e       [maxCells]float64
	sumN, sumE [maxCells]float64 // of a cell and all newer cells
	phi        float64           // variance of the counts, as a multiple of a Poisson process's
	blur       float64           // events by which parts differ by mistake
}

// youngPod is a pod with its first sample at a cell within the longest window.
type youngPod struct {
	history History
	since   int
}

// addPodEventHistories adds all pods. It returns the young pods, youngest first.
func (c *cellCounts) addPodEventHistories(g *ageGrid, pods []History) (young []youngPod) {
	for _, h := range pods {
		oldest, whole := c.addPodEventHistory(g, h, 1)
		if whole && len(h) > 0 && oldest+1 < g.cells-cellsPerInterval {
			// Without jitter, its next increment would be in the next older cell.
			young = append(young, youngPod{history: h, since: oldest + 1})
		}
	}
	slices.SortFunc(young, func(a, b youngPod) int { return a.since - b.since })
	return young
}

// addPodEventHistory adds a pod, or with sign −1 removes it. It returns the cell of the oldest increment. whole is set if no
// increment is older than the longest window.
func (c *cellCounts) addPodEventHistory(g *ageGrid, h History, sign float64) (oldest int, whole bool) {
	begin := len(h)
	events, span := 0.0, int64(0)
	for begin > 0 && g.now-h[begin-1].From <= g.maxWindow {
		begin--
		events += h[begin].Count
		span += h[begin].To - h[begin].From
	}
	rate := sign * events / float64(span)
	for _, i := range h[begin:] {
		cell := g.ageCellIndex(i.From)
		c.n[cell] += sign * i.Count
		c.e[cell] += rate * float64(i.To-i.From)
		oldest = max(oldest, cell)
	}
	return oldest, begin == 0
}

// accumulateAgeCells computes the sums up to cell w.
func (c *cellCounts) accumulateAgeCells(w int) {
	n, e := 0.0, 0.0
	for i := range w + 1 {
		n += c.n[i]
		e += c.e[i]
		c.sumN[i], c.sumE[i] = n, e
	}
}

// findAgeCellSplit returns the last cell of the newer part, if a window back to cell w has two parts that differ.
func (c *cellCounts) findAgeCellSplit(g *ageGrid, w int) (at int, found bool) {
	most := 0.0
	for s := range w {
		n1, e1, n2, e2 := c.splitAgeCellEvents(s, w)
		// G is at most twice Pearson's χ², which needs no logarithm. In steady traffic hardly a split passes this
		// check.
		if e1 <= 0 || e2 <= 0 || pearsonChi2(n1, e1, n2, e2) < minDeviance/2*c.phi {
			continue
		}
		newer := g.edges[s]
		excess := splitDeviance(n1, e1, n2, e2, c.blur)/c.phi - minDeviance - g.splitThresholdMargin(newer) - g.splitThresholdMargin(g.edges[w]-newer)
		if excess > most {
			most, at, found = excess, s, true
		}
	}
	return at, found
}

// trimAgeCellSplit moves a split of a window back to cell w to newer cells, at most maxTrimIntervals. It continues while the cells
// just newer than the split, at most an interval of them, look as if the change were within them.
func (c *cellCounts) trimAgeCellSplit(s, w int) int {
	n1, e1, n2, e2 := c.splitAgeCellEvents(s, w)
	rose := n1*e2 > n2*e1
	last := max(0, s-maxTrimIntervals*cellsPerInterval)
	for d := 1; d <= cellsPerInterval && s-d >= last; d++ {
		n1, e1, n2, e2 := c.splitAgeCellEvents(s-d, s)
		if e1 > 0 && e2 > 0 && (n1*e2 > n2*e1) == rose && splitDeviance(n1, e1, n2, e2, minBlur) > minTrimDeviance*c.phi {
			s, d = s-d, 0
		}
	}
	return s
}

// splitAgeCellEvents returns the counted and expected events in the cells up to s, and in the cells behind it up to w.
func (c *cellCounts) splitAgeCellEvents(s, w int) (n1, e1, n2, e2 float64) {
	return c.sumN[s], c.sumE[s], c.sumN[w] - c.sumN[s], c.sumE[w] - c.sumE[s]
}

// splitDeviance returns G; see the package comment.
func splitDeviance(n1, e1, n2, e2, blur float64) float64 {
	m1 := (n1 + n2) * e1 / (e1 + e2)
	m2 := n1 + n2 - m1
	correction := max(-blur, min(blur, m1-n1))
	return 2 * (devianceTerm(n1+correction, m1) + devianceTerm(n2-correction, m2))
}

func devianceTerm(n, m float64) float64 {
	if n <= 0 {
		return 0 // the limit of n ln n
	}
	return n * math.Log(n/m)
}

// pearsonChi2 returns Pearson's statistic of the same test.
func pearsonChi2(n1, e1, n2, e2 float64) float64 {
	d := n1*e2 - n2*e1
	if d == 0 {
		return 0
	}
	return d * d / ((n1 + n2) * e1 * e2)
}
