// The fast path's formulas: each computes the elements of an instant vector.

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

// fastPathInput is the input of a formula: the objects of a group, at a time, over a window.
type fastPathInput struct {
	*evaluationScan
	*evalBuffers
	groupIndex            int
	at, window, lookback  int64 // milliseconds
	now, interval         int64 // milliseconds
	interpolatesRangeEnds bool  // see evaluation.interpolatesRangeEnds
	// overflow is set if the engine must compute the result: a mean with a sum that overflows.
	overflow bool
}

// computePromQLFastPath computes the expression; false if only the engine can. The expression may need samples older than the
// scan's, or the newest sample as of an earlier time than now. If elements have the labels that name the rule's objects,
// results carry their pods instead of labels of their own. The slice is valid until the next call.
func (p *fastPath) computePromQLFastPath(in *fastPathInput, r *rule.Rule) ([]evalResult, bool) {
	if p.readsInstant && in.at != in.now {
		return nil, false
	}
	for _, width := range p.rangeWidths {
		if in.at-in.promQLRangeMillis(width) < in.since-1 {
			return nil, false
		}
	}
	elements := p.formula.computePromQLElements(in)
	if in.overflow {
		return nil, false
	}
	results := slices.Grow(in.results[:0], len(elements))
	b := labels.NewScratchBuilder(len(p.by))
	named := p.canNameQueryObjects(r)
	for _, e := range elements {
		if named && isEvaluatedObjectNamed(r, e.pod.object) {
			results = append(results, evalResult{labels: e.labels, value: e.value, pod: e.pod})
		} else {
			results = append(results, evalResult{labels: p.buildPromQLVectorLabels(e, &b), value: e.value})
		}
	}
	in.results = results
	return results, true
}

// canNameQueryObjects returns whether elements have the labels that name a rule's objects.
func (s fastPathLabels) canNameQueryObjects(r *rule.Rule) bool {
	return !r.External && (s.all || slices.Contains(s.by, r.ObjectLabel) && (!r.Namespaced || slices.Contains(s.by, namespaceLabel)))
}

func (s fastPathLabels) buildPromQLVectorLabels(e vectorElement, b *labels.ScratchBuilder) labels.Labels {
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

// promQLRangeMillis returns the width of a range, with the window for 0.
func (in *fastPathInput) promQLRangeMillis(ms int64) int64 {
	if ms == 0 {
		return max(1, in.window)
	}
	return ms
}

// isInQueryGroup returns whether a series belongs to the group.
func (in *fastPathInput) isInQueryGroup(s *evaluatedSeries) bool {
	return s.pod.scannedObject != nil && s.pod.scannedObject.groupIndex == in.groupIndex
}

// instantSelector returns the newest samples of its series, without samples older than lookback.
type instantSelector struct{ selector int }

func (f instantSelector) computePromQLElements(in *fastPathInput) []vectorElement {
	series := in.seriesBySelector[f.selector]
	out := in.elements.allocArenaSlice(len(series))
	for i := range series {
		s := &series[i]
		if !in.isInQueryGroup(s) {
			continue
		}
		last := len(s.times) - 1
		if v := s.values[last]; s.times[last] > in.at-in.lookback && !value.IsStaleNaN(v) {
			out = append(out, vectorElement{labels: s.labels, pod: s.pod, value: v})
		}
	}
	return out
}

// rangeFunction applies a function to a range of each series.
type rangeFunction struct {
	selector   int
	vector     *parser.VectorSelector
	width      int64
	call       promql.FunctionCall
	isIncrease bool // rate or increase
}

func (f rangeFunction) computePromQLElements(in *fastPathInput) []vectorElement {
	series := in.seriesBySelector[f.selector]
	width := in.promQLRangeMillis(f.width)
	args := parser.Expressions{&parser.MatrixSelector{VectorSelector: f.vector, Range: time.Duration(width) * time.Millisecond}}
	helper := promql.EvalNodeHelper{Ts: in.at, Out: make(promql.Vector, 0, 1)}
	matrix := make(promql.Matrix, 1)
	out := in.elements.allocArenaSlice(len(series))
	for i := range series {
		s := &series[i]
		if !in.isInQueryGroup(s) {
			continue
		}
		points := in.collectPromQLRangePoints(s, in.at-width)
		if in.interpolatesRangeEnds && f.isIncrease {
			points = in.stretchedPromQLRangePoints(s, in.at-width)
		}
		if len(points) == 0 {
			continue
		}
		matrix[0] = promql.Series{Metric: s.labels, Floats: points}
		helper.Out = helper.Out[:0]
		if v, _ := f.call(nil, matrix, args, &helper); len(v) > 0 {
			out = append(out, vectorElement{labels: s.labels, pod: s.pod, value: v[0].F})
		}
	}
	return out
}

// collectPromQLRangePoints returns the samples of a series after start, valid until the next call.
func (in *fastPathInput) collectPromQLRangePoints(s *evaluatedSeries, start int64) []promql.FPoint {
	times := evaluatedTimes(s.times)
	begin, end := times.sampleIndexAfter(start), len(times)
	if times[end-1] > in.at {
		end = times.sampleIndexAfter(in.at)
	}
	in.points = in.points[:0]
	for i := begin; i < end; i++ {
		if !s.hasMarkers || !value.IsStaleNaN(s.values[i]) {
			in.points = append(in.points, promql.FPoint{T: s.times[i], F: s.values[i]})
		}
	}
	return in.points
}

// stretchedPromQLRangePoints returns the samples that stretchQueryable has for a series, valid until the next call.
func (in *fastPathInput) stretchedPromQLRangePoints(s *evaluatedSeries, start int64) []promql.FPoint {
	in.points = in.points[:0]
	r := countedRange{from: start, to: in.at, interval: in.interval}
	r.setSeriesCountedRange(s.pod, s.labels, in.edgeCounts)
	if n, ok := increaseBetweenSamples(s.times, s.values, r); ok {
		in.points = append(in.points, promql.FPoint{T: start + 1}, promql.FPoint{T: in.at, F: n})
	}
	return in.points
}

// labelGrouping groups elements by labels.
type labelGrouping struct {
	by []string
	// byPod is set if by names a pod: the pod's id then replaces the labels.
	byPod bool
}

func newFastPathGrouping(by []string) labelGrouping {
	return labelGrouping{by: by, byPod: slices.Equal(by, []string{namespaceLabel, podLabel})}
}

func (g labelGrouping) promQLVectorElementKey(in *fastPathInput, e *vectorElement) (key uint64) {
	switch {
	case g.byPod:
		return e.pod.id
	case len(g.by) == 0:
		return 0
	}
	key, in.hashBuffer = e.labels.HashForLabels(in.hashBuffer, g.by...)
	return key
}

// labelAggregation aggregates elements by labels.
type labelAggregation struct {
	op      parser.ItemType
	operand fastFormula
	labelGrouping
}

// aggregateTotal is the state of a group's aggregation.
type aggregateTotal struct {
	sum, rest float64 // see kahansum
	count     float64
}

func (f labelAggregation) computePromQLElements(in *fastPathInput) []vectorElement {
	operands := f.operand.computePromQLElements(in)
	positions := in.newPromQLVectorKeyPositions(f.labelGrouping)
	totals := in.totals[:0]
	out := operands[:0] // never overtakes the elements still to be read
	for _, e := range operands {
		e.key = f.promQLVectorElementKey(in, &e)
		i, known := positions.findOrAddPromQLVectorKey(e.key, len(out))
		if !known {
			out, totals = append(out, e), append(totals, aggregateTotal{sum: e.value, count: 1})
			continue
		}
		totals[i].accumulatePromQLElement(f.op, e.value, in)
	}
	in.totals = totals
	for i := range out {
		out[i].value = totals[i].aggregatePromQLElements(f.op)
	}
	return out
}

// accumulatePromQLElement adds a value to a group, as the engine does.
func (t *aggregateTotal) accumulatePromQLElement(op parser.ItemType, v float64, in *fastPathInput) {
	t.count++
	switch op {
	case parser.SUM:
		t.sum, t.rest = kahansum.Inc(v, t.sum, t.rest)
	case parser.AVG:
		t.sum, t.rest = kahansum.Inc(v, t.sum, t.rest)
		in.overflow = in.overflow || math.IsInf(t.sum, 0)
	case parser.MAX:
		if t.sum < v || math.IsNaN(t.sum) {
			t.sum = v
		}
	case parser.MIN:
		if t.sum > v || math.IsNaN(t.sum) {
			t.sum = v
		}
	case parser.COUNT:
	default:
		panic("no formula of aggregation " + op.String()) // compilePromQLAggregation lets no other pass
	}
}

func (t *aggregateTotal) aggregatePromQLElements(op parser.ItemType) float64 {
	switch op {
	case parser.SUM:
		return t.sum + t.rest
	case parser.AVG:
		return t.sum/t.count + t.rest/t.count
	case parser.COUNT:
		return t.count
	case parser.MAX, parser.MIN:
		return t.sum
	}
	panic("no formula of aggregation " + op.String()) // compilePromQLAggregation lets no other pass
}

// histogramQuantile computes histogram_quantile.
type histogramQuantile struct {
	q       float64
	operand fastFormula
	labelGrouping
}

func (f histogramQuantile) computePromQLElements(in *fastPathInput) []vectorElement {
	operands := f.operand.computePromQLElements(in)
	positions := in.newPromQLVectorKeyPositions(f.labelGrouping)
	var buckets []promql.Buckets
	out := operands[:0]
	for _, e := range operands {
		bound, err := strconv.ParseFloat(e.labels.Get(labels.BucketLabel), 64)
		if err != nil {
			continue // skipped as in the engine, which adds a warning
		}
		e.key = f.promQLVectorElementKey(in, &e)
		i, known := positions.findOrAddPromQLVectorKey(e.key, len(out))
		if !known {
			out, buckets = append(out, e), append(buckets, make(promql.Buckets, 0, 16)) // a default histogram has 12
		}
		buckets[i] = append(buckets[i], promql.Bucket{UpperBound: bound, Count: e.value})
	}
	for i := range out {
		out[i].value, _, _, _, _, _ = promql.BucketQuantile(f.q, buckets[i])
	}
	return out
}

// scalarArithmetic applies an operator to a vector and a number.
type scalarArithmetic struct {
	operand fastFormula
	operate func(float64) float64
}

func (f scalarArithmetic) computePromQLElements(in *fastPathInput) []vectorElement {
	operands := f.operand.computePromQLElements(in)
	for i := range operands {
		operands[i].value = f.operate(operands[i].value)
	}
	return operands
}

// vectorArithmetic applies an operator to aggregations by the same labels.
type vectorArithmetic struct {
	left, right fastFormula
	operate     func(a, b float64) float64
	labelGrouping
}

func (f vectorArithmetic) computePromQLElements(in *fastPathInput) []vectorElement {
	left, right := f.left.computePromQLElements(in), f.right.computePromQLElements(in)
	keys := in.newPromQLVectorKeyPositions(f.labelGrouping)
	for i := range right {
		keys.findOrAddPromQLVectorKey(right[i].key, i)
	}
	out := left[:0]
	for _, e := range left {
		if i, ok := keys.findOrAddPromQLVectorKey(e.key, 0); ok { // left has each key once, so that unknown keys stay unknown
			e.value = f.operate(e.value, right[i].value)
			out = append(out, e)
		}
	}
	return out
}

// chooseFastPathOperator returns the function of an arithmetic operator.
func chooseFastPathOperator(op parser.ItemType) (func(a, b float64) float64, bool) {
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
