package query

import (
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
)

// direct computes an expression of a common shape from the samples that the survey read anyway, where the engine would
// parse it, select the series by a regular expression of their pods' names, and read all samples once more. What is
// hard, such as the extrapolation of rate, is the engine's own functions; TestDirectIsTheEngine holds the rest
// against it, to the last digit. In the running adapter an evaluation of 20 series took 0.18 ms in place of 0.44, of 480
// series 0.67 ms in place of 2.6.
//
// The shapes are selectors, functions of one range, aggregations by labels, histogram_quantile of such, and arithmetic
// among these and with numbers.
type direct struct {
	formula formula
	shape
	instant bool    // reads the newest samples of something
	widths  []int64 // of the ranges, milliseconds; 0 stands for the window
}

// formula is a node of the expression.
type formula interface {
	// compute returns the elements of the instant vector, in the engine's order; of those with the same labels only
	// one.
	compute(m *moment) []element
}

// element is one of an instant vector.
type element struct {
	// labels are those of a series that has the labels of the element, and maybe others: see shape.
	labels labels.Labels
	pod    *pod   // of that series
	key    uint64 // the same for the elements of two vectors whose labels are the same, if their shapes are
	value  float64
}

// shape says which labels elements have: those that their series have of by, which ascend, or all.
type shape struct {
	all bool
	by  []string
}

// placeholder is what expressions that are to be computed have in place of their window. Nothing is kept for as long.
const placeholder = 876543 * 1000 // milliseconds

// newDirect makes the formula of an expression, given the order of its selectors; nil for shapes that are not known.
func newDirect(root parser.Expr, order map[*parser.VectorSelector]int) *direct {
	d := &direct{}
	c := compiler{direct: d, order: order}
	var ok bool
	if d.formula, d.shape, ok = c.vector(root); !ok {
		return nil
	}
	return d
}

// compiler makes formulas of syntax trees.
type compiler struct {
	*direct
	order map[*parser.VectorSelector]int
}

// vector makes the formula of an instant vector; false for shapes that are not known.
func (c *compiler) vector(expr parser.Expr) (formula, shape, bool) {
	switch e := expr.(type) {
	case *parser.ParenExpr:
		return c.vector(e.Expr)
	case *parser.VectorSelector:
		c.instant = true
		return newest{c.order[e]}, shape{all: true}, isPlain(e)
	case *parser.Call:
		return c.call(e)
	case *parser.AggregateExpr:
		return c.aggregate(e)
	case *parser.BinaryExpr:
		return c.binary(e)
	}
	return nil, shape{}, false
}

// isPlain tells a selector of one metric, as of the time of the evaluation. Series of one metric differ in other labels,
// so that they do without its name.
func isPlain(v *parser.VectorSelector) bool {
	return fixed(v, model.MetricNameLabel) != "" && v.OriginalOffset == 0 && v.OriginalOffsetExpr == nil && v.Offset == 0 &&
		v.Timestamp == nil && v.StartOrEnd == 0 && !v.Anchored && !v.Smoothed
}

func (c *compiler) call(e *parser.Call) (formula, shape, bool) {
	switch e.Func.Name {
	case "rate", "increase", "irate", "delta", "idelta", "avg_over_time", "max_over_time", "min_over_time", "sum_over_time", "last_over_time":
		return c.ranged(e)
	case "histogram_quantile":
		return c.quantile(e)
	}
	return nil, shape{}, false
}

func (c *compiler) ranged(e *parser.Call) (formula, shape, bool) {
	matrix, ok := e.Args[0].(*parser.MatrixSelector)
	if !ok || matrix.RangeExpr != nil {
		return nil, shape{}, false
	}
	v, ok := matrix.VectorSelector.(*parser.VectorSelector)
	if !ok || !isPlain(v) {
		return nil, shape{}, false
	}
	width := matrix.Range.Milliseconds()
	if width == placeholder {
		width = 0
	}
	c.widths = append(c.widths, width)
	return overRange{selector: c.order[v], vector: v, width: width, call: promql.FunctionCalls[e.Func.Name]}, shape{all: true}, true
}

func (c *compiler) aggregate(e *parser.AggregateExpr) (formula, shape, bool) {
	switch e.Op {
	case parser.SUM, parser.AVG, parser.MAX, parser.MIN, parser.COUNT:
	default:
		return nil, shape{}, false
	}
	of, inner, ok := c.vector(e.Expr)
	by := slices.Compact(slices.Sorted(slices.Values(e.Grouping)))
	if !ok || e.Without || !inner.has(by) {
		return nil, shape{}, false
	}
	return aggregation{op: e.Op, of: of, grouping: newGrouping(by)}, shape{by: by}, true
}

// has tells that elements have no fewer labels than those of by.
func (s shape) has(by []string) bool {
	for _, name := range by {
		if strings.HasPrefix(name, "__") || !s.all && !slices.Contains(s.by, name) {
			return false
		}
	}
	return true
}

func (c *compiler) quantile(e *parser.Call) (formula, shape, bool) {
	q, ok := number(e.Args[0])
	if !ok {
		return nil, shape{}, false
	}
	of, inner, ok := c.vector(e.Args[1])
	at, buckets := slices.BinarySearch(inner.by, labels.BucketLabel)
	if !ok || !buckets {
		return nil, shape{}, false
	}
	by := slices.Delete(slices.Clone(inner.by), at, at+1)
	return quantile{q: q, of: of, grouping: newGrouping(by)}, shape{by: by}, true
}

func (c *compiler) binary(e *parser.BinaryExpr) (formula, shape, bool) {
	f, ok := arithmetic(e.Op)
	if !ok || e.ReturnBool {
		return nil, shape{}, false
	}
	if n, ok := number(e.RHS); ok {
		of, s, ok := c.vector(e.LHS)
		return scaled{of, func(v float64) float64 { return f(v, n) }}, s, ok
	}
	if n, ok := number(e.LHS); ok {
		of, s, ok := c.vector(e.RHS)
		return scaled{of, func(v float64) float64 { return f(n, v) }}, s, ok
	}
	left, ls, ok := c.vector(e.LHS)
	if !ok {
		return nil, shape{}, false
	}
	right, rs, ok := c.vector(e.RHS)
	same := !ls.all && !rs.all && slices.Equal(ls.by, rs.by) && matchesAll(e.VectorMatching, ls.by)
	return combination{left, right, f, newGrouping(ls.by)}, ls, ok && same
}

// matchesAll tells that elements match whose labels are the same, which are those of by.
func matchesAll(m *parser.VectorMatching, by []string) bool {
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

// number is a number that is written out.
func number(expr parser.Expr) (float64, bool) {
	switch e := expr.(type) {
	case *parser.NumberLiteral:
		return e.Val, true
	case *parser.ParenExpr:
		return number(e.Expr)
	}
	return 0, false
}
