package rule

import (
	"slices"

	"github.com/prometheus/prometheus/promql/parser"
)

// mayHave tells whether the result may have the label. It answers false only where that is certain whatever
// the series, so that a rule can be refused at load that could never name its object.
func (t *tree) mayHave(label string) bool { return mayHave(t.root, label) }

func mayHave(expr parser.Expr, label string) bool {
	switch e := expr.(type) {
	case *parser.AggregateExpr:
		return aggregateMayHave(e, label)
	case *parser.BinaryExpr:
		return binaryMayHave(e, label)
	case *parser.Call:
		return callMayHave(e, label)
	case *parser.ParenExpr:
		return mayHave(e.Expr, label)
	case *parser.UnaryExpr:
		return mayHave(e.Expr, label)
	case *parser.StepInvariantExpr:
		return mayHave(e.Expr, label)
	case *parser.SubqueryExpr:
		return mayHave(e.Expr, label)
	case *parser.NumberLiteral, *parser.StringLiteral:
		return false
	}
	return true // selectors
}

func aggregateMayHave(e *parser.AggregateExpr, label string) bool {
	switch e.Op {
	case parser.TOPK, parser.BOTTOMK, parser.LIMITK, parser.LIMIT_RATIO:
		return mayHave(e.Expr, label) // they choose series and leave them as they are
	case parser.COUNT_VALUES:
		if p, ok := e.Param.(*parser.StringLiteral); ok && p.Val == label {
			return true
		}
	}
	return slices.Contains(e.Grouping, label) != e.Without && mayHave(e.Expr, label)
}

// callMayHave: a function's result has the labels of its vector, but for those that make labels.
func callMayHave(e *parser.Call, label string) bool {
	switch e.Func.Name {
	case "label_replace", "label_join":
		if dst, ok := e.Args[1].(*parser.StringLiteral); ok && dst.Val == label {
			return true
		}
	case "vector", "scalar", "time", "pi":
		return false
	case "absent", "absent_over_time":
		return true // takes labels from the matchers, which are added later
	}
	if len(e.Args) == 0 {
		return false // hour() and its like, of now
	}
	return slices.ContainsFunc(e.Args, func(arg parser.Expr) bool { return mayHave(arg, label) })
}

func binaryMayHave(e *parser.BinaryExpr, label string) bool {
	left, right := mayHave(e.LHS, label), mayHave(e.RHS, label)
	m := e.VectorMatching
	if m == nil { // one side is a scalar, and has none
		return left || right
	}
	included := slices.Contains(m.Include, label) // taken from the other side, or dropped where it lacks it
	switch {
	case e.Op == parser.LOR:
		return left || right
	case e.Op.IsSetOperator():
		return left
	case m.Card == parser.CardManyToOne:
		return included && right || !included && left
	case m.Card == parser.CardOneToMany:
		return included && left || !included && right
	}
	// One to one: of the left side's labels those that were compared.
	return left && slices.Contains(m.MatchingLabels, label) == m.On
}
