// The grid of ages that divides the past into cells.

package window

import "math"

const (
	// maxCells bounds the grid: the time of the tests grows with its square.
	maxCells = 64
	// cellsPerInterval is the number of cells in a scrape interval. Pods are scraped at all phases of it, so that two
	// cells locate a step within it. Four cells would find a step of ×1.5 no sooner, and take four times as long.
	cellsPerInterval = 2
	// maxLateIntervals bounds the age of a pod's newest increment, from its begin, in intervals with some jitter. The
	// window does not grow for a pod that misses scrapes.
	maxLateIntervals = 2.2
)

// ageGrid divides the time before now into cells by age, newest first. The first cell holds the newest increment of
// each pod. The others are equally long, except for the last.
type ageGrid struct {
	now, maxWindow int64
	interval       int64 // the mean length of the pods' newest increments
	first, step    int64
	perStep        float64 // 1/step
	cells          int
	edges          [maxCells]int64 // exclusive upper ages of the cells; that of the last is inclusive
}

// newAgeGrid makes the grid for pods. It returns false if they have no increments, or if their newest increments need
// longest or more.
func newAgeGrid(pods []History, now, longest int64) (g *ageGrid, ok bool) {
	interval := meanIncrementInterval(pods)
	if interval <= 0 {
		return nil, false
	}
	g = &ageGrid{now: now, maxWindow: longest, interval: interval, first: 2 * interval}
	for _, h := range pods {
		if len(h) > 0 {
			if age := now - h[len(h)-1].From; float64(age) < maxLateIntervals*float64(interval) {
				g.first = max(g.first, age+1)
			}
		}
	}
	if g.first >= longest {
		return nil, false
	}
	g.step = max(interval/cellsPerInterval, (longest-g.first)/(maxCells-1)+1)
	g.perStep = 1 / float64(g.step)
	for edge := g.first; g.cells == 0 || g.edges[g.cells-1] < longest; edge += g.step {
		g.edges[g.cells] = min(edge, longest)
		g.cells++
	}
	return g, true
}

// meanIncrementInterval returns the mean length of the pods' newest increments; 0 without any.
func meanIncrementInterval(pods []History) int64 {
	var sum, scraped int64
	for _, h := range pods {
		if len(h) > 0 {
			sum += h[len(h)-1].To - h[len(h)-1].From
			scraped++
		}
	}
	return sum / max(1, scraped)
}

// meanTotalInterval returns the mean length of all increments of the punctual pods; 0 without any. A pod that leaves is scraped sooner:
// cells of the length of its last increments would divide the others' increments, as if these were even.
func meanTotalInterval(pods []History) int64 {
	newest := int64(0)
	for _, h := range pods {
		if len(h) > 0 {
			newest = max(newest, h[len(h)-1].To)
		}
	}
	var sum, increments int64
	for _, h := range pods {
		if len(h) == 0 {
			continue
		}
		if last := h[len(h)-1]; float64(newest-last.To) >= maxLateIntervals*float64(last.To-last.From) {
			continue
		}
		for _, i := range h {
			sum += i.To - i.From
		}
		increments += int64(len(h))
	}
	return sum / max(1, increments)
}

// ageCellIndex returns the cell of an increment that began at from, at most maxWindow ago.
func (g *ageGrid) ageCellIndex(from int64) int {
	age := g.now - from
	if age < g.first {
		return 0
	}
	// An integer division would take as long as all other work for an increment. The half keeps an age of a whole
	// number of steps from being rounded down.
	return min(int((float64(age-g.first)+0.5)*g.perStep)+1, g.cells-1)
}

// splitThresholdMargin returns the addition to the threshold for a part of this length.
func (g *ageGrid) splitThresholdMargin(length int64) float64 {
	return 2 * math.Log(float64(g.maxWindow)/float64(length))
}
