// The memory of evaluations, kept from one evaluation to the next.

package query

import (
	"slices"

	"github.com/prometheus/prometheus/promql"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/window"
)

// evalBuffers is the memory of an evaluation. Later evaluations reuse it; it grows to their needs and never shrinks.
// Results of Evaluate never point into it.
type evalBuffers struct {
	times      sliceArena[int64]
	values     sliceArena[float64]
	increments sliceArena[window.Increment]
	pods       sliceArena[evaluatedPod]
	objects    sliceArena[evaluatedObject]
	elements   sliceArena[vectorElement]
	points     []promql.FPoint
	series     [][]evaluatedSeries
	totals     []aggregateTotal
	results    []evalResult
	byKey      map[uint64]int
	byPod      []int32
	hashBuffer []byte
}

// maxKeptKeys bounds the map kept for reuse, in groups: clearing a large map takes as long as filling it.
const maxKeptKeys = 1000

// resetQueryEvalBuffers takes back all slices that the buffers handed out.
func (b *evalBuffers) resetQueryEvalBuffers() {
	b.times.used, b.values.used, b.increments.used = 0, 0, 0
	b.pods.clearSliceArena()
	b.objects.clearSliceArena()
	b.elements.clearSliceArena()
	clear(b.results)
	for i := range b.series {
		clear(b.series[i]) // frees the labels of series that the store may drop
	}
}

// resetScannedSeries returns n empty lists of series.
func (b *evalBuffers) resetScannedSeries(n int) [][]evaluatedSeries {
	for len(b.series) < n {
		b.series = append(b.series, nil)
	}
	for i := range b.series {
		b.series[i] = b.series[i][:0]
	}
	return b.series[:n]
}

// keyPositions maps keys to positions in a list. It is valid until the next call of newPromQLVectorKeyPositions.
type keyPositions struct {
	byKey map[uint64]int
	byPod []int32 // position plus 1; replaces byKey if keys are ids of pods, which begin at 0
}

// newPromQLVectorKeyPositions returns an empty map for the keys of a grouping.
func (in *fastPathInput) newPromQLVectorKeyPositions(g labelGrouping) keyPositions {
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

// findOrAddPromQLVectorKey returns the position of a key. It sets an unknown key to next.
func (p keyPositions) findOrAddPromQLVectorKey(key uint64, next int) (position int, known bool) {
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

// sliceArena hands out parts of a few large slices: a scan makes thousands, and drops them together.
type sliceArena[T any] struct {
	block []T
	used  int
}

// allocArenaSlice returns an empty slice for n elements.
func (a *sliceArena[T]) allocArenaSlice(n int) []T {
	if a.used+n > len(a.block) {
		// Slices of the old block keep it alive until the scan is over.
		a.block, a.used = make([]T, max(n, 1024, 2*len(a.block))), 0
	}
	s := a.block[a.used : a.used : a.used+n]
	a.used += n
	return s
}

// allocArenaElement returns a zero element, because clearSliceArena clears the arena before each reuse.
func (a *sliceArena[T]) allocArenaElement() *T { return &a.allocArenaSlice(1)[:1][0] }

// clearSliceArena clears and takes back the whole arena.
func (a *sliceArena[T]) clearSliceArena() {
	clear(a.block[:a.used])
	a.used = 0
}
