// Operators with sides that never match, or leave no finite number, and the labels that decide it.

package rule

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// findNeverWorkingOperator returns an error for a division by the number 0, and for two sides without a common label set: one has
// a label for certain that the other cannot have, and both must be equal in it.
func findNeverWorkingOperator(e *parser.BinaryExpr, certain []string) error {
	if divisor, ok := evaluateConstantExpr(e.RHS); ok && divisor == 0 && (e.Op == parser.DIV || e.Op == parser.MOD) {
		return fmt.Errorf("%s 0 gives no finite result; write another number", e.Op)
	}
	if err := cmp.Or(rejectConstantExprSide(e), rejectEqualExprSides(e)); err != nil {
		return err
	}
	m := e.VectorMatching
	if m == nil || e.Op == parser.LOR || e.Op == parser.LUNLESS {
		return nil
	}
	for _, label := range append(listExprMatcherLabels(e), certain...) {
		if slices.Contains(m.MatchingLabels, label) != m.On {
			continue // the sides may differ in it
		}
		if err := rejectUnmatchableExprSides(e, label); err != nil {
			return err
		}
		side := ""
		switch {
		case exprHasLabel(e.LHS, label, certain) && !exprMayHaveLabel(e.RHS, label):
			side = "right"
		case exprHasLabel(e.RHS, label, certain) && !exprMayHaveLabel(e.LHS, label):
			side = "left"
		default:
			continue
		}
		remedy := "write on (…) with the labels that both have"
		if !e.Op.IsSetOperator() {
			remedy += ", and group_left () or group_right ()"
		}
		return fmt.Errorf("the sides of %s never match, because the %s side has no label %s; %s", e.Op, side, label, remedy)
	}
	return nil
}

// rejectConstantExprSide returns an error for a number beside an operator that leaves no finite result.
func rejectConstantExprSide(e *parser.BinaryExpr) error {
	for i, side := range []parser.Expr{e.LHS, e.RHS} {
		v, ok := evaluateConstantExpr(side)
		if !ok || !math.IsNaN(v) && !math.IsInf(v, 0) {
			continue
		}
		op := e.Op
		switch {
		case op.IsComparisonOperator() && (e.ReturnBool || e.LHS.Type() == e.RHS.Type()):
		case op.IsComparisonOperator():
			if i == 0 {
				op = mirroredRuleComparisons[op]
			}
			if neverHoldsForNumber(op, v) {
				return fmt.Errorf("no finite number is %s %v; write a finite number", op, v)
			}
		case slices.Contains([]parser.ItemType{parser.ADD, parser.SUB, parser.MUL}, op),
			slices.Contains([]parser.ItemType{parser.DIV, parser.MOD}, op) && (math.IsNaN(v) || i == 0):
			return fmt.Errorf("%s %v gives no finite result; write a finite number", op, v)
		}
	}
	return nil
}

// mirroredRuleComparisons maps a comparison to the one with swapped sides.
var mirroredRuleComparisons = map[parser.ItemType]parser.ItemType{
	parser.GTR: parser.LSS, parser.LSS: parser.GTR, parser.GTE: parser.LTE, parser.LTE: parser.GTE,
	parser.EQLC: parser.EQLC, parser.NEQ: parser.NEQ,
}

// neverHoldsForNumber reports whether no finite number compares so with v, which is not finite.
func neverHoldsForNumber(op parser.ItemType, v float64) bool {
	switch op {
	case parser.NEQ:
		return false
	case parser.GTR, parser.GTE:
		return !math.IsInf(v, -1)
	case parser.LSS, parser.LTE:
		return !math.IsInf(v, 1)
	}
	return true
}

// rejectEqualExprSides returns an error for an operator that no value passes if both sides are the same.
func rejectEqualExprSides(e *parser.BinaryExpr) error {
	m := e.VectorMatching
	if m == nil || e.LHS.String() != e.RHS.String() {
		return nil
	}
	strict := slices.Contains([]parser.ItemType{parser.GTR, parser.LSS, parser.NEQ}, e.Op) && !e.ReturnBool
	if e.Op == parser.LUNLESS || strict && !m.On && len(m.MatchingLabels) == 0 {
		return fmt.Errorf("both sides of %s are %s, so that it never has a result", e.Op, e.LHS)
	}
	return nil
}

// rejectUnmatchableExprSides returns an error if no value of a label that both sides must share satisfies the matchers of both, such
// as a{code="200"} / a{code="500"}.
func rejectUnmatchableExprSides(e *parser.BinaryExpr, label string) error {
	left, right := listLabelMatchers(e.LHS, label), listLabelMatchers(e.RHS, label)
	for _, l := range left {
		for _, r := range right {
			if ExcludeEachOther([]*labels.Matcher{l, r}) {
				return fmt.Errorf("the sides of %s never match, because the left has %s and the right %s; aggregate both without %s, "+
					"or write ignoring (%s)", e.Op, l, r, label, label)
			}
		}
	}
	return nil
}

// listLabelMatchers returns matchers that every result satisfies with its label.
func listLabelMatchers(expr parser.Expr, label string) []*labels.Matcher {
	if inner := findInnerRuleExpr(expr); inner != nil {
		return listLabelMatchers(inner, label)
	}
	switch e := expr.(type) {
	case *parser.VectorSelector:
		return slices.DeleteFunc(slices.Clone(e.LabelMatchers), func(m *labels.Matcher) bool { return m.Name != label })
	case *parser.AggregateExpr:
		if aggregateKeepsLabel(e, label) {
			return listLabelMatchers(e.Expr, label)
		}
	case *parser.Call:
		if arg := findLabelledArgument(e, label); arg != nil {
			return listLabelMatchers(arg, label)
		}
	case *parser.BinaryExpr:
		return listBinaryLabelMatchers(e, label)
	}
	return nil
}

// listBinaryLabelMatchers is listLabelMatchers for the results of an operator.
func listBinaryLabelMatchers(e *parser.BinaryExpr, label string) []*labels.Matcher {
	m := e.VectorMatching
	left := func() []*labels.Matcher { return listLabelMatchers(e.LHS, label) }
	right := func() []*labels.Matcher { return listLabelMatchers(e.RHS, label) }
	switch {
	case m == nil && e.LHS.Type() == parser.ValueTypeScalar:
		return right()
	case m == nil, e.Op == parser.LAND, e.Op == parser.LUNLESS:
		return left()
	case e.Op == parser.LOR, slices.Contains(m.Include, label):
		return nil
	case m.Card == parser.CardOneToMany:
		return right()
	case m.Card == parser.CardManyToOne, slices.Contains(m.MatchingLabels, label) == m.On:
		return left()
	}
	return nil
}

// listExprMatcherLabels returns the labels that the matchers of the selectors demand, except the name.
func listExprMatcherLabels(expr parser.Expr) []string {
	var names []string
	for _, matchers := range parser.ExtractSelectors(expr) {
		for _, m := range matchers {
			if m.Name != model.MetricNameLabel && !m.Matches("") {
				names = append(names, m.Name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// exprHasLabel returns true only if every result has the label. certain are labels that all series have.
func exprHasLabel(expr parser.Expr, label string, certain []string) bool {
	if inner := findInnerRuleExpr(expr); inner != nil {
		return exprHasLabel(inner, label, certain)
	}
	switch e := expr.(type) {
	case *parser.VectorSelector:
		return slices.Contains(certain, label) || slices.ContainsFunc(e.LabelMatchers, func(m *labels.Matcher) bool {
			return m.Name == label && !m.Matches("")
		})
	case *parser.AggregateExpr:
		return aggregateKeepsLabel(e, label) && exprHasLabel(e.Expr, label, certain)
	case *parser.Call:
		arg := findLabelledArgument(e, label)
		return arg != nil && exprHasLabel(arg, label, certain)
	case *parser.BinaryExpr:
		return binaryHasLabel(e, label, certain)
	}
	return false // numbers and strings
}

// aggregateKeepsLabel reports whether an aggregation leaves a label of its series as it is.
func aggregateKeepsLabel(e *parser.AggregateExpr, label string) bool {
	switch e.Op {
	case parser.TOPK, parser.BOTTOMK, parser.LIMITK, parser.LIMIT_RATIO:
		return true
	case parser.COUNT_VALUES:
		if p, ok := e.Param.(*parser.StringLiteral); !ok || p.Val == label {
			return false
		}
	}
	return slices.Contains(e.Grouping, label) != e.Without
}

// findLabelledArgument returns the argument that gives the results of a function their label; nil if a function makes the label, or drops it.
func findLabelledArgument(e *parser.Call, label string) parser.Expr {
	switch e.Func.Name {
	case "absent", "absent_over_time", "vector", "scalar":
		return nil
	case "label_replace", "label_join":
		if dst, ok := e.Args[1].(*parser.StringLiteral); !ok || dst.Val == label {
			return nil
		}
	case "histogram_quantile", "histogram_fraction":
		if label == model.BucketLabel {
			return nil
		}
	}
	for _, arg := range e.Args {
		if kind := arg.Type(); kind == parser.ValueTypeVector || kind == parser.ValueTypeMatrix {
			return arg
		}
	}
	return nil
}

func binaryHasLabel(e *parser.BinaryExpr, label string, certain []string) bool {
	left, right := exprHasLabel(e.LHS, label, certain), exprHasLabel(e.RHS, label, certain)
	m := e.VectorMatching
	switch {
	case m == nil:
		return left || right
	case e.Op == parser.LOR:
		return left && right
	case e.Op.IsSetOperator():
		return left
	case slices.Contains(m.Include, label):
		return false
	case m.Card == parser.CardManyToOne:
		return left
	case m.Card == parser.CardOneToMany:
		return right
	}
	return left && slices.Contains(m.MatchingLabels, label) == m.On
}
