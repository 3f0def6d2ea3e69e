// Which labels a result may have, decided from the expression alone.

package rule

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// exprResultMayHaveLabel returns false only if no result can have the label, with any series. Load then rejects a
// rule that could never name its object.
func (t *exprTree) exprResultMayHaveLabel(label string) bool {
	return exprMayHaveLabel(t.root, label)
}

func exprMayHaveLabel(expr parser.Expr, label string) bool {
	if inner := findInnerRuleExpr(expr); inner != nil {
		return exprMayHaveLabel(inner, label)
	}
	switch e := expr.(type) {
	case *parser.AggregateExpr:
		return aggregateMayHaveLabel(e, label)
	case *parser.BinaryExpr:
		return binaryMayHaveLabel(e, label)
	case *parser.Call:
		return callMayHaveLabel(e, label)
	case *parser.VectorSelector: // a matcher may say that the label is empty
		return !slices.ContainsFunc(e.LabelMatchers, func(m *labels.Matcher) bool {
			return m.Name == label && isEmptyLabelMatcher(m)
		})
	}
	return false // numbers and strings
}

// findInnerRuleExpr returns the expression inside of one that hands on its series, with all their labels but the name: the one in parentheses,
// after a sign, or before a range; nil for any other.
func findInnerRuleExpr(expr parser.Expr) parser.Expr {
	switch e := expr.(type) {
	case *parser.ParenExpr:
		return e.Expr
	case *parser.UnaryExpr:
		return e.Expr
	case *parser.SubqueryExpr:
		return e.Expr
	case *parser.MatrixSelector:
		return e.VectorSelector
	}
	return nil
}

// explainMissingBuckets returns why a function of classic histograms has no buckets: its argument cannot have the label le,
// or reads families that are none of buckets by their names. It is empty without such a function.
func (t *exprTree) explainMissingBuckets(namesFixed bool) (why string) {
	parser.Inspect(t.root, func(node parser.Node, _ []parser.Node) error {
		c, ok := node.(*parser.Call)
		if !ok || c.Func.Name != "histogram_quantile" && c.Func.Name != "histogram_fraction" {
			return nil
		}
		buckets := c.Args[len(c.Args)-1]
		switch name := findFamilyWithoutBuckets(buckets); {
		case !exprMayHaveLabel(buckets, model.BucketLabel):
			why = c.Func.Name + ": its buckets have no label le; aggregate by (le, namespace, pod)"
		case namesFixed && name != "":
			why = c.Func.Name + ": " + name + " is no series of buckets, whose names end with _bucket on pages; write " + name + "_bucket"
		}
		return nil
	})
	return why
}

// findFamilyWithoutBuckets returns the first metric of an expression that reads no buckets; empty if it reads any.
func findFamilyWithoutBuckets(expr parser.Expr) (first string) {
	for _, matchers := range parser.ExtractSelectors(expr) {
		for _, m := range matchers {
			switch {
			case m.Name != model.MetricNameLabel || m.Type != labels.MatchEqual:
			case strings.HasSuffix(m.Value, "_bucket"):
				return ""
			case first == "":
				first = m.Value
			}
		}
	}
	return first
}

// describeUnwrittenNumber returns the fault of a matcher for the bound of a bucket that no page with types has: on these pages every
// reader writes bounds like 1.0. It is empty without such a matcher. Quantiles are no fault: quantiles of gauges, as of the exporter for JMX, stay
// as they are.
func (t *exprTree) describeUnwrittenNumber() string {
	for _, v := range t.selectors {
		for _, m := range v.LabelMatchers {
			if number := correctUnwrittenNumber(m); number != "" {
				return fmt.Sprintf("%s matches no series of a page with types, whose numbers are read as in Prometheus 3; write %s", m, number)
			}
		}
	}
	return ""
}

// correctUnwrittenNumber returns how the first number that a matcher admits is written, if it admits a few numbers and none as it is written;
// empty for any other matcher.
func correctUnwrittenNumber(m *labels.Matcher) (first string) {
	admitted := m.SetMatches()
	if m.Type == labels.MatchEqual {
		admitted = []string{m.Value}
	}
	if m.Name != model.BucketLabel {
		return ""
	}
	for _, text := range admitted {
		number, err := strconv.ParseFloat(text, 64)
		written := labels.FormatOpenMetricsFloat(number)
		if err != nil || m.Matches(written) {
			return ""
		}
		first = cmp.Or(first, written)
	}
	return first
}

func aggregateMayHaveLabel(e *parser.AggregateExpr, label string) bool {
	switch e.Op {
	case parser.TOPK, parser.BOTTOMK, parser.LIMITK, parser.LIMIT_RATIO:
		return exprMayHaveLabel(e.Expr, label) // these choose series and leave their labels unchanged
	case parser.COUNT_VALUES:
		if p, ok := e.Param.(*parser.StringLiteral); ok && p.Val == label {
			return true
		}
	}
	return slices.Contains(e.Grouping, label) != e.Without && exprMayHaveLabel(e.Expr, label)
}

// callMayHaveLabel assumes the labels of the function's vector, except for functions that make labels.
func callMayHaveLabel(e *parser.Call, label string) bool {
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
		return false // hour() and the like, without an argument
	}
	return slices.ContainsFunc(e.Args, func(arg parser.Expr) bool { return exprMayHaveLabel(arg, label) })
}

func binaryMayHaveLabel(e *parser.BinaryExpr, label string) bool {
	left, right := exprMayHaveLabel(e.LHS, label), exprMayHaveLabel(e.RHS, label)
	m := e.VectorMatching
	if m == nil { // a scalar side has no labels
		return left || right
	}
	included := slices.Contains(m.Include, label) // taken from the other side, or dropped if absent there
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
	// One to one: the left side's labels, restricted to the matched labels.
	return left && slices.Contains(m.MatchingLabels, label) == m.On
}
