// Expressions that never give a number, whatever the series.

package rule

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// nativeHistogramFunctions are the functions without a result for classic histograms.
var nativeHistogramFunctions = []string{
	"histogram_avg", "histogram_count", "histogram_sum", "histogram_stddev", "histogram_stdvar",
}

// findRuleNeverWorking returns the reason why no evaluation of the expression gives a number, or nil. certain are labels that all
// series have.
func (t *exprTree) findRuleNeverWorking(certain ...string) (found error) {
	parser.Inspect(t.root, func(node parser.Node, _ []parser.Node) error {
		if found != nil {
			return found // ends the visit
		}
		switch n := node.(type) {
		case *parser.Call:
			found = findRuleNeverWorkingCall(n)
		case *parser.AggregateExpr:
			if n.Op == parser.QUANTILE {
				found = rejectRuleQuantile(n.Param)
			}
		case *parser.BinaryExpr:
			found = findRuleNeverWorkingOperation(n, certain)
		}
		return nil
	})
	return found
}

// findRuleNeverMatching returns an error for a selector that no series matches: its matchers exclude each other, or demand that a label
// is empty that all series have. It ignores matchers with made-up names, which may be others.
func (t *exprTree) findRuleNeverMatching(certain []string, madeUp ...string) error {
	for _, v := range t.selectors {
		var fixed []*labels.Matcher
		for _, m := range v.LabelMatchers {
			mentions := func(name string) bool { return m.Value == name || slices.Contains(m.SetMatches(), name) }
			if m.Name == model.MetricNameLabel || m.Name == matcherMarkerLabel || slices.ContainsFunc(madeUp, mentions) {
				continue
			}
			if slices.Contains(certain, m.Name) && isEmptyRuleMatcher(m) {
				return fmt.Errorf("%s matches no series, because all have the label %s; remove it", m, m.Name)
			}
			for _, other := range fixed {
				if other.Name == m.Name && (excludesRuleMatcher(m, other) || excludesRuleMatcher(other, m)) {
					return fmt.Errorf("%s and %s exclude each other, so that no series matches; remove one", other, m)
				}
			}
			fixed = append(fixed, m)
		}
	}
	return nil
}

// isEmptyRuleMatcher reports whether a matcher admits only series without its label.
func isEmptyRuleMatcher(m *labels.Matcher) bool {
	return m.Value == "" && (m.Type == labels.MatchEqual || m.Type == labels.MatchRegexp)
}

// excludesRuleMatcher reports whether no value that m admits, of its few values, matches the other.
func excludesRuleMatcher(m, other *labels.Matcher) bool {
	values := []string{m.Value}
	if m.Type != labels.MatchEqual {
		if values = m.SetMatches(); m.Type != labels.MatchRegexp || len(values) == 0 {
			return false
		}
	}
	return !slices.ContainsFunc(values, other.Matches)
}

func findRuleNeverWorkingCall(e *parser.Call) error {
	switch e.Func.Name {
	case "histogram_quantile", "quantile_over_time":
		if err := rejectRuleQuantile(e.Args[0]); err != nil {
			return err
		}
	case "round":
		if len(e.Args) == 2 {
			if to, ok := evaluateConstantRuleExpr(e.Args[1]); ok && to == 0 {
				return errors.New("round: to a multiple of 0 gives no finite result; write another number, such as 0.001")
			}
		}
	case "clamp":
		low, lowOK := evaluateConstantRuleExpr(e.Args[1])
		if high, ok := evaluateConstantRuleExpr(e.Args[2]); ok && lowOK && low > high {
			return errors.New("clamp: its minimum is greater than its maximum, so that it never has a result; swap the two")
		}
	}
	switch e.Func.Name {
	case "histogram_quantile", "histogram_fraction":
		buckets := e.Args[len(e.Args)-1]
		if readsClassicRuleBuckets(buckets) && !ruleExprMayHaveLabel(buckets, model.BucketLabel) {
			return fmt.Errorf("%s: its buckets have no label le; aggregate by (le, …)", e.Func.Name)
		}
	}
	return nil
}

// findNativeHistogramRuleCall returns the name of a function of native histograms; empty without any.
func (t *exprTree) findNativeHistogramRuleCall() (name string) {
	parser.Inspect(t.root, func(node parser.Node, _ []parser.Node) error {
		if c, ok := node.(*parser.Call); ok && slices.Contains(nativeHistogramFunctions, c.Func.Name) {
			name = c.Func.Name
		}
		return nil
	})
	return name
}

// readsClassicRuleBuckets reports whether all selectors are of classic buckets, by their names.
func readsClassicRuleBuckets(expr parser.Expr) bool {
	selectors := parser.ExtractSelectors(expr)
	return len(selectors) > 0 && !slices.ContainsFunc(selectors, func(matchers []*labels.Matcher) bool {
		return !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool {
			return m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual && strings.HasSuffix(m.Value, "_bucket")
		})
	})
}

// rejectRuleQuantile returns an error for a constant that is no quantile: all results would be infinite.
func rejectRuleQuantile(param parser.Expr) error {
	q, ok := evaluateConstantRuleExpr(param)
	if !ok || q >= 0 && q <= 1 {
		return nil
	}
	text := strconv.FormatFloat(q, 'g', -1, 64)
	if q > 1 && q <= 100 {
		return fmt.Errorf("the quantile %s is greater than 1, so that every result is infinite; write %s",
			text, strconv.FormatFloat(q/100, 'g', 10, 64))
	}
	return fmt.Errorf("the quantile %s gives no finite result; write a number from 0 to 1", text)
}

// evaluateConstantRuleExpr returns the number that a constant expression stands for.
func evaluateConstantRuleExpr(expr parser.Expr) (float64, bool) {
	switch e := expr.(type) {
	case *parser.NumberLiteral:
		return e.Val, true
	case *parser.ParenExpr:
		return evaluateConstantRuleExpr(e.Expr)
	case *parser.StepInvariantExpr:
		return evaluateConstantRuleExpr(e.Expr)
	case *parser.UnaryExpr:
		v, ok := evaluateConstantRuleExpr(e.Expr)
		if e.Op == parser.SUB {
			v = -v
		}
		return v, ok
	case *parser.BinaryExpr:
		left, leftOK := evaluateConstantRuleExpr(e.LHS)
		right, rightOK := evaluateConstantRuleExpr(e.RHS)
		if leftOK && rightOK {
			return combineConstantRuleExprs(e.Op, left, right)
		}
	}
	return 0, false
}

func combineConstantRuleExprs(op parser.ItemType, left, right float64) (float64, bool) {
	switch op {
	case parser.ADD:
		return left + right, true
	case parser.SUB:
		return left - right, true
	case parser.MUL:
		return left * right, true
	case parser.DIV:
		return left / right, true
	}
	return 0, false
}

// findRuleNeverWorkingOperation returns an error for a division by the number 0, and for two sides without a common label set: one has
// a label for certain that the other cannot have, and both must be equal in it.
func findRuleNeverWorkingOperation(e *parser.BinaryExpr, certain []string) error {
	if divisor, ok := evaluateConstantRuleExpr(e.RHS); ok && divisor == 0 && (e.Op == parser.DIV || e.Op == parser.MOD) {
		return fmt.Errorf("%s 0 gives no finite result; write another number", e.Op)
	}
	for _, side := range []parser.Expr{e.LHS, e.RHS} {
		v, ok := evaluateConstantRuleExpr(side)
		if ok && (math.IsNaN(v) || math.IsInf(v, 0)) && slices.Contains([]parser.ItemType{parser.ADD, parser.SUB, parser.MUL}, e.Op) {
			return fmt.Errorf("%s %v gives no finite result; write a finite number", e.Op, v)
		}
	}
	if e.Op == parser.LUNLESS && e.LHS.String() == e.RHS.String() {
		return fmt.Errorf("both sides of unless are %s, so that it never has a result", e.LHS)
	}
	m := e.VectorMatching
	if m == nil || e.Op == parser.LOR || e.Op == parser.LUNLESS {
		return nil
	}
	for _, label := range append(certainLabelsOfRuleExpr(e), certain...) {
		if slices.Contains(m.MatchingLabels, label) != m.On {
			continue // the sides may differ in it
		}
		side := ""
		switch {
		case ruleExprHasLabel(e.LHS, label, certain) && !ruleExprMayHaveLabel(e.RHS, label):
			side = "right"
		case ruleExprHasLabel(e.RHS, label, certain) && !ruleExprMayHaveLabel(e.LHS, label):
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

// certainLabelsOfRuleExpr returns the labels that the matchers of the selectors demand, except the name.
func certainLabelsOfRuleExpr(expr parser.Expr) []string {
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

// ruleExprHasLabel returns true only if every result has the label. certain are labels that all series have.
func ruleExprHasLabel(expr parser.Expr, label string, certain []string) bool {
	switch e := expr.(type) {
	case *parser.VectorSelector:
		return slices.Contains(certain, label) || slices.ContainsFunc(e.LabelMatchers, func(m *labels.Matcher) bool {
			return m.Name == label && !m.Matches("")
		})
	case *parser.MatrixSelector:
		return ruleExprHasLabel(e.VectorSelector, label, certain)
	case *parser.SubqueryExpr:
		return ruleExprHasLabel(e.Expr, label, certain)
	case *parser.ParenExpr:
		return ruleExprHasLabel(e.Expr, label, certain)
	case *parser.UnaryExpr:
		return ruleExprHasLabel(e.Expr, label, certain)
	case *parser.StepInvariantExpr:
		return ruleExprHasLabel(e.Expr, label, certain)
	case *parser.AggregateExpr:
		chooses := slices.Contains([]parser.ItemType{parser.TOPK, parser.BOTTOMK, parser.LIMITK, parser.LIMIT_RATIO}, e.Op)
		return (chooses || slices.Contains(e.Grouping, label) != e.Without) && ruleExprHasLabel(e.Expr, label, certain)
	case *parser.Call:
		return ruleCallHasLabel(e, label, certain)
	case *parser.BinaryExpr:
		return ruleBinaryHasLabel(e, label, certain)
	}
	return false // numbers and strings
}

func ruleCallHasLabel(e *parser.Call, label string, certain []string) bool {
	switch e.Func.Name {
	case "absent", "absent_over_time", "vector", "scalar":
		return false
	case "label_replace", "label_join":
		if dst, ok := e.Args[1].(*parser.StringLiteral); !ok || dst.Val == label {
			return false
		}
	case "histogram_quantile", "histogram_fraction":
		if label == model.BucketLabel {
			return false
		}
	}
	for _, arg := range e.Args {
		if kind := arg.Type(); kind == parser.ValueTypeVector || kind == parser.ValueTypeMatrix {
			return ruleExprHasLabel(arg, label, certain)
		}
	}
	return false
}

func ruleBinaryHasLabel(e *parser.BinaryExpr, label string, certain []string) bool {
	left, right := ruleExprHasLabel(e.LHS, label, certain), ruleExprHasLabel(e.RHS, label, certain)
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

// findRuleAlternativeWithout returns the alternative of an outermost `or` that cannot have the label; nil without any.
func findRuleAlternativeWithout(expr parser.Expr, label string) parser.Expr {
	switch e := expr.(type) {
	case *parser.ParenExpr:
		return findRuleAlternativeWithout(e.Expr, label)
	case *parser.BinaryExpr:
		if e.Op != parser.LOR {
			return nil
		}
		for _, side := range []parser.Expr{e.LHS, e.RHS} {
			if !ruleExprMayHaveLabel(side, label) {
				return side
			}
			if inner := findRuleAlternativeWithout(side, label); inner != nil {
				return inner
			}
		}
	}
	return nil
}

// rejectRuleAlternativeWithout returns an error for an alternative that cannot have one of the wanted labels.
func rejectRuleAlternativeWithout(t *exprTree, label string, wanted []string) error {
	side := findRuleAlternativeWithout(t.root, label)
	if side == nil {
		return nil
	}
	remedy := "aggregate by (" + strings.Join(wanted, ", ") + ")"
	if len(parser.ExtractSelectors(side)) == 0 {
		remedy = "write onMissing: {value: NUMBER} in place of it"
	}
	return fmt.Errorf("the alternative %s has no label %s to name an object; %s", side, label, remedy)
}
