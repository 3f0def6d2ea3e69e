package query

import (
	"slices"

	"github.com/prometheus/prometheus/promql"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/window"
)

// memory is what an evaluation is made of, to be used again by a later one: it grows to what evaluations need, and
// stays. Nothing that an evaluation returns is in it.
type memory struct {
	times    arena[int64]
	values   arena[float64]
	counts   arena[window.Increment]
	pods     arena[pod]
	subjects arena[subject]
	elements arena[element]
	points   []promql.FPoint
	series   [][]sampled
	totals   []total
	results  []result
	byKey    map[uint64]int
	byPod    []int32
	buffer   []byte
}

// maxRemembered is how many groups the map is kept for: clearing a large one takes as long as filling it did.
const maxRemembered = 1000

// reset takes back everything that was handed out.
func (m *memory) reset() {
	m.times.used, m.values.used, m.counts.used = 0, 0, 0
	m.pods.clear()
	m.subjects.clear()
	m.elements.clear()
	clear(m.results)
	for i := range m.series {
		clear(m.series[i]) // the labels of series that may be dropped
	}
}

// lists are n empty lists of series.
func (m *memory) lists(n int) [][]sampled {
	for len(m.series) < n {
		m.series = append(m.series, nil)
	}
	for i := range m.series {
		m.series[i] = m.series[i][:0]
	}
	return m.series[:n]
}

// places are where in a list something with a key is. They are good until the next ones are asked for.
type places struct {
	byKey map[uint64]int
	byPod []int32 // the place and one; in place of byKey, where keys are the ids of pods, which begin at 0
}

// places are empty ones for the keys of a grouping.
func (m *moment) places(g grouping) places {
	if g.pods {
		m.byPod = slices.Grow(m.byPod[:0], len(m.order))[:len(m.order)]
		clear(m.byPod)
		return places{byPod: m.byPod}
	}
	if m.byKey == nil || len(m.byKey) > maxRemembered {
		m.byKey = map[uint64]int{}
	}
	clear(m.byKey)
	return places{byKey: m.byKey}
}

// of is the place of a key, which is next if none is known yet.
func (p places) of(key uint64, next int) (place int, known bool) {
	if p.byPod == nil {
		if place, known = p.byKey[key]; !known {
			p.byKey[key], place = next, next
		}
		return place, known
	}
	if at := p.byPod[key]; at > 0 {
		return int(at) - 1, true
	}
	p.byPod[key] = int32(next) + 1 //nolint:gosec // there are fewer than 2³¹ pods
	return next, false
}

// arena hands out slices of a few large ones: a survey makes thousands, and drops them together.
type arena[T any] struct {
	block []T
	used  int
}

// take returns an empty slice for n elements.
func (a *arena[T]) take(n int) []T {
	if a.used+n > len(a.block) {
		// What was handed out of the old block keeps it until the survey is over.
		a.block, a.used = make([]T, max(n, 1024, 2*len(a.block))), 0
	}
	taken := a.block[a.used : a.used : a.used+n]
	a.used += n
	return taken
}

// one returns an element, in an arena that is cleared before it is used again.
func (a *arena[T]) one() *T { return &a.take(1)[:1][0] }

// clear gives back everything that was handed out.
func (a *arena[T]) clear() {
	clear(a.block[:a.used])
	a.used = 0
}
