// The estimate of φ: how much counts vary beyond Poisson.

package window

import "slices"

const (
	// minBlockEvents is the least number of events in a block of cells: with fewer, χ² has few values.
	minBlockEvents = 10
	// minPairs is the least number of pairs of blocks for an estimate.
	minPairs = 10
	// trimmedShare is the share of the pairs that the estimate drops, the most different first, because steps are
	// among them. Even a load that goes on and off every ten seconds has no more.
	trimmedShare = 0.2
	// trimmedChi2Mean is the mean of χ² with one degree of freedom without its largest fifth:
	// P(χ²₃ < 1.642) / 0.8, where P(χ²₁ < 1.642) = 0.8.
	trimmedChi2Mean = 0.4377
	// minPhi is the least estimate used. One in ten estimates of Poisson traffic reaches it, which delays the
	// detection of a small step by half a second.
	minPhi = 1.5
)

// estimateDispersion estimates φ from the differences of neighbouring blocks of cells. It returns 1 without enough
// evidence for more.
func (c *cellCounts) estimateDispersion(g *ageGrid) float64 {
	var room [maxCells]float64
	pairs := room[:0]
	var n, e, lastN, lastE float64
	for i := range g.cells {
		n += c.n[i]
		e += c.e[i]
		if n < minBlockEvents || e <= 0 {
			continue
		}
		if lastE > 0 {
			pairs = append(pairs, pearsonChi2(n, e, lastN, lastE))
		}
		lastN, lastE, n, e = n, e, 0, 0
	}
	if len(pairs) < minPairs {
		return 1
	}
	slices.Sort(pairs)
	pairs = pairs[:len(pairs)-int(trimmedShare*float64(len(pairs)))]
	sum := 0.0
	for _, p := range pairs {
		sum += p
	}
	if phi := sum / float64(len(pairs)) / trimmedChi2Mean; phi >= minPhi {
		return phi
	}
	return 1
}
