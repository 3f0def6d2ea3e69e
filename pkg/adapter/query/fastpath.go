// The fast path's compiler: expressions of common shapes become formulas.

package query

import (
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
)

// fastPath computes an expression of a common shape from the samples that the scan read anyway. The engine would
// parse the expression, select series by a regular expression of pod names, and read all samples again.
//
// Difficult parts, such as the extrapolation of rate, are the engine's own functions. TestDirectIsTheEngine compares
// the rest with the engine, to the last digit. In the running adapter an evaluation of 20 series took 0.18 ms instead
// of 0.44, of 480 series 0.67 ms instead of 2.6.
//
// The shapes are selectors, functions of one range, aggregations by labels, histogram_quantile of these, and
// arithmetic among these and with numbers.
type fastPath struct {
	formula fastFormula
	fastPathLabels
	readsInstant bool    // some selector reads the newest samples
	rangeWidths  []int64 // of the ranges, milliseconds; 0 stands for the window
}

// fastFormula is a node of the expression.
type fastFormula interface {
	// computePromQLElements returns the elements of the instant vector, in the engine's order, without elements of equal
	// labels.
	computePromQLElements(m *fastPathInput) []vectorElement
}

// vectorElement is an element of an instant vector.
type vectorElement struct {
	// labels are the labels of a series behind the element. They include the element's labels and maybe others: see
	// fastPathLabels.
	labels labels.Labels
	pod    *evaluatedPod // the pod of the series
	key    uint64        // equal for elements of two vectors with equal labels, if their shapes are equal
	value  float64
}

// fastPathLabels say which labels elements have: all labels of their series, or only the labels in by, which ascend.
type fastPathLabels struct {
	all bool
	by  []string
}

// placeholderMillis replaces the window in expressions for the fast path. No store keeps samples for as long.
const placeholderMillis = 876543 * 1000 // milliseconds

// newQueryFastPath compiles an expression, given the order of its selectors; nil for unknown shapes.
func newQueryFastPath(root parser.Expr, order map[*parser.VectorSelector]int) *fastPath {
	p := &fastPath{}
	c := fastPathCompiler{fastPath: p, selectorIndex: order}
	var ok bool
	if p.formula, p.fastPathLabels, ok = c.compilePromQLVector(root); !ok {
		return nil
	}
	return p
}

// fastPathCompiler compiles syntax trees to formulas.
type fastPathCompiler struct {
	*fastPath
	selectorIndex map[*parser.VectorSelector]int
}

// compilePromQLVector compiles an instant vector; false for unknown shapes.
func (c *fastPathCompiler) compilePromQLVector(expr parser.Expr) (fastFormula, fastPathLabels, bool) {
	switch e := expr.(type) {
	case *parser.ParenExpr:
		return c.compilePromQLVector(e.Expr)
	case *parser.VectorSelector:
		c.readsInstant = true
		return instantSelector{c.selectorIndex[e]}, fastPathLabels{all: true}, isFastPathSelector(e)
	case *parser.Call:
		return c.compilePromQLCall(e)
	case *parser.AggregateExpr:
		return c.compilePromQLAggregation(e)
	case *parser.BinaryExpr:
		return c.compilePromQLArithmetic(e)
	}
	return nil, fastPathLabels{}, false
}

// isFastPathSelector returns whether a selector reads one metric as of the evaluation's time. Series of one metric
// differ in other labels, so that they do without its name.
func isFastPathSelector(v *parser.VectorSelector) bool {
	return findEvaluatedLabelValue(v, model.MetricNameLabel) != "" && v.OriginalOffset == 0 && v.OriginalOffsetExpr == nil && v.Offset == 0 &&
		v.Timestamp == nil && v.StartOrEnd == 0 && !v.Anchored && !v.Smoothed
}

func (c *fastPathCompiler) compilePromQLCall(e *parser.Call) (fastFormula, fastPathLabels, bool) {
	switch e.Func.Name {
	case "rate", "increase", "irate", "delta", "idelta", "avg_over_time", "max_over_time", "min_over_time", "sum_over_time", "last_over_time":
		return c.compilePromQLRangeFunction(e)
	case "histogram_quantile":
		return c.compilePromQLQuantile(e)
	}
	return nil, fastPathLabels{}, false
}

func (c *fastPathCompiler) compilePromQLRangeFunction(e *parser.Call) (fastFormula, fastPathLabels, bool) {
	matrix, ok := e.Args[0].(*parser.MatrixSelector)
	if !ok || matrix.RangeExpr != nil {
		return nil, fastPathLabels{}, false
	}
	v, ok := matrix.VectorSelector.(*parser.VectorSelector)
	if !ok || !isFastPathSelector(v) {
		return nil, fastPathLabels{}, false
	}
	width := matrix.Range.Milliseconds()
	if width == placeholderMillis {
		width = 0
	}
	c.rangeWidths = append(c.rangeWidths, width)
	f := rangeFunction{selector: c.selectorIndex[v], vector: v, width: width, call: promql.FunctionCalls[e.Func.Name]}
	f.isIncrease = e.Func.Name == "rate" || e.Func.Name == "increase"
	return f, fastPathLabels{all: true}, true
}

func (c *fastPathCompiler) compilePromQLAggregation(e *parser.AggregateExpr) (fastFormula, fastPathLabels, bool) {
	switch e.Op {
	case parser.SUM, parser.AVG, parser.MAX, parser.MIN, parser.COUNT:
	default:
		return nil, fastPathLabels{}, false
	}
	operand, inner, ok := c.compilePromQLVector(e.Expr)
	by := slices.Compact(slices.Sorted(slices.Values(e.Grouping)))
	if !ok || e.Without || !inner.hasPromQLVectorLabels(by) {
		return nil, fastPathLabels{}, false
	}
	return labelAggregation{op: e.Op, operand: operand, labelGrouping: newFastPathGrouping(by)}, fastPathLabels{by: by}, true
}

// hasPromQLVectorLabels returns whether elements have at least the labels in by.
func (s fastPathLabels) hasPromQLVectorLabels(by []string) bool {
	for _, name := range by {
		if strings.HasPrefix(name, "__") || !s.all && !slices.Contains(s.by, name) {
			return false
		}
	}
	return true
}

func (c *fastPathCompiler) compilePromQLQuantile(e *parser.Call) (fastFormula, fastPathLabels, bool) {
	q, ok := evaluateFastPathNumber(e.Args[0])
	if !ok {
		return nil, fastPathLabels{}, false
	}
	operand, inner, ok := c.compilePromQLVector(e.Args[1])
	at, buckets := slices.BinarySearch(inner.by, labels.BucketLabel)
	if !ok || !buckets {
		return nil, fastPathLabels{}, false
	}
	by := slices.Delete(slices.Clone(inner.by), at, at+1)
	return histogramQuantile{q: q, operand: operand, labelGrouping: newFastPathGrouping(by)}, fastPathLabels{by: by}, true
}

func (c *fastPathCompiler) compilePromQLArithmetic(e *parser.BinaryExpr) (fastFormula, fastPathLabels, bool) {
	f, ok := chooseFastPathOperator(e.Op)
	if !ok || e.ReturnBool {
		return nil, fastPathLabels{}, false
	}
	if n, ok := evaluateFastPathNumber(e.RHS); ok {
		operand, s, ok := c.compilePromQLVector(e.LHS)
		return scalarArithmetic{operand, func(v float64) float64 { return f(v, n) }}, s, ok
	}
	if n, ok := evaluateFastPathNumber(e.LHS); ok {
		operand, s, ok := c.compilePromQLVector(e.RHS)
		return scalarArithmetic{operand, func(v float64) float64 { return f(n, v) }}, s, ok
	}
	left, ls, ok := c.compilePromQLVector(e.LHS)
	if !ok {
		return nil, fastPathLabels{}, false
	}
	right, rs, ok := c.compilePromQLVector(e.RHS)
	same := !ls.all && !rs.all && slices.Equal(ls.by, rs.by) && fastPathMatchesAllLabels(e.VectorMatching, ls.by)
	return vectorArithmetic{left, right, f, newFastPathGrouping(ls.by)}, ls, ok && same
}

// fastPathMatchesAllLabels returns whether elements match by equality of all labels, which are the labels in by.
func fastPathMatchesAllLabels(m *parser.VectorMatching, by []string) bool {
	if m == nil {
		return true
	}
	if m.Card != parser.CardOneToOne || len(m.Include) > 0 || m.FillValues.LHS != nil || m.FillValues.RHS != nil {
		return false
	}
	if m.On {
		return slices.Equal(slices.Compact(slices.Sorted(slices.Values(m.MatchingLabels))), by)
	}
	return len(m.MatchingLabels) == 0
}

// evaluateFastPathNumber returns the value of an expression of number literals.
func evaluateFastPathNumber(expr parser.Expr) (float64, bool) {
	switch e := expr.(type) {
	case *parser.NumberLiteral:
		return e.Val, true
	case *parser.ParenExpr:
		return evaluateFastPathNumber(e.Expr)
	case *parser.BinaryExpr:
		f, known := chooseFastPathOperator(e.Op)
		left, leftOK := evaluateFastPathNumber(e.LHS)
		right, rightOK := evaluateFastPathNumber(e.RHS)
		if known && leftOK && rightOK {
			return f(left, right), true
		}
	}
	return 0, false
}
