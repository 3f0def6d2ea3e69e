package window

import "math"

const (
	// maxCells bounds the grid: the time of the tests grows with its square.
	maxCells = 64
	// cellsPerInterval is how many cells there are in a scrape interval. Pods are scraped at all phases of it, so that a
	// step can be told apart within it; four would find one of ×1.5 no sooner, and take four times as long.
	cellsPerInterval = 2
	// maxLateIntervals is how many intervals ago the newest increment of a pod may have begun at most, with some jitter; the
	// window does not grow for the sake of a pod that misses scrapes.
	maxLateIntervals = 2.2
)

// ageGrid divides the time before now into cells by age, newest first. The first holds the newest increment of each pod;
// the others are equally long, but for the last.
type ageGrid struct {
	now, maxWindow int64
	first, step    int64
	perStep        float64 // 1/step
	cells          int
	edges          [maxCells]int64 // ages at which cells end, not included
}

// newAgeGrid makes the grid for pods; there is none if they have no increments, or longest is no longer than what the
// newest of them need.
func newAgeGrid(pods []History, now, longest int64) (g *ageGrid, ok bool) {
	var sum, scraped int64
	for _, h := range pods {
		if len(h) > 0 {
			sum += h[len(h)-1].To - h[len(h)-1].From
			scraped++
		}
	}
	if sum <= 0 {
		return nil, false
	}
	interval := sum / scraped
	g = &ageGrid{now: now, maxWindow: longest, first: 2 * interval}
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

// cellIndex is the cell of an increment that began at from, later than longest ago.
func (g *ageGrid) cellIndex(from int64) int {
	age := g.now - from
	if age < g.first {
		return 0
	}
	// An integer division would take as long as all else that is done with an increment. The half keeps an age that
	// is a whole number of steps from being rounded down.
	return int((float64(age-g.first)+0.5)*g.perStep) + 1
}

// thresholdMargin is what a part of that length adds to the threshold.
func (g *ageGrid) thresholdMargin(length int64) float64 {
	return 2 * math.Log(float64(g.maxWindow)/float64(length))
}
