package window

import "slices"

const (
	// blockEvents is how many events a block of cells has at least: with fewer, χ² has few values.
	blockEvents = 10
	// leastPairs is how many pairs of blocks an estimate takes.
	leastPairs = 10
	// trimmed is the part of the pairs, those that differ most, that is left out: steps are among them, and even a
	// load that goes on and off every ten seconds has no more.
	trimmed = 0.2
	// trimmedMean is the mean of χ² with one degree of freedom without its largest fifth:
	// P(χ²₃ < 1.642) / 0.8, where P(χ²₁ < 1.642) = 0.8.
	trimmedMean = 0.4377
	// surely is the least estimate that is used. Of Poisson traffic one in ten reaches it, and costs a small step half
	// a second.
	surely = 1.5
)

// dispersion is an estimate of φ, from how much neighbouring blocks of cells differ; 1 if nothing speaks for more.
func (c *counts) dispersion(g *grid) float64 {
	var room [maxCells]float64
	pairs := room[:0]
	var n, e, lastN, lastE float64
	for i := range g.cells {
		n += c.n[i]
		e += c.e[i]
		if n < blockEvents || e <= 0 {
			continue
		}
		if lastE > 0 {
			pairs = append(pairs, chi2(n, e, lastN, lastE))
		}
		lastN, lastE, n, e = n, e, 0, 0
	}
	if len(pairs) < leastPairs {
		return 1
	}
	slices.Sort(pairs)
	pairs = pairs[:len(pairs)-int(trimmed*float64(len(pairs)))]
	sum := 0.0
	for _, p := range pairs {
		sum += p
	}
	if phi := sum / float64(len(pairs)) / trimmedMean; phi >= surely {
		return phi
	}
	return 1
}
