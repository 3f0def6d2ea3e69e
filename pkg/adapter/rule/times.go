package rule

import (
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
)

// timesGrouping tells how the newest samples behind the results of an expression are found.
type timesGrouping struct {
	// by are the labels that results and samples have in common; nil means none, which is one time for all results.
	by []string
	// perSeries tells that results have all labels of their samples, as without any aggregation.
	perSeries bool
}

// findTimesGrouping finds out which labels tell the samples of one result from those of another. Where it is not certain that
// they can be told apart, the newest sample of all stands for each.
func (t *exprTree) findTimesGrouping(r *Rule) timesGrouping {
	if !r.External {
		by := []string{r.ObjectLabel}
		if r.Namespaced && r.renderTemplate == nil && r.NamespaceLabel != r.ObjectLabel {
			by = []string{r.NamespaceLabel, r.ObjectLabel}
		}
		if t.makesAnyLabel(by) {
			return timesGrouping{}
		}
		return timesGrouping{by: by}
	}
	aggregate, plain := outermostAggregation(t.root)
	switch {
	case plain && len(t.selectors) == 1:
		return timesGrouping{perSeries: true}
	case aggregate == nil || aggregate.Without || t.makesAnyLabel(aggregate.Grouping):
		return timesGrouping{}
	}
	return timesGrouping{by: aggregate.Grouping}
}

// outermostAggregation is the outermost aggregation of an expression that only computes with its results, or nil. plain tells
// that there is none, and that results are the series themselves with other values.
func outermostAggregation(expr parser.Expr) (aggregate *parser.AggregateExpr, plain bool) {
	switch e := expr.(type) {
	case *parser.AggregateExpr:
		switch e.Op {
		case parser.TOPK, parser.BOTTOMK, parser.LIMITK, parser.LIMIT_RATIO:
			return outermostAggregation(e.Expr)
		case parser.COUNT_VALUES:
			return nil, false
		}
		return e, false
	case *parser.ParenExpr:
		return outermostAggregation(e.Expr)
	case *parser.UnaryExpr:
		return outermostAggregation(e.Expr)
	case *parser.BinaryExpr:
		switch {
		case e.LHS.Type() == parser.ValueTypeScalar:
			return outermostAggregation(e.RHS)
		case e.RHS.Type() == parser.ValueTypeScalar:
			return outermostAggregation(e.LHS)
		}
		return nil, false
	case *parser.Call:
		return outermostAggregationOfCall(e)
	case *parser.VectorSelector:
		return nil, true
	}
	return nil, false
}

func outermostAggregationOfCall(e *parser.Call) (*parser.AggregateExpr, bool) {
	if madeLabel(e) != "" {
		return nil, false
	}
	switch e.Func.Name {
	case "histogram_quantile":
		aggregate, _ := outermostAggregation(e.Args[1])
		return withoutBucketLabel(aggregate), false // results lack le, so that they are not the series themselves
	case "absent", "absent_over_time", "vector", "info":
		return nil, false
	}
	for _, arg := range e.Args {
		switch a := arg.(type) {
		case *parser.MatrixSelector:
			return nil, true
		case *parser.SubqueryExpr:
			return outermostAggregation(a.Expr)
		default:
			if arg.Type() == parser.ValueTypeVector {
				return outermostAggregation(arg)
			}
		}
	}
	return nil, false
}

// withoutBucketLabel is an aggregation of buckets as it is of the quantiles made of them, which have no bound.
func withoutBucketLabel(e *parser.AggregateExpr) *parser.AggregateExpr {
	if e == nil || e.Without {
		return e
	}
	of := *e
	of.Grouping = slices.DeleteFunc(slices.Clone(e.Grouping), func(l string) bool { return l == model.BucketLabel })
	return &of
}

// makesAnyLabel tells whether the expression makes one of the labels itself, so that its series need not have them.
func (t *exprTree) makesAnyLabel(labels []string) bool {
	made := false
	parser.Inspect(t.root, func(node parser.Node, _ []parser.Node) error {
		var label string
		switch n := node.(type) {
		case *parser.Call:
			label = madeLabel(n)
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

// madeLabel is the label that a call makes, or empty.
func madeLabel(e *parser.Call) string {
	if e.Func.Name == "label_replace" || e.Func.Name == "label_join" {
		if dst, ok := e.Args[1].(*parser.StringLiteral); ok {
			return dst.Val
		}
	}
	return ""
}

// printTimesQuery is Text.Times of the tree as it is, with or without slots; empty where a selector has no fixed name:
// without their names its series may be the same.
func (t *exprTree) printTimesQuery(b timesGrouping) string {
	var newest []string
	seen := map[string]bool{}
	for _, v := range t.selectors {
		text := v.String()
		if selectorMetricName(v) == "" {
			return ""
		}
		if !seen[text] {
			seen[text] = true
			newest = append(newest, "timestamp("+text+")")
		}
	}
	if b.perSeries && len(newest) == 1 {
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
