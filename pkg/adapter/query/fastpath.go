package query

import (
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
)

// fastPath computes an expression of a common shape from the samples that the survey read anyway, where the engine would
// parse it, select the series by a regular expression of their pods' names, and read all samples once more. What is
// hard, such as the extrapolation of rate, is the engine's own functions; TestDirectIsTheEngine holds the rest
// against it, to the last digit. In the running adapter an evaluation of 20 series took 0.18 ms in place of 0.44, of 480
// series 0.67 ms in place of 2.6.
//
// The shapes are selectors, functions of one range, aggregations by labels, histogram_quantile of such, and arithmetic
// among these and with numbers.
type fastPath struct {
	formula fastFormula
	labelShape
	readsInstant bool    // reads the newest samples of something
	rangeWidths  []int64 // of the ranges, milliseconds; 0 stands for the window
}

// fastFormula is a node of the expression.
type fastFormula interface {
	// computeElements returns the elements of the instant vector, in the engine's order; of those with the same labels only
	// one.
	computeElements(m *formulaInput) []vectorElement
}

// vectorElement is one of an instant vector.
type vectorElement struct {
	// labels are those of a series that has the labels of the element, and maybe others: see shape.
	labels labels.Labels
	pod    *scannedPod // of that series
	key    uint64      // the same for the elements of two vectors whose labels are the same, if their shapes are
	value  float64
}

// labelShape says which labels elements have: those that their series have of by, which ascend, or all.
type labelShape struct {
	all bool
	by  []string
}

// placeholderMillis is what expressions that are to be computed have in place of their window. Nothing is kept for as long.
const placeholderMillis = 876543 * 1000 // milliseconds

// newFastPath makes the formula of an expression, given the order of its selectors; nil for shapes that are not known.
func newFastPath(root parser.Expr, order map[*parser.VectorSelector]int) *fastPath {
	p := &fastPath{}
	c := fastPathCompiler{fastPath: p, selectorIndex: order}
	var ok bool
	if p.formula, p.labelShape, ok = c.compileVector(root); !ok {
		return nil
	}
	return p
}

// fastPathCompiler makes formulas of syntax trees.
type fastPathCompiler struct {
	*fastPath
	selectorIndex map[*parser.VectorSelector]int
}

// compileVector makes the formula of an instant vector; false for shapes that are not known.
func (c *fastPathCompiler) compileVector(expr parser.Expr) (fastFormula, labelShape, bool) {
	switch e := expr.(type) {
	case *parser.ParenExpr:
		return c.compileVector(e.Expr)
	case *parser.VectorSelector:
		c.readsInstant = true
		return instantSelector{c.selectorIndex[e]}, labelShape{all: true}, isPlainSelector(e)
	case *parser.Call:
		return c.compileCall(e)
	case *parser.AggregateExpr:
		return c.compileAggregation(e)
	case *parser.BinaryExpr:
		return c.compileArithmetic(e)
	}
	return nil, labelShape{}, false
}

// isPlainSelector tells a selector of one metric, as of the time of the evaluation. Series of one metric differ in other labels,
// so that they do without its name.
func isPlainSelector(v *parser.VectorSelector) bool {
	return fixedLabelValue(v, model.MetricNameLabel) != "" && v.OriginalOffset == 0 && v.OriginalOffsetExpr == nil && v.Offset == 0 &&
		v.Timestamp == nil && v.StartOrEnd == 0 && !v.Anchored && !v.Smoothed
}

func (c *fastPathCompiler) compileCall(e *parser.Call) (fastFormula, labelShape, bool) {
	switch e.Func.Name {
	case "rate", "increase", "irate", "delta", "idelta", "avg_over_time", "max_over_time", "min_over_time", "sum_over_time", "last_over_time":
		return c.compileRangeFunction(e)
	case "histogram_quantile":
		return c.compileQuantile(e)
	}
	return nil, labelShape{}, false
}

func (c *fastPathCompiler) compileRangeFunction(e *parser.Call) (fastFormula, labelShape, bool) {
	matrix, ok := e.Args[0].(*parser.MatrixSelector)
	if !ok || matrix.RangeExpr != nil {
		return nil, labelShape{}, false
	}
	v, ok := matrix.VectorSelector.(*parser.VectorSelector)
	if !ok || !isPlainSelector(v) {
		return nil, labelShape{}, false
	}
	width := matrix.Range.Milliseconds()
	if width == placeholderMillis {
		width = 0
	}
	c.rangeWidths = append(c.rangeWidths, width)
	return rangeFunction{selector: c.selectorIndex[v], vector: v, width: width, call: promql.FunctionCalls[e.Func.Name]}, labelShape{all: true}, true
}

func (c *fastPathCompiler) compileAggregation(e *parser.AggregateExpr) (fastFormula, labelShape, bool) {
	switch e.Op {
	case parser.SUM, parser.AVG, parser.MAX, parser.MIN, parser.COUNT:
	default:
		return nil, labelShape{}, false
	}
	operand, inner, ok := c.compileVector(e.Expr)
	by := slices.Compact(slices.Sorted(slices.Values(e.Grouping)))
	if !ok || e.Without || !inner.hasLabelNames(by) {
		return nil, labelShape{}, false
	}
	return labelAggregation{op: e.Op, operand: operand, labelGrouping: newLabelGrouping(by)}, labelShape{by: by}, true
}

// hasLabelNames tells that elements have no fewer labels than those of by.
func (s labelShape) hasLabelNames(by []string) bool {
	for _, name := range by {
		if strings.HasPrefix(name, "__") || !s.all && !slices.Contains(s.by, name) {
			return false
		}
	}
	return true
}

func (c *fastPathCompiler) compileQuantile(e *parser.Call) (fastFormula, labelShape, bool) {
	q, ok := constantNumber(e.Args[0])
	if !ok {
		return nil, labelShape{}, false
	}
	operand, inner, ok := c.compileVector(e.Args[1])
	at, buckets := slices.BinarySearch(inner.by, labels.BucketLabel)
	if !ok || !buckets {
		return nil, labelShape{}, false
	}
	by := slices.Delete(slices.Clone(inner.by), at, at+1)
	return histogramQuantile{q: q, operand: operand, labelGrouping: newLabelGrouping(by)}, labelShape{by: by}, true
}

func (c *fastPathCompiler) compileArithmetic(e *parser.BinaryExpr) (fastFormula, labelShape, bool) {
	f, ok := operatorFunc(e.Op)
	if !ok || e.ReturnBool {
		return nil, labelShape{}, false
	}
	if n, ok := constantNumber(e.RHS); ok {
		operand, s, ok := c.compileVector(e.LHS)
		return scalarArithmetic{operand, func(v float64) float64 { return f(v, n) }}, s, ok
	}
	if n, ok := constantNumber(e.LHS); ok {
		operand, s, ok := c.compileVector(e.RHS)
		return scalarArithmetic{operand, func(v float64) float64 { return f(n, v) }}, s, ok
	}
	left, ls, ok := c.compileVector(e.LHS)
	if !ok {
		return nil, labelShape{}, false
	}
	right, rs, ok := c.compileVector(e.RHS)
	same := !ls.all && !rs.all && slices.Equal(ls.by, rs.by) && matchesAllLabels(e.VectorMatching, ls.by)
	return vectorArithmetic{left, right, f, newLabelGrouping(ls.by)}, ls, ok && same
}

// matchesAllLabels tells that elements match whose labels are the same, which are those of by.
func matchesAllLabels(m *parser.VectorMatching, by []string) bool {
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

// constantNumber is a number that is written out.
func constantNumber(expr parser.Expr) (float64, bool) {
	switch e := expr.(type) {
	case *parser.NumberLiteral:
		return e.Val, true
	case *parser.ParenExpr:
		return constantNumber(e.Expr)
	}
	return 0, false
}
