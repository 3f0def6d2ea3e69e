package query

import (
	"slices"

	"github.com/prometheus/prometheus/promql"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/window"
)

// evalBuffers is what an evaluation is made of, to be used again by a later one: it grows to what evaluations need, and
// stays. Nothing that an evaluation returns is in it.
type evalBuffers struct {
	times      sliceArena[int64]
	values     sliceArena[float64]
	increments sliceArena[window.Increment]
	pods       sliceArena[scannedPod]
	objects    sliceArena[scannedObject]
	elements   sliceArena[vectorElement]
	points     []promql.FPoint
	series     [][]scannedSeries
	totals     []aggregateTotal
	results    []evalResult
	byKey      map[uint64]int
	byPod      []int32
	hashBuffer []byte
}

// maxKeptKeys is how many groups the map is kept for: clearing a large one takes as long as filling it did.
const maxKeptKeys = 1000

// resetBuffers takes back everything that was handed out.
func (b *evalBuffers) resetBuffers() {
	b.times.used, b.values.used, b.increments.used = 0, 0, 0
	b.pods.clearBlock()
	b.objects.clearBlock()
	b.elements.clearBlock()
	clear(b.results)
	for i := range b.series {
		clear(b.series[i]) // the labels of series that may be dropped
	}
}

// resetSeriesLists are n empty lists of series.
func (b *evalBuffers) resetSeriesLists(n int) [][]scannedSeries {
	for len(b.series) < n {
		b.series = append(b.series, nil)
	}
	for i := range b.series {
		b.series[i] = b.series[i][:0]
	}
	return b.series[:n]
}

// keyPositions are where in a list something with a key is. They are good until the next ones are asked for.
type keyPositions struct {
	byKey map[uint64]int
	byPod []int32 // the position and one; in position of byKey, where keys are the ids of pods, which begin at 0
}

// newKeyPositions are empty ones for the keys of a grouping.
func (in *formulaInput) newKeyPositions(g labelGrouping) keyPositions {
	if g.byPod {
		in.byPod = slices.Grow(in.byPod[:0], len(in.orderedPods))[:len(in.orderedPods)]
		clear(in.byPod)
		return keyPositions{byPod: in.byPod}
	}
	if in.byKey == nil || len(in.byKey) > maxKeptKeys {
		in.byKey = map[uint64]int{}
	}
	clear(in.byKey)
	return keyPositions{byKey: in.byKey}
}

// findOrAddKey is the position of a key, which is next if none is known yet.
func (p keyPositions) findOrAddKey(key uint64, next int) (position int, known bool) {
	if p.byPod == nil {
		if position, known = p.byKey[key]; !known {
			p.byKey[key], position = next, next
		}
		return position, known
	}
	if at := p.byPod[key]; at > 0 {
		return int(at) - 1, true
	}
	p.byPod[key] = int32(next) + 1 //nolint:gosec // there are fewer than 2³¹ pods
	return next, false
}

// sliceArena hands out slices of a few large ones: a survey makes thousands, and drops them together.
type sliceArena[T any] struct {
	block []T
	used  int
}

// allocSlice returns an empty slice for n elements.
func (a *sliceArena[T]) allocSlice(n int) []T {
	if a.used+n > len(a.block) {
		// What was handed out of the old block keeps it until the survey is over.
		a.block, a.used = make([]T, max(n, 1024, 2*len(a.block))), 0
	}
	s := a.block[a.used : a.used : a.used+n]
	a.used += n
	return s
}

// allocElement returns an element, in an arena that is cleared before it is used again.
func (a *sliceArena[T]) allocElement() *T { return &a.allocSlice(1)[:1][0] }

// clearBlock gives back everything that was handed out.
func (a *sliceArena[T]) clearBlock() {
	clear(a.block[:a.used])
	a.used = 0
}
