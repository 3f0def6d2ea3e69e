// The estimate of φ: how much counts vary beyond Poisson.

package window

import (
	"math"
	"slices"
)

const (
	// cellsApart is the distance of cells that share no increment. Pods are scraped at phases of their own, so that an
	// increment spans two neighbouring cells.
	cellsApart = 2
	// minDenseEvents is the least mean count of a cell for the robust estimate: χ² has few values with fewer.
	minDenseEvents = 10
	// minPodEvents is the least mean count of a pod's increments for an estimate from them: Poisson's then are hardly ever 0.
	minPodEvents = 5
	// minAsleep is the number of empty increments after which a pod wakes up.
	minAsleep = 5
	// maxEmptyShare is the largest share of empty cells for the robust estimate.
	maxEmptyShare = 0.25
	// levelHalf is half the length of the running median, in cells. It leaves the edges of levels of four cells and more as they are.
	levelHalf = 3
	// maxLevelledShare is the share of an estimate of φ that remains at most without the levels of the load, if many steps disturb it.
	// Otherwise the levels are chance.
	maxLevelledShare = 1.0 / 3
	// trimmedShare is the share of the differences that the robust estimate drops, the largest first, because steps and spikes are
	// among them. A load that goes up for ten seconds in every thirty has no more.
	trimmedShare = 0.3
	// trimmedChi2Mean is the mean of χ² with one degree of freedom without its largest 30 %:
	// P(χ²₃ < 1.074) / 0.7, where P(χ²₁ < 1.074) = 0.7.
	trimmedChi2Mean = 0.3096
	// sharedShare is the least part of φ that the differences show: neighbouring cells share the batches that are spread over
	// pods with phases of their own. Simulated: without it, an hour of such batches has a standard deviation of up to 1.25
	// times the longest window's, with it 1.09.
	sharedShare = 0.75
	// minPhi is the least estimate used: estimates of Poisson traffic hardly reach it.
	minPhi = 2
	// minEvidence is the least share of the counts that must remain beside one step for an estimate.
	minEvidence = 0.1
)

// totalCounts are the counts of all pods in cells of equal length, newest first. An increment that spans cells is
// divided among them by time. The variances are of independent Poisson increments.
type totalCounts struct {
	cells        int
	n, variance  [maxCells]float64
	stepVariance [maxCells]float64 // of the difference of a cell and the next older
}

// newAgeCellTotals counts the events of the pods in the cells before end.
func newAgeCellTotals(pods []History, end, step int64, cells int) *totalCounts {
	t := &totalCounts{cells: min(maxCells, cells)}
	begin := end - int64(t.cells)*step
	for _, h := range pods {
		for i := len(h) - 1; i >= 0 && h[i].To > begin; i-- {
			if h[i].Count > 0 {
				t.spreadEventIncrement(h[i], end, step)
			}
		}
	}
	return t
}

// spreadEventIncrement divides an increment among the cells that it spans.
func (t *totalCounts) spreadEventIncrement(i Increment, end, step int64) {
	from, to := max(end-i.To, 0), min(end-i.From, int64(t.cells)*step) // ages
	newer := 0.0                                                       // the share of the next newer cell
	cell := int(from / step)
	for ; from < to; cell++ {
		edge := min(int64(cell+1)*step, to)
		share := float64(edge-from) / float64(i.To-i.From)
		t.n[cell] += share * i.Count
		t.variance[cell] += share * share * i.Count
		if cell > 0 {
			t.stepVariance[cell-1] += (share - newer) * (share - newer) * i.Count
		}
		newer, from = share, edge
	}
	if cell > 0 {
		t.stepVariance[cell-1] += newer * newer * i.Count
	}
}

// estimateDispersion estimates φ from the differences between cells. It returns 1 where counts vary as Poisson's do, and
// +Inf without enough evidence: a single batch looks like a step. The histories of pods may be their total; each has the histories of single pods.
func estimateDispersion(pods, each []History, g *ageGrid) float64 {
	step := max(g.interval, (g.maxWindow+maxCells-1)/maxCells)
	end := g.commonAgeCellEnd(pods)
	known := g.maxWindow // before the first increment nothing is known
	if age := end - oldestEventIncrement(pods); age < known {
		known = age
	}
	t := newAgeCellTotals(g.punctualEventHistories(pods), end, step, int(known/step))
	phi := t.steplessDispersion()
	if t.hasDenseAgeCells() {
		phi = t.trimmedDispersion()
	}
	phi = min(phi, awakenedDispersion(each))
	if phi = max(phi, podwiseDispersion(each)); phi < minPhi {
		return 1
	}
	return phi / sharedShare
}

// podwiseDispersion returns the dispersion of the pods' own increments, from the smaller differences of neighbours; 1 unless
// many are empty and the others large. Batches whose period is a few intervals, at phases of their own in each pod, add up to a total that
// looks steady in most cells and not in some.
func podwiseDispersion(pods []History) float64 {
	var ratios []float64
	events, increments, empty := 0.0, 0, 0
	if haveOneBatchEach(pods) {
		return math.Inf(1)
	}
	for _, h := range pods {
		// The first increment with events may have a step inside: a service that wakes up is no batch.
		first := slices.IndexFunc(h, func(i Increment) bool { return i.Count > 0 })
		for i := first + 2; first >= 0 && i < len(h); i++ {
			if increments++; h[i].Count == 0 {
				empty++
			}
			n := h[i].Count + h[i-1].Count
			if older, newer := h[i-1].To-h[i-1].From, h[i].To-h[i].From; n == 0 || 2*older > 3*newer || 2*newer > 3*older {
				continue // missed scrapes are between
			}
			d := h[i].Count - h[i-1].Count
			ratios, events = append(ratios, d*d/n), events+n
		}
	}
	if len(ratios) == 0 || events < 2*minPodEvents*float64(len(ratios)) || float64(empty) <= maxEmptyShare*float64(increments) {
		return 1
	}
	return meanEventsWithoutSteps(ratios)
}

// haveOneBatchEach reports whether each pod with events has them in a single increment, and many: batches, for all that is
// known.
func haveOneBatchEach(pods []History) bool {
	events, increments := 0.0, 0
	for _, h := range pods {
		full := 0
		for _, i := range h {
			if i.Count > 0 {
				events, full = events+i.Count, full+1
			}
		}
		if full > 1 || full == len(h) && full > 0 {
			return false
		}
		increments += full
	}
	return events >= minDenseEvents*float64(increments) && increments > 0
}

// awakenedDispersion returns the dispersion of pods that counted nothing for a while, from the increments after the first with
// events, which has the step inside; +Inf for other pods, and until half of them have two more. A batch is in one increment of
// each pod alone.
func awakenedDispersion(pods []History) float64 {
	squares, events, awake, known := 0.0, 0.0, 0, 0
	for _, h := range pods {
		first := slices.IndexFunc(h, func(i Increment) bool { return i.Count > 0 })
		if first < 0 {
			continue
		}
		if first < minAsleep {
			return math.Inf(1)
		}
		if awake++; first+2 < len(h) {
			known++
		}
		for i := first + 2; i < len(h); i++ {
			d := h[i].Count - h[i-1].Count
			squares, events = squares+d*d, events+h[i].Count+h[i-1].Count
		}
	}
	if 2*known < awake || events == 0 {
		return math.Inf(1)
	}
	return squares / events
}

// meanEventsWithoutSteps returns the mean of the smaller of squared and normalized differences, which steps hardly disturb.
func meanEventsWithoutSteps(squares []float64) float64 {
	slices.Sort(squares)
	squares = squares[:len(squares)-int(trimmedShare*float64(len(squares)))]
	sum := 0.0
	for _, s := range squares {
		sum += s
	}
	return sum / float64(len(squares)) / trimmedChi2Mean
}

// oldestEventIncrement returns the begin of the oldest increment.
func oldestEventIncrement(pods []History) int64 {
	oldest := int64(math.MaxInt64)
	for _, h := range pods {
		if len(h) > 0 {
			oldest = min(oldest, h[0].From)
		}
	}
	return oldest
}

// isPunctualEventHistory reports whether the newest increment of a pod is not late.
func (g *ageGrid) isPunctualEventHistory(h History) bool {
	return len(h) > 0 && float64(g.now-h[len(h)-1].From) < maxLateIntervals*float64(g.interval)
}

// punctualEventHistories returns the pods that are not late; the missing counts of late pods would look like a step. It returns all pods if all are late.
func (g *ageGrid) punctualEventHistories(pods []History) []History {
	late := func(h History) bool { return len(h) > 0 && !g.isPunctualEventHistory(h) }
	if !slices.ContainsFunc(pods, late) || !slices.ContainsFunc(pods, g.isPunctualEventHistory) {
		return pods
	}
	return slices.DeleteFunc(slices.Clone(pods), late)
}

// commonAgeCellEnd returns the time until which every punctual pod has counted.
func (g *ageGrid) commonAgeCellEnd(pods []History) int64 {
	end := g.now
	for _, h := range pods {
		if g.isPunctualEventHistory(h) {
			end = min(end, h[len(h)-1].To)
		}
	}
	return end
}

// hasDenseAgeCells reports whether events are in nearly all cells, and many.
func (t *totalCounts) hasDenseAgeCells() bool {
	sum, empty := 0.0, 0
	for _, n := range t.n[:t.cells] {
		sum += n
		if n == 0 {
			empty++
		}
	}
	return sum >= minDenseEvents*float64(t.cells) && float64(empty) <= maxEmptyShare*float64(t.cells)
}

// trimmedDispersion returns the mean of the smaller differences of neighbouring cells (von Neumann, Distribution of the ratio of the
// mean square successive difference to the variance, 1941). A few steps and spikes do not disturb it. Where many steps do, the levels of
// the load are subtracted.
func (t *totalCounts) trimmedDispersion() float64 {
	phi := t.dispersionAroundLevels(func(int) float64 { return 0 })
	if levelled := t.dispersionAroundLevels(t.runningMedian); levelled <= maxLevelledShare*phi {
		return levelled
	}
	return phi
}

// dispersionAroundLevels is trimmedDispersion with a level of each cell subtracted.
func (t *totalCounts) dispersionAroundLevels(level func(cell int) float64) float64 {
	var room [maxCells]float64
	pairs, newer := room[:0], t.n[0]-level(0)
	for i := range max(0, t.cells-1) {
		older := t.n[i+1] - level(i+1)
		if t.stepVariance[i] > 0 {
			d := newer - older
			pairs = append(pairs, d*d/t.stepVariance[i])
		}
		newer = older
	}
	return meanEventsWithoutSteps(pairs)
}

// runningMedian returns the level of a cell: the median of the seven cells around it, or at an end of those nearest to it; 0 if there
// are fewer. A running median of 2N+1 values leaves edges between levels of more than N values as they are (Tukey, Exploratory Data
// Analysis, 1977; Gallagher and Wise, A theoretical analysis of the properties of median filters, 1981).
func (t *totalCounts) runningMedian(cell int) float64 {
	const length = 2*levelHalf + 1
	if t.cells < length {
		return 0
	}
	begin := min(max(0, cell-levelHalf), t.cells-length)
	var around [length]float64
	copy(around[:], t.n[begin:])
	slices.Sort(around[:])
	return around[levelHalf]
}

// steplessDispersion returns the mean of the differences of cells, without those around one cell, which is chosen so that
// the least remains: a step explains no more. Where batches are rare, each of them makes some of the differences, and
// none can be dropped. Of several distances between cells the greatest mean counts: at some, periodic batches look steady.
func (t *totalCounts) steplessDispersion() (phi float64) {
	phi = t.leastStepDispersion(cellsApart)
	for _, apart := range []int{cellsApart - 1, cellsApart + 1} {
		if more := t.leastStepDispersion(apart); !math.IsInf(more, 0) {
			phi = max(phi, more)
		}
	}
	return phi
}

// leastStepDispersion is steplessDispersion for cells at a distance.
func (t *totalCounts) leastStepDispersion(apart int) float64 {
	squares, variances := 0.0, 0.0
	for i := range max(0, t.cells-apart) {
		square, variance := t.ageCellDifference(i, apart)
		squares, variances = squares+square, variances+variance
	}
	least := math.Inf(1)
	for step := range t.cells {
		square, variance := squares, variances
		for i := max(0, step-apart); i <= step && i < t.cells-apart; i++ {
			s, v := t.ageCellDifference(i, apart)
			square, variance = square-s, variance-v
		}
		if variance > minEvidence*variances {
			least = min(least, square/variance)
		}
	}
	return least
}

// ageCellDifference returns the squared difference of a cell from an older cell, and its variance. Neighbours share
// increments.
func (t *totalCounts) ageCellDifference(cell, apart int) (square, variance float64) {
	d := t.n[cell] - t.n[cell+apart]
	if apart == 1 {
		return d * d, t.stepVariance[cell]
	}
	return d * d, t.variance[cell] + t.variance[cell+apart]
}
