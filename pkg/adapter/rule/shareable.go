// Whether one evaluation of an expression serves many objects.

package rule

import (
	"slices"

	"github.com/prometheus/prometheus/promql/parser"
)

// isShareableRuleExpr returns whether the expression may be evaluated for many objects at once. Series with other values of
// the labels must not influence a result, and results must have the labels of their series. It returns true only if
// both are certain.
func isShareableRuleExpr(expr parser.Expr, labels []string) bool {
	if inner := innerRuleExpr(expr); inner != nil {
		return isShareableRuleExpr(inner, labels)
	}
	switch e := expr.(type) {
	case *parser.VectorSelector:
		return true
	case *parser.AggregateExpr:
		for _, l := range labels {
			if slices.Contains(e.Grouping, l) == e.Without {
				return false
			}
		}
		return (e.Param == nil || isConstantRuleExpr(e.Param)) && isShareableRuleExpr(e.Expr, labels)
	case *parser.BinaryExpr:
		return binaryRuleIsShareable(e, labels)
	case *parser.Call:
		return ruleCallIsShareable(e, labels)
	}
	return false
}

func binaryRuleIsShareable(e *parser.BinaryExpr, labels []string) bool {
	switch {
	case isConstantRuleExpr(e.LHS):
		return isShareableRuleExpr(e.RHS, labels)
	case isConstantRuleExpr(e.RHS):
		return isShareableRuleExpr(e.LHS, labels)
	case e.VectorMatching == nil:
		return false // scalar(…) of series
	}
	for _, l := range labels {
		if slices.Contains(e.VectorMatching.MatchingLabels, l) != e.VectorMatching.On || slices.Contains(e.VectorMatching.Include, l) {
			return false
		}
	}
	return isShareableRuleExpr(e.LHS, labels) && isShareableRuleExpr(e.RHS, labels)
}

func ruleCallIsShareable(e *parser.Call, labels []string) bool {
	switch e.Func.Name {
	case "absent", "absent_over_time", "scalar", "vector", "info":
		return false
	}
	if made := labelMadeByRuleCall(e); made != "" && slices.Contains(labels, made) {
		return false
	}
	vectors := 0
	for _, arg := range e.Args {
		switch {
		case isConstantRuleExpr(arg):
		case isShareableRuleExpr(arg, labels):
			vectors++
		default:
			return false
		}
	}
	return vectors == 1
}

// isConstantRuleExpr returns whether an expression reads no series.
func isConstantRuleExpr(expr parser.Expr) bool {
	constant := true
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if _, ok := node.(*parser.VectorSelector); ok {
			constant = false
		}
		return nil
	})
	return constant && expr.Type() != parser.ValueTypeVector
}
