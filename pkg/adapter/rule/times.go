package rule

import (
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
)

// behind tells how the newest samples behind the results of an expression are found.
type behind struct {
	// by are the labels that results and samples have in common; nil means none, which is one time for all results.
	by []string
	// each tells that results have all labels of their samples, as without any aggregation.
	each bool
}

// behind finds out which labels tell the samples of one result from those of another. Where it is not certain that
// they can be told apart, the newest sample of all stands for each.
func (t *tree) behind(r *Rule) behind {
	if !r.External {
		by := []string{r.ObjectLabel}
		if r.Namespaced && r.render == nil && r.NamespaceLabel != r.ObjectLabel {
			by = []string{r.NamespaceLabel, r.ObjectLabel}
		}
		if t.makesAny(by) {
			return behind{}
		}
		return behind{by: by}
	}
	aggregate, plain := outermost(t.root)
	switch {
	case plain && len(t.selectors) == 1:
		return behind{each: true}
	case aggregate == nil || aggregate.Without || t.makesAny(aggregate.Grouping):
		return behind{}
	}
	return behind{by: aggregate.Grouping}
}

// outermost is the outermost aggregation of an expression that only computes with its results, or nil. plain tells
// that there is none, and that results are the series themselves with other values.
func outermost(expr parser.Expr) (aggregate *parser.AggregateExpr, plain bool) {
	switch e := expr.(type) {
	case *parser.AggregateExpr:
		switch e.Op {
		case parser.TOPK, parser.BOTTOMK, parser.LIMITK, parser.LIMIT_RATIO:
			return outermost(e.Expr)
		case parser.COUNT_VALUES:
			return nil, false
		}
		return e, false
	case *parser.ParenExpr:
		return outermost(e.Expr)
	case *parser.UnaryExpr:
		return outermost(e.Expr)
	case *parser.BinaryExpr:
		switch {
		case e.LHS.Type() == parser.ValueTypeScalar:
			return outermost(e.RHS)
		case e.RHS.Type() == parser.ValueTypeScalar:
			return outermost(e.LHS)
		}
		return nil, false
	case *parser.Call:
		return outermostOfCall(e)
	case *parser.VectorSelector:
		return nil, true
	}
	return nil, false
}

func outermostOfCall(e *parser.Call) (*parser.AggregateExpr, bool) {
	if makesLabels(e) != "" {
		return nil, false
	}
	switch e.Func.Name {
	case "histogram_quantile":
		aggregate, _ := outermost(e.Args[1])
		return withoutBounds(aggregate), false // results lack le, so that they are not the series themselves
	case "absent", "absent_over_time", "vector", "info":
		return nil, false
	}
	for _, arg := range e.Args {
		switch a := arg.(type) {
		case *parser.MatrixSelector:
			return nil, true
		case *parser.SubqueryExpr:
			return outermost(a.Expr)
		default:
			if arg.Type() == parser.ValueTypeVector {
				return outermost(arg)
			}
		}
	}
	return nil, false
}

// withoutBounds is an aggregation of buckets as it is of the quantiles made of them, which have no bound.
func withoutBounds(e *parser.AggregateExpr) *parser.AggregateExpr {
	if e == nil || e.Without {
		return e
	}
	of := *e
	of.Grouping = slices.DeleteFunc(slices.Clone(e.Grouping), func(l string) bool { return l == model.BucketLabel })
	return &of
}

// makesAny tells whether the expression makes one of the labels itself, so that its series need not have them.
func (t *tree) makesAny(labels []string) bool {
	made := false
	parser.Inspect(t.root, func(node parser.Node, _ []parser.Node) error {
		var label string
		switch n := node.(type) {
		case *parser.Call:
			label = makesLabels(n)
		case *parser.AggregateExpr:
			if p, ok := n.Param.(*parser.StringLiteral); ok {
				label = p.Val
			}
		}
		for _, l := range labels {
			made = made || l == label
		}
		return nil
	})
	return made
}

// makesLabels is the label that a call makes, or empty.
func makesLabels(e *parser.Call) string {
	if e.Func.Name == "label_replace" || e.Func.Name == "label_join" {
		if dst, ok := e.Args[1].(*parser.StringLiteral); ok {
			return dst.Val
		}
	}
	return ""
}

// timesText is Text.Times of the tree as it is, with or without slots; empty where a selector has no fixed name:
// without their names its series may be the same.
func (t *tree) timesText(b behind) string {
	var newest []string
	seen := map[string]bool{}
	for _, v := range t.selectors {
		text := v.String()
		if metricName(v) == "" {
			return ""
		}
		if !seen[text] {
			seen[text] = true
			newest = append(newest, "timestamp("+text+")")
		}
	}
	if b.each && len(newest) == 1 {
		return newest[0]
	}
	if len(newest) > 1 {
		for i := range newest {
			// Series of different metrics may have the same labels, of which `or` would keep the first.
			newest[i] = fmt.Sprintf(`label_replace(%s, "%s", "%d", "", "")`, newest[i], selectorLabel, i)
		}
	}
	return fmt.Sprintf("max by (%s) (%s)", strings.Join(b.by, ", "), strings.Join(newest, " or "))
}

// selectorLabel tells the selectors of an expression apart; no result has it.
const selectorLabel = "tachometer_selector"
