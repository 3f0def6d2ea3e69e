// The PromQL for the times of the newest samples behind the results of an expression.

package rule

import (
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
)

// timesGrouping says how to find the newest samples behind the results of an expression.
type timesGrouping struct {
	// by are the labels that results and samples have in common; nil means no label: one time for all results.
	by []string
	// perSeries is set if results have all labels of their samples, as without any aggregation.
	perSeries bool
}

// findTimesGrouping finds the labels that separate the samples of different results. If it is uncertain about them,
// the newest sample of all stands for each result.
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

// outermostAggregation returns the outermost aggregation of an expression that only computes with its results, or
// nil. It sets plain if there is no aggregation: the results are then the series themselves with other values.
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
		return withoutBucketLabel(aggregate), false // results lack le and differ from their series
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

// withoutBucketLabel returns an aggregation of buckets as it applies to their quantiles, which have no le label.
func withoutBucketLabel(e *parser.AggregateExpr) *parser.AggregateExpr {
	if e == nil || e.Without {
		return e
	}
	of := *e
	of.Grouping = slices.DeleteFunc(slices.Clone(e.Grouping), func(l string) bool { return l == model.BucketLabel })
	return &of
}

// makesAnyLabel returns whether the expression itself makes one of the labels, so that its series may lack them.
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

// madeLabel returns the label that a call makes, or an empty string.
func madeLabel(e *parser.Call) string {
	if e.Func.Name == "label_replace" || e.Func.Name == "label_join" {
		if dst, ok := e.Args[1].(*parser.StringLiteral); ok {
			return dst.Val
		}
	}
	return ""
}

// printTimesQuery returns RemoteQuery.Times of the tree, with or without marker matchers. It is empty if a selector
// has no fixed name: series of different metrics may look the same without their names.
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
			// Series of different metrics may have the same labels, and `or` would keep only the first.
			newest[i] = fmt.Sprintf(`label_replace(%s, "%s", "%d", "", "")`, newest[i], selectorLabel, i)
		}
	}
	return fmt.Sprintf("max by (%s) (%s)", strings.Join(b.by, ", "), strings.Join(newest, " or "))
}

// selectorLabel separates the selectors of an expression. No result has it.
const selectorLabel = "tachometer_selector"
