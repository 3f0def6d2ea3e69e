// Expressions that never give a number, from any series.

package rule

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// nativeHistogramFunctions are the functions without a result for classic histograms.
var nativeHistogramFunctions = []string{
	"histogram_avg", "histogram_count", "histogram_sum", "histogram_stddev", "histogram_stdvar",
}

// findNeverWorking returns the reason why no evaluation of the expression gives a number, or nil. certain are labels that all
// series have.
func (t *exprTree) findNeverWorking(certain ...string) (found error) {
	parser.Inspect(t.root, func(node parser.Node, _ []parser.Node) error {
		if found != nil {
			return found // ends the visit
		}
		switch n := node.(type) {
		case *parser.Call:
			found = findNeverWorkingCall(n)
		case *parser.AggregateExpr:
			found = findNeverWorkingAggregate(n)
		case *parser.BinaryExpr:
			found = findNeverWorkingOperator(n, certain)
		}
		return nil
	})
	return found
}

// findNeverMatching returns an error for a selector that no series matches: its matchers exclude each other, or admit no name of an
// object for a label that all series have. It ignores matchers with made-up names, which may be others.
func (t *exprTree) findNeverMatching(certain []string, madeUp ...string) error {
	for _, v := range t.selectors {
		fixed := slices.DeleteFunc(slices.Clone(v.LabelMatchers), func(m *labels.Matcher) bool {
			mentions := func(name string) bool { return m.Value == name || slices.Contains(m.SetMatches(), name) }
			return m.Name == matcherMarkerLabel || slices.ContainsFunc(madeUp, mentions)
		})
		if err := FindExcludingMatchers(fixed, certain); err != nil {
			return err
		}
	}
	return nil
}

// findPatternAsText returns an error for a matcher that compares the names of several objects with = or !=: templates get them as one
// regular expression, such as a|b.
func (t *exprTree) findPatternAsText(objects []string) error {
	for _, v := range t.selectors {
		for _, m := range v.LabelMatchers {
			operator := map[labels.MatchType]string{labels.MatchEqual: "=~", labels.MatchNotEqual: "!~"}[m.Type]
			if operator != "" && len(objects) > 1 && strings.Contains(m.Value, strings.Join(objects, "|")) {
				return fmt.Errorf("%s takes several names for one; write %s", m, operator)
			}
		}
	}
	return nil
}

// findAbsenceCall returns the first function that proves an absence, absent or absent_over_time, from a selector with a matcher whose
// value contains names; empty without any.
func (t *exprTree) findAbsenceCall(names string) (function string) {
	parser.Inspect(t.root, func(node parser.Node, _ []parser.Node) error {
		e, ok := node.(*parser.Call)
		if !ok || function != "" || e.Func.Name != "absent" && e.Func.Name != "absent_over_time" {
			return nil
		}
		for _, matchers := range parser.ExtractSelectors(e) {
			if slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return strings.Contains(m.Value, names) }) {
				function = e.Func.Name
			}
		}
		return nil
	})
	return function
}

// objectNameCharacters matches every name of an object, and the namespaces of rules' own targets. It does not match a variable that nothing
// has replaced, such as $pod or {{pod}}.
const objectNameCharacters = `[^${}<>\s]+`

// FindExcludingMatchers returns an error for matchers of one selector that no series satisfies. The labels in objects are names of
// objects, and all series have them.
func FindExcludingMatchers(matchers []*labels.Matcher, objects []string) error {
	for i, m := range matchers {
		isObject := slices.Contains(objects, m.Name)
		switch {
		case isObject && isEmptyLabelMatcher(m):
			return fmt.Errorf("%s matches no series, because all have the label %s; remove it", m, m.Name)
		case ExcludeEachOther([]*labels.Matcher{m}):
			return fmt.Errorf("%s matches no series, because it excludes every value; remove it", m)
		case isObject && ExcludeEachOther([]*labels.Matcher{m}, objectNameCharacters):
			return fmt.Errorf("%s matches no series, because %s is no name of an object; remove it", m, m.Value)
		}
		for _, other := range matchers[:i] {
			if other.Name == m.Name && ExcludeEachOther([]*labels.Matcher{other, m}) {
				return fmt.Errorf("%s and %s exclude each other, so that no series matches; remove one", other, m)
			}
		}
	}
	return nil
}

// isEmptyLabelMatcher reports whether a matcher admits only series without its label.
func isEmptyLabelMatcher(m *labels.Matcher) bool {
	return m.Matches("") && m.Type != labels.MatchNotEqual && ExcludeEachOther([]*labels.Matcher{m}, "(?s:.+)")
}

func findNeverWorkingCall(e *parser.Call) error {
	switch e.Func.Name {
	case "histogram_quantile", "quantile_over_time":
		if err := rejectConstantQuantile(e.Args[0]); err != nil {
			return err
		}
	case "round":
		if len(e.Args) == 2 {
			if to, ok := evaluateConstantExpr(e.Args[1]); ok && (to == 0 || math.IsNaN(to) || math.IsInf(to, 0)) {
				return fmt.Errorf("round: to a multiple of %v gives no finite result; write another number, such as 0.001", to)
			}
		}
	case "clamp":
		low, lowOK := evaluateConstantExpr(e.Args[1])
		if high, ok := evaluateConstantExpr(e.Args[2]); ok && lowOK && low > high {
			return errors.New("clamp: its minimum is greater than its maximum, so that it never has a result; swap the two")
		}
	case "label_replace", "label_join":
		if err := rejectLabelFunction(e); err != nil {
			return err
		}
	}
	switch e.Func.Name {
	case "clamp", "clamp_min", "clamp_max":
		return rejectClampBound(e)
	case "histogram_quantile", "histogram_fraction":
		return rejectQuantileBuckets(e)
	}
	return nil
}

// rejectClampBound returns an error for a bound that makes every result infinite, or no number.
func rejectClampBound(e *parser.Call) error {
	for i, arg := range e.Args[1:] {
		v, ok := evaluateConstantExpr(arg)
		isMinimum := e.Func.Name == "clamp_min" || e.Func.Name == "clamp" && i == 0
		if ok && (math.IsNaN(v) || isMinimum && math.IsInf(v, 1) || !isMinimum && math.IsInf(v, -1)) {
			return fmt.Errorf("%s: the bound %v gives no finite result; write a finite number", e.Func.Name, v)
		}
	}
	return nil
}

// rejectQuantileBuckets returns an error for the argument of a quantile that holds no classic buckets by the names and labels.
func rejectQuantileBuckets(e *parser.Call) error {
	buckets := e.Args[len(e.Args)-1]
	if readsClassicBuckets(buckets) && !exprMayHaveLabel(buckets, model.BucketLabel) {
		return fmt.Errorf("%s: its buckets have no label le; aggregate by (le, …)", e.Func.Name)
	}
	if m := findPartBucketsMatcher(buckets); m != nil {
		return fmt.Errorf("%s: %s leaves out the bucket le=\"+Inf\", without which there is no result; remove it", e.Func.Name, m)
	}
	if name := findFamilyWithoutBuckets(buckets); hasMetricNameEnding(name, []string{"sum", "count", "total"}) {
		return fmt.Errorf("%s: %s is no series of buckets, whose names end with _bucket", e.Func.Name, name)
	}
	return nil
}

// findPartBucketsMatcher returns a matcher that leaves the last bucket out of an expression, as le="0.5" does; nil if the expression
// may have that bucket.
func findPartBucketsMatcher(expr parser.Expr) (found *labels.Matcher) {
	makesBuckets := false
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		c, ok := node.(*parser.Call)
		makesBuckets = makesBuckets || ok && findLabelMadeByExpr(c) == model.BucketLabel
		return nil
	})
	if makesBuckets {
		return nil
	}
	classic := readsClassicBuckets(expr)
	for _, matchers := range parser.ExtractSelectors(expr) {
		i := slices.IndexFunc(matchers, func(m *labels.Matcher) bool {
			return m.Name == model.BucketLabel && !m.Matches("+Inf") && (classic || !m.Matches("")) // native histograms have no le
		})
		if i < 0 {
			return nil
		}
		found = matchers[i]
	}
	return found
}

// rejectLabelFunction returns an error for a label that cannot exist, and for a regular expression that is none.
func rejectLabelFunction(e *parser.Call) error {
	if dst, ok := e.Args[1].(*parser.StringLiteral); ok && !model.UTF8Validation.IsValidLabelName(dst.Val) {
		return fmt.Errorf("%s: %q is no name of a label", e.Func.Name, dst.Val)
	}
	if e.Func.Name == "label_replace" {
		if expr, ok := e.Args[4].(*parser.StringLiteral); ok {
			if _, err := regexp.Compile(expr.Val); err != nil {
				return fmt.Errorf("label_replace: %q is not a regular expression: %s", expr.Val, strings.TrimPrefix(err.Error(), "error parsing regexp: "))
			}
		}
	}
	return nil
}

// findNeverWorkingAggregate returns an error for a constant parameter that leaves no series, or no finite value.
func findNeverWorkingAggregate(e *parser.AggregateExpr) error {
	switch e.Op {
	case parser.QUANTILE:
		return rejectConstantQuantile(e.Param)
	case parser.TOPK, parser.BOTTOMK, parser.LIMITK:
		if v, ok := evaluateConstantExpr(e.Param); ok && !(v >= 1) { // also NaN
			return fmt.Errorf("%s(%v, …) chooses no series; write 1 or more", e.Op, v)
		}
	case parser.LIMIT_RATIO:
		if v, ok := evaluateConstantExpr(e.Param); ok && v == 0 {
			return fmt.Errorf("%s(0, …) chooses no series; write another ratio", e.Op)
		}
	}
	return nil
}

// findLabelLostByExpr returns an error if a label_replace around the result removes one of the labels from every series: its expression
// matches any text, and its replacement is empty, or refers to groups that the expression does not have.
func (t *exprTree) findLabelLostByExpr(wanted []string) error {
	expr := t.root
	for {
		if inner := findInnerRuleExpr(expr); inner != nil {
			expr = inner
			continue
		}
		switch e := expr.(type) {
		case *parser.AggregateExpr:
			expr = e.Expr
		case *parser.Call:
			if err := rejectLabelRemoval(e, wanted); err != nil {
				return err
			}
			i := slices.IndexFunc(e.Args, func(arg parser.Expr) bool { return arg.Type() == parser.ValueTypeVector })
			if i < 0 {
				return nil
			}
			expr = e.Args[i]
		default:
			return nil
		}
	}
}

func rejectLabelRemoval(e *parser.Call, wanted []string) error {
	label := findLabelMadeByExpr(e)
	if e.Func.Name != "label_replace" || !slices.Contains(wanted, label) {
		return nil
	}
	replacement, isText := e.Args[2].(*parser.StringLiteral)
	expr, ok := e.Args[4].(*parser.StringLiteral)
	if !isText || !ok || !matchersNeverAgree(nil, []string{"(?s:" + expr.Val + ")"}) {
		return nil
	}
	re, err := regexp.Compile("(?s:" + expr.Val + ")")
	if err != nil || !isEmptyReplacement(replacement.Val, re) {
		return nil
	}
	return fmt.Errorf("label_replace: the replacement %q is always empty, which removes the label %s from the result; "+
		"refer to a group of %q, such as ${1} for the first", replacement.Val, label, expr.Val)
}

// replacementReferenceRegexp matches a reference in a replacement. A $name extends over all letters, digits and underscores that follow.
var replacementReferenceRegexp = regexp.MustCompile(`\$(?:\$|(\w+)|\{(\w+)\})`)

// isEmptyReplacement reports whether a replacement is empty, but for references to groups that the expression does not have.
func isEmptyReplacement(replacement string, re *regexp.Regexp) bool {
	for _, ref := range replacementReferenceRegexp.FindAllStringSubmatch(replacement, -1) {
		if ref[0] == "$$" || findPatternGroup(re, ref[1]+ref[2]) >= 0 {
			return false
		}
	}
	return replacementReferenceRegexp.ReplaceAllString(replacement, "") == ""
}

// findNativeHistogramCall returns the name of a function of native histograms; empty without any.
func (t *exprTree) findNativeHistogramCall() (name string) {
	parser.Inspect(t.root, func(node parser.Node, _ []parser.Node) error {
		if c, ok := node.(*parser.Call); ok && slices.Contains(nativeHistogramFunctions, c.Func.Name) {
			name = c.Func.Name
		}
		return nil
	})
	return name
}

// readsClassicBuckets reports whether all selectors are of classic buckets, by their names.
func readsClassicBuckets(expr parser.Expr) bool {
	selectors := parser.ExtractSelectors(expr)
	return len(selectors) > 0 && !slices.ContainsFunc(selectors, func(matchers []*labels.Matcher) bool {
		return !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool {
			return m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual && strings.HasSuffix(m.Value, "_bucket")
		})
	})
}

// rejectConstantQuantile returns an error for a constant that is no quantile: all results would be infinite.
func rejectConstantQuantile(param parser.Expr) error {
	q, ok := evaluateConstantExpr(param)
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

// evaluateConstantExpr returns the number that a constant expression stands for.
func evaluateConstantExpr(expr parser.Expr) (float64, bool) {
	switch e := expr.(type) {
	case *parser.NumberLiteral:
		return e.Val, true
	case *parser.ParenExpr:
		return evaluateConstantExpr(e.Expr)
	case *parser.Call:
		if e.Func.Name == "vector" || e.Func.Name == "scalar" {
			return evaluateConstantExpr(e.Args[0])
		}
	case *parser.UnaryExpr:
		v, ok := evaluateConstantExpr(e.Expr)
		if e.Op == parser.SUB {
			v = -v
		}
		return v, ok
	case *parser.BinaryExpr:
		left, leftOK := evaluateConstantExpr(e.LHS)
		right, rightOK := evaluateConstantExpr(e.RHS)
		if leftOK && rightOK {
			return combineConstantExprs(e.Op, left, right)
		}
	}
	return 0, false
}

func combineConstantExprs(op parser.ItemType, left, right float64) (float64, bool) {
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

// findAlternativeWithout returns the alternative of an outermost `or` that cannot have the label; nil without any.
func findAlternativeWithout(expr parser.Expr, label string) parser.Expr {
	if inner := findInnerRuleExpr(expr); inner != nil {
		return findAlternativeWithout(inner, label)
	}
	e, ok := expr.(*parser.BinaryExpr)
	if !ok || e.Op != parser.LOR {
		return nil
	}
	for _, side := range []parser.Expr{e.LHS, e.RHS} {
		if !exprMayHaveLabel(side, label) {
			return side
		}
		if inner := findAlternativeWithout(side, label); inner != nil {
			return inner
		}
	}
	return nil
}

// rejectAlternativeWithout returns an error for an alternative that cannot have one of the wanted labels.
func rejectAlternativeWithout(t *exprTree, label string, wanted []string) error {
	side := findAlternativeWithout(t.root, label)
	if side == nil {
		return nil
	}
	remedy := "aggregate by (" + strings.Join(wanted, ", ") + ")"
	if len(parser.ExtractSelectors(side)) == 0 {
		remedy = "write onMissing: {value: NUMBER} in place of it"
	}
	return fmt.Errorf("the alternative %s has no label %s to name an object; %s", side, label, remedy)
}

// pairFunctions are the functions that need two values of each series.
var pairFunctions = []string{"rate", "increase", "irate", "delta", "idelta", "deriv", "predict_linear"}

// findCoarseSubquery returns the fault of a subquery with a range that does not always hold a value, or the two that a function of
// pairs needs; empty without any. A range holds the multiples of the step in it. $window is at least window.
func (t *exprTree) findCoarseSubquery(window time.Duration) (text string) {
	parser.Inspect(t.root, func(node parser.Node, path []parser.Node) error {
		s, ok := node.(*parser.SubqueryExpr)
		if !ok || s.Step == 0 {
			return nil
		}
		width, needed, why := s.Range, 1, "a range holds no value at some times"
		if width == sentinelRange {
			width = window
		}
		if c := findEnclosingCall(path); c != nil && slices.Contains(pairFunctions, c.Func.Name) {
			needed, why = 2, c.Func.Name+" needs two values, and a range holds one at some times"
		}
		if width/s.Step < time.Duration(needed) {
			text = fmt.Sprintf("a range of %s in steps of %s: %s; write a step of at most %s",
				formatPromQLRange(width), formatPromQLRange(s.Step), why, formatPromQLRange(width/time.Duration(needed)))
		}
		return nil
	})
	return text
}

// findEnclosingCall returns the function around a node, which may be in parentheses; nil without any. path leads to the node.
func findEnclosingCall(path []parser.Node) *parser.Call {
	for _, node := range slices.Backward(path) {
		if _, ok := node.(*parser.ParenExpr); !ok {
			c, _ := node.(*parser.Call)
			return c
		}
	}
	return nil
}
