// Bounds of the results of operators, and why an operator leaves nothing.

package rule

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/prometheus/prometheus/promql/parser"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

func measureOperatorBounds(e *parser.BinaryExpr) resultBounds {
	left, right := measureExprBounds(e.LHS), measureExprBounds(e.RHS)
	switch e.Op {
	case parser.LOR:
		return uniteExprBounds(left, right)
	case parser.LUNLESS:
		return excludeExprBounds(e, left, right)
	}
	b := resultBounds{numbers: anyNumber, reads: slices.Concat(left.reads, right.reads), lacks: slices.Concat(left.lacks, right.lacks)}
	switch e.Op {
	case parser.LAND, parser.DIV:
		b.unusable = left.unusable
	case parser.ADD, parser.SUB, parser.MUL:
		b.unusable = cmp.Or(left.unusable, right.unusable)
	}
	for _, side := range []resultBounds{left, right} {
		if b.never == nil {
			b.never = side.never
		}
	}
	for _, selector := range b.lacks {
		if b.never == nil && slices.Contains(b.reads, selector) {
			b.never = fmt.Errorf("%s: one side has a result only with series of %s, and the other only without; remove one", e.Op, selector)
		}
	}
	switch {
	case b.never != nil:
	case e.Op == parser.LAND:
		setExprIntersectionBounds(e, left, right, &b)
	case e.Op.IsComparisonOperator() && e.ReturnBool:
		b.numbers, b.always = exprNumberBounds{0, 1}, left.always && right.always && e.VectorMatching == nil
	case e.Op.IsComparisonOperator():
		setExprComparisonBounds(e, left, right, &b)
	case e.Op == parser.DIV && right.numbers == exprNumberBounds{0, 0}:
		b.unusable = fmt.Errorf("/ %s is a division by 0, which gives no finite result; correct it", shortenExprText(e.RHS))
	default:
		b.numbers, b.always = combineNumberBounds(e.Op, left.numbers, right.numbers), left.always && right.always && e.VectorMatching == nil
		if m := e.VectorMatching; e.Op == parser.SUB && e.LHS.String() == e.RHS.String() && (m == nil || !m.On && len(m.MatchingLabels) == 0) {
			b.numbers = exprNumberBounds{0, 0}
		}
	}
	return b
}

// uniteExprBounds returns the bounds of `or`.
func uniteExprBounds(left, right resultBounds) resultBounds {
	switch {
	case left.never != nil:
		return right
	case right.never != nil:
		return left
	}
	united := resultBounds{
		numbers: exprNumberBounds{min(left.numbers.low, right.numbers.low), max(left.numbers.high, right.numbers.high)},
		always:  left.always || right.always,
		reads:   slices.DeleteFunc(slices.Clone(left.reads), func(s string) bool { return !slices.Contains(right.reads, s) }),
		lacks:   slices.DeleteFunc(slices.Clone(left.lacks), func(s string) bool { return !slices.Contains(right.lacks, s) }),
	}
	if left.unusable != nil && right.unusable != nil {
		united.unusable = left.unusable
	}
	return united
}

// excludeExprBounds returns the bounds of `unless`.
func excludeExprBounds(e *parser.BinaryExpr, left, right resultBounds) resultBounds {
	m := e.VectorMatching
	everything := m.On && len(m.MatchingLabels) == 0 || isExprWithoutLabels(e.LHS)
	sameCore := left.core != "" && left.core == right.core && right.whole && right.numbers != anyNumber &&
		left.numbers.areWithinNumberBounds(right.numbers)
	and, isAnd := unwrapExprParens(e.LHS).(*parser.BinaryExpr)
	switch {
	case left.never != nil:
	case isAnd && and.Op == parser.LAND && and.RHS.String() == e.RHS.String() && and.VectorMatching.On == m.On &&
		slices.Equal(and.VectorMatching.MatchingLabels, m.MatchingLabels):
		left.never = fmt.Errorf("`and` and unless have the same right side %s, so that there is never a result; remove one", shortenExprText(e.RHS))
	case right.always && everything:
		left.never = fmt.Errorf("unless: its right side %s always has a value, so that it never has a result; remove it", shortenExprText(e.RHS))
	case sameCore:
		left.never = fmt.Errorf("unless: its right side %s has every value of the left, so that it never has a result; remove one", shortenExprText(e.RHS))
	}
	left.always, left.whole = false, false
	return left
}

func unwrapExprParens(expr parser.Expr) parser.Expr {
	for {
		p, ok := expr.(*parser.ParenExpr)
		if !ok {
			return expr
		}
		expr = p.Expr
	}
}

// isRangeOfOneMetric reports whether an argument is a range of one metric: the results of a function of it have different labels.
func isRangeOfOneMetric(expr parser.Expr) bool {
	m, ok := unwrapExprParens(expr).(*parser.MatrixSelector)
	if !ok {
		return false
	}
	v, ok := m.VectorSelector.(*parser.VectorSelector)
	return ok && findSelectorMetric(v) != ""
}

// isExprWithoutLabels reports whether results have no labels at all.
func isExprWithoutLabels(expr parser.Expr) bool {
	if inner := findInnerRuleExpr(expr); inner != nil {
		return isExprWithoutLabels(inner)
	}
	e, ok := expr.(*parser.AggregateExpr)
	return ok && !choosesAmongSeries(e) && !e.Without && len(e.Grouping) == 0
}

// setExprIntersectionBounds sets the bounds of `and`.
func setExprIntersectionBounds(e *parser.BinaryExpr, left, right resultBounds, b *resultBounds) {
	m := e.VectorMatching
	b.numbers, b.core = left.numbers, left.core
	b.always = left.always && right.always && m.On && len(m.MatchingLabels) == 0
	if left.core == "" || left.core != right.core || m.On || len(m.MatchingLabels) > 0 {
		return
	}
	b.whole = left.whole && right.whole
	if b.numbers = left.numbers.intersectNumberBounds(right.numbers); b.numbers.areEmptyNumberBounds() {
		b.never = fmt.Errorf("no number satisfies both %s and %s; correct one", shortenExprText(e.LHS), shortenExprText(e.RHS))
	}
}

// setExprComparisonBounds sets the bounds of a comparison that drops elements. Its values come from the left side, or from the vector
// beside a number.
func setExprComparisonBounds(e *parser.BinaryExpr, left, right resultBounds, b *resultBounds) {
	op, kept, other := e.Op, left, right
	if e.VectorMatching == nil && e.LHS.Type() == parser.ValueTypeScalar {
		op, kept, other = mirroredRuleComparisons[op], right, left
	}
	passing := numberBoundsOfComparison(op, other.numbers)
	b.numbers = kept.numbers.intersectNumberBounds(passing)
	if e.VectorMatching == nil {
		b.core = kept.core
	}
	isPoint := other.numbers.low == other.numbers.high
	if b.numbers.areEmptyNumberBounds() || op == parser.NEQ && isPoint && kept.numbers == other.numbers {
		b.never = fmt.Errorf("%s never has a result, because the values of %s are %s; correct one of the numbers",
			shortenExprText(e), shortenExprText(exprKeptByComparison(e)), kept.numbers.formatNumberBounds())
	}
	isExact := e.VectorMatching == nil && op != parser.NEQ && isPoint && other.always
	b.whole = kept.whole && isExact
	b.always = kept.always && isExact && kept.numbers.areWithinNumberBounds(passing)
}

func shortenExprText(expr parser.Expr) string { return strict.ShortenPlain(expr.String()) }

func exprKeptByComparison(e *parser.BinaryExpr) parser.Expr {
	if e.VectorMatching == nil && e.LHS.Type() == parser.ValueTypeScalar {
		return e.RHS
	}
	return e.LHS
}

// numberBoundsOfComparison returns the bounds of the numbers that compare so with one of others.
func numberBoundsOfComparison(op parser.ItemType, others exprNumberBounds) exprNumberBounds {
	switch op {
	case parser.GTR:
		return exprNumberBounds{math.Nextafter(others.low, math.Inf(1)), math.Inf(1)}
	case parser.GTE:
		return exprNumberBounds{others.low, math.Inf(1)}
	case parser.LSS:
		return exprNumberBounds{math.Inf(-1), math.Nextafter(others.high, math.Inf(-1))}
	case parser.LTE:
		return exprNumberBounds{math.Inf(-1), others.high}
	case parser.EQLC:
		return others
	}
	return anyNumber
}

// combineNumberBounds returns the bounds of an arithmetic operation.
func combineNumberBounds(op parser.ItemType, a, b exprNumberBounds) exprNumberBounds {
	var corners []float64
	switch {
	case op == parser.ADD:
		corners = []float64{a.low + b.low, a.high + b.high}
	case op == parser.SUB:
		corners = []float64{a.low - b.high, a.high - b.low}
	case op == parser.MUL:
		corners = []float64{a.low * b.low, a.low * b.high, a.high * b.low, a.high * b.high}
	case op == parser.DIV && (b.low > 0 || b.high < 0):
		corners = []float64{a.low / b.low, a.low / b.high, a.high / b.low, a.high / b.high}
	}
	if len(corners) == 0 || slices.ContainsFunc(corners, math.IsNaN) {
		return anyNumber
	}
	return exprNumberBounds{slices.Min(corners), slices.Max(corners)}
}
