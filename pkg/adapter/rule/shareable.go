// Whether one evaluation of an expression serves many objects.

package rule

import (
	"slices"

	"github.com/prometheus/prometheus/promql/parser"
)

// isShareableExpr returns whether the expression may be evaluated for many objects at once. Series with other values of
// the labels must not influence a result, and results must have the labels of their series. It returns true only if
// both are certain.
func isShareableExpr(expr parser.Expr, labels []string) bool {
	if inner := findInnerRuleExpr(expr); inner != nil {
		return isShareableExpr(inner, labels)
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
		return (e.Param == nil || isConstantExpr(e.Param)) && isShareableExpr(e.Expr, labels)
	case *parser.BinaryExpr:
		return isShareableBinary(e, labels)
	case *parser.Call:
		return isShareableCall(e, labels)
	}
	return false
}

func isShareableBinary(e *parser.BinaryExpr, labels []string) bool {
	switch {
	case isConstantExpr(e.LHS):
		return isShareableExpr(e.RHS, labels)
	case isConstantExpr(e.RHS):
		return isShareableExpr(e.LHS, labels)
	case e.VectorMatching == nil:
		return false // scalar(…) of series
	}
	for _, l := range labels {
		if slices.Contains(e.VectorMatching.MatchingLabels, l) != e.VectorMatching.On || slices.Contains(e.VectorMatching.Include, l) {
			return false
		}
	}
	return isShareableExpr(e.LHS, labels) && isShareableExpr(e.RHS, labels)
}

func isShareableCall(e *parser.Call, labels []string) bool {
	switch e.Func.Name {
	case "absent", "absent_over_time", "scalar", "vector", "info":
		return false
	}
	if made := findLabelMadeByExpr(e); made != "" && slices.Contains(labels, made) {
		return false
	}
	vectors := 0
	for _, arg := range e.Args {
		switch {
		case isConstantExpr(arg):
		case isShareableExpr(arg, labels):
			vectors++
		default:
			return false
		}
	}
	return vectors == 1
}

// isConstantExpr returns whether an expression reads no series.
func isConstantExpr(expr parser.Expr) bool {
	constant := true
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if _, ok := node.(*parser.VectorSelector); ok {
			constant = false
		}
		return nil
	})
	return constant && expr.Type() != parser.ValueTypeVector
}
