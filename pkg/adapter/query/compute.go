package query

import (
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/kahansum"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// moment is what a formula is computed for: the objects of a group, at a time, over a window.
type moment struct {
	*survey
	*memory
	group                int
	at, window, lookback int64 // milliseconds
	// overflow tells that the engine has to do it: a mean whose sum is beyond all numbers.
	overflow bool
}

// results computes the expression; false if only the engine can: where a sample that it reads may be older than those
// that the survey has read, or newer than the newest that it looks for. Where elements have the labels that name the rule's
// objects, their pods say what they are for: then nobody needs labels. The slice is good until the next call.
func (d *direct) results(m *moment, r *rule.Rule, now int64) ([]result, bool) {
	if d.instant && m.at != now {
		return nil, false
	}
	for _, width := range d.widths {
		if m.at-m.width(width) < m.since-1 {
			return nil, false
		}
	}
	elements := d.formula.compute(m)
	if m.overflow {
		return nil, false
	}
	results := slices.Grow(m.results[:0], len(elements))
	b := labels.NewScratchBuilder(len(d.by))
	tell := d.tell(r)
	for _, e := range elements {
		if tell && named(r, e.pod.object) {
			results = append(results, result{labels: e.labels, value: e.value, pod: e.pod})
		} else {
			results = append(results, result{labels: d.labelsOf(e, &b), value: e.value})
		}
	}
	m.results = results
	return results, true
}

// tell reports whether elements have the labels that name a rule's objects.
func (s shape) tell(r *rule.Rule) bool {
	return !r.External && (s.all || slices.Contains(s.by, r.ObjectLabel) && (!r.Namespaced || slices.Contains(s.by, namespaceLabel)))
}

// labelsOf are the labels of an element.
func (s shape) labelsOf(e element, b *labels.ScratchBuilder) labels.Labels {
	if s.all {
		return e.labels
	}
	b.Reset()
	for _, name := range s.by {
		if v := e.labels.Get(name); v != "" {
			b.Add(name, v)
		}
	}
	return b.Labels()
}

// width is that of a range.
func (m *moment) width(ms int64) int64 {
	if ms == 0 {
		return max(1, m.window)
	}
	return ms
}

// has tells whether a series is of the group.
func (m *moment) has(s *sampled) bool { return s.pod.subject != nil && s.pod.subject.group == m.group }

// newest is a selector: the newest samples of its series, if they are not too old.
type newest struct{ selector int }

func (f newest) compute(m *moment) []element {
	of := m.sampled[f.selector]
	out := m.elements.take(len(of))
	for i := range of {
		s := &of[i]
		if !m.has(s) {
			continue
		}
		last := len(s.times) - 1
		if v := s.values[last]; s.times[last] > m.at-m.lookback && !value.IsStaleNaN(v) {
			out = append(out, element{labels: s.labels, pod: s.pod, value: v})
		}
	}
	return out
}

// overRange is a function of a range.
type overRange struct {
	selector int
	vector   *parser.VectorSelector
	width    int64
	call     promql.FunctionCall
}

func (f overRange) compute(m *moment) []element {
	of := m.sampled[f.selector]
	width := m.width(f.width)
	args := parser.Expressions{&parser.MatrixSelector{VectorSelector: f.vector, Range: time.Duration(width) * time.Millisecond}}
	helper := promql.EvalNodeHelper{Ts: m.at, Out: make(promql.Vector, 0, 1)}
	matrix := make(promql.Matrix, 1)
	out := m.elements.take(len(of))
	for i := range of {
		s := &of[i]
		if !m.has(s) {
			continue
		}
		points := m.pointsOf(s, m.at-width)
		if len(points) == 0 {
			continue
		}
		matrix[0] = promql.Series{Metric: s.labels, Floats: points}
		helper.Out = helper.Out[:0]
		if v, _ := f.call(nil, matrix, args, &helper); len(v) > 0 {
			out = append(out, element{labels: s.labels, pod: s.pod, value: v[0].F})
		}
	}
	return out
}

// pointsOf are the samples of a series after start, until the next call.
func (m *moment) pointsOf(s *sampled, start int64) []promql.FPoint {
	times := track(s.times)
	begin, end := times.after(start), len(times)
	if times[end-1] > m.at {
		end = times.after(m.at)
	}
	m.points = m.points[:0]
	for i := begin; i < end; i++ {
		if !s.broken || !value.IsStaleNaN(s.values[i]) {
			m.points = append(m.points, promql.FPoint{T: s.times[i], F: s.values[i]})
		}
	}
	return m.points
}

// grouping tells elements apart by labels.
type grouping struct {
	by []string
	// pods tells that these are the labels that name a pod: there is no need to look at them.
	pods bool
}

func newGrouping(by []string) grouping {
	return grouping{by: by, pods: slices.Equal(by, []string{namespaceLabel, podLabel})}
}

func (g grouping) key(m *moment, e *element) (key uint64) {
	switch {
	case g.pods:
		return e.pod.id
	case len(g.by) == 0:
		return 0
	}
	key, m.buffer = e.labels.HashForLabels(m.buffer, g.by...)
	return key
}

// aggregation is one by labels.
type aggregation struct {
	op parser.ItemType
	of formula
	grouping
}

// total is what is known of a group of elements.
type total struct {
	sum, rest float64 // see kahansum
	count     float64
}

func (f aggregation) compute(m *moment) []element {
	of := f.of.compute(m)
	places := m.places(f.grouping)
	totals := m.totals[:0]
	out := of[:0] // the elements of it that are still to be read are never fewer
	for _, e := range of {
		e.key = f.key(m, &e)
		i, known := places.of(e.key, len(out))
		if !known {
			out, totals = append(out, e), append(totals, total{sum: e.value, count: 1})
			continue
		}
		totals[i].add(f.op, e.value, m)
	}
	m.totals = totals
	for i := range out {
		out[i].value = totals[i].value(f.op)
	}
	return out
}

// add adds a value to those of a group, as the engine does.
func (t *total) add(op parser.ItemType, v float64, m *moment) {
	t.count++
	switch op {
	case parser.SUM:
		t.sum, t.rest = kahansum.Inc(v, t.sum, t.rest)
	case parser.AVG:
		t.sum, t.rest = kahansum.Inc(v, t.sum, t.rest)
		m.overflow = m.overflow || math.IsInf(t.sum, 0)
	case parser.MAX:
		if t.sum < v || math.IsNaN(t.sum) {
			t.sum = v
		}
	case parser.MIN:
		if t.sum > v || math.IsNaN(t.sum) {
			t.sum = v
		}
	}
}

func (t *total) value(op parser.ItemType) float64 {
	switch op {
	case parser.SUM:
		return t.sum + t.rest
	case parser.AVG:
		return t.sum/t.count + t.rest/t.count
	case parser.COUNT:
		return t.count
	}
	return t.sum
}

// quantile is histogram_quantile.
type quantile struct {
	q  float64
	of formula
	grouping
}

func (f quantile) compute(m *moment) []element {
	of := f.of.compute(m)
	places := m.places(f.grouping)
	var buckets []promql.Buckets
	out := of[:0]
	for _, e := range of {
		bound, err := strconv.ParseFloat(e.labels.Get(labels.BucketLabel), 64)
		if err != nil {
			continue // as the engine does, with a warning
		}
		e.key = f.key(m, &e)
		i, known := places.of(e.key, len(out))
		if !known {
			out, buckets = append(out, e), append(buckets, make(promql.Buckets, 0, 16)) // of a histogram with defaults: 12
		}
		buckets[i] = append(buckets[i], promql.Bucket{UpperBound: bound, Count: e.value})
	}
	for i := range out {
		out[i].value, _, _, _, _, _ = promql.BucketQuantile(f.q, buckets[i])
	}
	return out
}

// scaled is arithmetic with a number.
type scaled struct {
	of formula
	by func(float64) float64
}

func (f scaled) compute(m *moment) []element {
	of := f.of.compute(m)
	for i := range of {
		of[i].value = f.by(of[i].value)
	}
	return of
}

// combination is arithmetic among aggregations by the same labels.
type combination struct {
	left, right formula
	by          func(a, b float64) float64
	grouping
}

func (f combination) compute(m *moment) []element {
	left, right := f.left.compute(m), f.right.compute(m)
	keys := m.places(f.grouping)
	for i := range right {
		keys.of(right[i].key, i)
	}
	out := left[:0]
	for _, e := range left {
		if i, ok := keys.of(e.key, 0); ok { // left has each key once, so that what is not there stays so
			e.value = f.by(e.value, right[i].value)
			out = append(out, e)
		}
	}
	return out
}

// arithmetic is what an operator does.
func arithmetic(op parser.ItemType) (func(a, b float64) float64, bool) {
	switch op {
	case parser.ADD:
		return func(a, b float64) float64 { return a + b }, true
	case parser.SUB:
		return func(a, b float64) float64 { return a - b }, true
	case parser.MUL:
		return func(a, b float64) float64 { return a * b }, true
	case parser.DIV:
		return func(a, b float64) float64 { return a / b }, true
	case parser.POW:
		return math.Pow, true
	case parser.MOD:
		return math.Mod, true
	}
	return nil, false
}
