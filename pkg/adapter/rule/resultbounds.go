// Bounds of results: an expression with filters that leave nothing of any series.

package rule

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
)

// exprNumberBounds are the least and the greatest number that an expression may give; NaN is in none. They are empty if low > high.
type exprNumberBounds struct{ low, high float64 }

var (
	anyNumber   = exprNumberBounds{math.Inf(-1), math.Inf(1)}
	notNegative = exprNumberBounds{0, math.Inf(1)}
	atLeastOne  = exprNumberBounds{1, math.Inf(1)}
)

func (b exprNumberBounds) areEmptyNumberBounds() bool { return b.low > b.high }

func (b exprNumberBounds) intersectNumberBounds(o exprNumberBounds) exprNumberBounds {
	return exprNumberBounds{max(b.low, o.low), min(b.high, o.high)}
}

func (b exprNumberBounds) areWithinNumberBounds(o exprNumberBounds) bool {
	return b.low >= o.low && b.high <= o.high
}

// resultBounds are the known bounds of an expression's results, for any series.
type resultBounds struct {
	numbers exprNumberBounds
	// always is set if there is a result without labels, and a number, also without any series.
	always bool
	// never is why there is no result; nil if there may be one. unusable is why every result is NaN or infinite.
	never, unusable error
	// core is the text of the expression with the values that pass these bounds, if only comparisons and `and` are around it. It is empty if
	// several of its results may have the same labels. whole is set if all its values within numbers are results.
	core  string
	whole bool
	// reads are selectors: without their series there is no result. lacks are selectors: with their series there is none.
	reads, lacks []string
}

// leastServedNumber is the least that a response can tell from 0.
const leastServedNumber = 0.001

// newUnknownBounds are the bounds of an expression of which nothing is known.
func newUnknownBounds() resultBounds { return resultBounds{numbers: anyNumber} }

// findNoNumberReason returns why no evaluation gives a number that the rule serves, or nil.
func (t *exprTree) findNoNumberReason(allowNegative bool) error {
	b := measureExprBounds(t.root)
	switch {
	case b.never != nil || b.unusable != nil:
		return cmp.Or(b.never, b.unusable)
	case b.numbers.high < -leastServedNumber && !allowNegative:
		return fmt.Errorf("every result is negative, at most %.6g; write allowNegative: true if that is meant", b.numbers.high)
	}
	return nil
}

// filtersExprResults implements Rule.Filters.
func (t *exprTree) filtersExprResults() (filters bool) {
	parser.Inspect(t.root, func(node parser.Node, _ []parser.Node) error {
		if b, ok := node.(*parser.BinaryExpr); ok {
			filters = filters || b.Op == parser.LUNLESS || b.Op.IsComparisonOperator() && !b.ReturnBool
		}
		return nil
	})
	return filters
}

func measureExprBounds(expr parser.Expr) resultBounds {
	switch e := expr.(type) {
	case *parser.ParenExpr:
		return measureExprBounds(e.Expr)
	case *parser.NumberLiteral:
		if math.IsNaN(e.Val) {
			return newUnknownBounds()
		}
		return resultBounds{numbers: exprNumberBounds{e.Val, e.Val}, always: true}
	case *parser.VectorSelector:
		return measureSelectorBounds(e)
	case *parser.SubqueryExpr:
		b := measureExprBounds(e.Expr)
		return resultBounds{numbers: b.numbers, never: b.never} // it looks at several times
	case *parser.UnaryExpr:
		b := measureExprBounds(e.Expr)
		if e.Op == parser.SUB {
			b.core, b.whole = "", false
			b.numbers = exprNumberBounds{-b.numbers.high, -b.numbers.low}
		}
		return b
	case *parser.AggregateExpr:
		return measureAggregateBounds(e)
	case *parser.Call:
		return measureCallBounds(e)
	case *parser.BinaryExpr:
		return measureOperatorBounds(e)
	}
	return newUnknownBounds()
}

func measureSelectorBounds(e *parser.VectorSelector) resultBounds {
	text := e.String()
	b := resultBounds{numbers: anyNumber, reads: []string{text}}
	if findSelectorMetric(e) != "" { // else two series may differ in their names only
		b.core, b.whole = text, true
	}
	return b
}

func measureAggregateBounds(e *parser.AggregateExpr) resultBounds {
	b := measureExprBounds(e.Expr)
	if e.Param != nil && e.Op != parser.COUNT_VALUES {
		b.always = false
	}
	b.core, b.whole = "", false
	if slices.Contains([]parser.ItemType{parser.COUNT, parser.COUNT_VALUES, parser.GROUP}, e.Op) {
		b.unusable = nil
	}
	switch e.Op {
	case parser.SUM:
		b.numbers = sumNumberBounds(b.numbers)
	case parser.COUNT, parser.COUNT_VALUES:
		b.numbers = atLeastOne
	case parser.GROUP:
		b.numbers = exprNumberBounds{1, 1}
	case parser.STDDEV, parser.STDVAR:
		b.numbers = notNegative
	case parser.MIN, parser.MAX, parser.TOPK, parser.BOTTOMK, parser.LIMITK, parser.LIMIT_RATIO:
	default: // a mean may be rounded out of the bounds, and a quantile may be infinite
		b.numbers = anyNumber
	}
	if e.Op == parser.COUNT_VALUES {
		b.always = false // its result has a label
	}
	if !choosesAmongSeries(e) && !e.Without && !slices.Contains(e.Grouping, model.MetricNameLabel) {
		b.core, b.whole = e.String(), true
	}
	return b
}

// choosesAmongSeries reports whether the results of an aggregation are some of its series, or have a label that it makes.
func choosesAmongSeries(e *parser.AggregateExpr) bool {
	return slices.Contains([]parser.ItemType{parser.TOPK, parser.BOTTOMK, parser.LIMITK, parser.LIMIT_RATIO, parser.COUNT_VALUES}, e.Op)
}

// sumNumberBounds returns the bounds of sums of one or more numbers.
func sumNumberBounds(b exprNumberBounds) exprNumberBounds {
	sum := anyNumber
	if b.low >= 0 {
		sum.low = b.low
	}
	if b.high <= 0 {
		sum.high = b.high
	}
	return sum
}

// callBounds are the bounds of functions, for any arguments. Counters do not decrease.
var callBounds = map[string]exprNumberBounds{
	"rate": notNegative, "increase": notNegative, "irate": notNegative, "changes": notNegative, "resets": notNegative,
	"abs": notNegative, "exp": notNegative, "sgn": {-1, 1}, "time": notNegative, "timestamp": notNegative,
	"stddev_over_time": notNegative, "stdvar_over_time": notNegative, "count_over_time": atLeastOne, "present_over_time": {1, 1},
	"hour": {0, 23}, "minute": {0, 59}, "month": {1, 12}, "day_of_week": {0, 6}, "day_of_month": {1, 31}, "day_of_year": {1, 366},
	"days_in_month": {28, 31}, "histogram_fraction": {0, 1},
}

func measureCallBounds(e *parser.Call) resultBounds {
	b := newUnknownBounds()
	for _, arg := range e.Args {
		if kind := arg.Type(); kind == parser.ValueTypeVector || kind == parser.ValueTypeMatrix {
			b = measureExprBounds(arg)
			break
		}
	}
	unusable := b.unusable
	b.core, b.whole, b.unusable = "", false, nil
	if len(e.Args) == 1 && isRangeOfOneMetric(e.Args[0]) {
		b.core, b.whole = e.String(), true
	}
	if known, ok := callBounds[e.Func.Name]; ok {
		b.numbers, b.always = known, len(e.Args) == 0 && e.Type() == parser.ValueTypeScalar
		return b
	}
	switch e.Func.Name {
	case "vector":
		return measureExprBounds(e.Args[0])
	case "scalar":
		if b.unusable = unusable; b.never != nil {
			b.unusable = fmt.Errorf("scalar(…) is always NaN: %w", b.never)
		}
		b.always, b.never, b.reads, b.lacks = false, nil, nil, nil // it is NaN without a result
	case "absent", "absent_over_time":
		return measureAbsenceBounds(e, b)
	case "clamp", "clamp_min", "clamp_max":
		b.numbers = clampNumberBounds(e, b.numbers)
	case "sqrt", "ln", "log2", "log10":
		if b.numbers.high < 0 {
			b.unusable = fmt.Errorf("%s of negative numbers is no number; correct its argument", e.Func.Name)
		}
		b.numbers, b.always = anyNumber, false
	case "sum_over_time":
		b.numbers = sumNumberBounds(b.numbers)
	case "min_over_time", "max_over_time", "last_over_time", "first_over_time", "sort", "sort_desc", "label_replace", "label_join":
		b.unusable = unusable
		b.always = b.always && e.Args[0].Type() == parser.ValueTypeVector && len(e.Args) == 1
	default:
		b.numbers, b.always = anyNumber, false
	}
	return b
}

// measureAbsenceBounds returns the bounds of a function that has a result only if its argument has none.
func measureAbsenceBounds(e *parser.Call, arg resultBounds) resultBounds {
	b := resultBounds{numbers: exprNumberBounds{1, 1}, always: arg.never != nil}
	if arg.always {
		b.never = fmt.Errorf("%s always has a value, so that %s never has one; remove it", shortenExprText(e.Args[0]), e.Func.Name)
	}
	if text := e.Args[0].String(); e.Func.Name == "absent" && slices.Equal(arg.reads, []string{text}) {
		b.lacks = []string{text} // the argument is a selector
	}
	return b
}

// clampNumberBounds returns the bounds of values between constant bounds.
func clampNumberBounds(e *parser.Call, numbers exprNumberBounds) exprNumberBounds {
	low, high := math.Inf(-1), math.Inf(1)
	for i, arg := range e.Args[1:] {
		v, ok := evaluateConstantExpr(arg)
		switch {
		case !ok || math.IsNaN(v):
		case e.Func.Name == "clamp_min" || e.Func.Name == "clamp" && i == 0:
			low = v
		default:
			high = v
		}
	}
	within := func(v float64) float64 { return max(low, min(high, v)) }
	return exprNumberBounds{within(numbers.low), within(numbers.high)}
}

// formatNumberBounds words bounds for an error.
func (b exprNumberBounds) formatNumberBounds() string {
	switch {
	case b.low == b.high:
		return fmt.Sprintf("%.6g", b.low)
	case math.IsInf(b.low, -1):
		return formatNumberBound("at most", "less than", b.high, math.Inf(1))
	case math.IsInf(b.high, 1):
		return formatNumberBound("at least", "more than", b.low, math.Inf(-1))
	}
	return fmt.Sprintf("from %.6g to %.6g", b.low, b.high)
}

// formatNumberBound words a bound. A strict comparison has the next float as its bound: its neighbour is the number that a person wrote.
func formatNumberBound(at, beyond string, bound, toward float64) string {
	text := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	if written := math.Nextafter(bound, toward); len(text(written)) < len(text(bound)) {
		return beyond + " " + text(written)
	}
	return at + " " + text(bound)
}
