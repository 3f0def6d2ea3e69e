// Whether the values of several pods add up, decided from the expression alone.

package rule

import (
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
)

// Conserves returns whether the expression is linear in rates and increases of counters: the sum over several pods is
// the total of their counts. The counts of a pod that left are part of that total for as long as a window holds
// them.
func (r *Rule) Conserves() bool { return r.conserves }

// NeedsAggregate returns whether a rule for pods with this query must have an aggregate of its own, because the values of
// pods do not add up.
func NeedsAggregate(query string) bool {
	t, err := parseRuleExpr(query)
	return err == nil && nameNonAdditiveValues(t.root, true) != ""
}

// nameNonAdditiveValues names the kind of the pods' values if they do not add up, by the operations of the expression, or
// by the series that they are plain values of; empty if they may add up. A name counts only if byName.
func nameNonAdditiveValues(expr parser.Expr, byName bool) string {
	if what := nameNonAdditiveExpr(expr); what != "" {
		return what
	}
	if s := findPlainSeriesInRule(expr); s != nil {
		return nameNonAdditiveSeries(s, byName)
	}
	return ""
}

// nameNonAdditiveSum names the kind of an expression's series if no sum of them has a meaning; empty if one may have.
func nameNonAdditiveSum(expr parser.Expr) string {
	if what := nameNonAdditiveSummands(expr); what != "" {
		return what
	}
	if s := findPlainSeriesInRule(expr); s != nil {
		return nameNonAdditiveSeries(s, true)
	}
	return ""
}

// stripPlainSums returns an expression without its sums of plain series. Of values that do not add up, a pod then has one series, or the
// evaluation fails.
func stripPlainSums(expr parser.Expr) parser.Expr {
	if findPlainSeriesInRule(expr) == nil {
		return expr
	}
	switch e := expr.(type) {
	case *parser.ParenExpr:
		e.Expr = stripPlainSums(e.Expr)
	case *parser.UnaryExpr:
		e.Expr = stripPlainSums(e.Expr)
	case *parser.SubqueryExpr:
		e.Expr = stripPlainSums(e.Expr)
	case *parser.AggregateExpr:
		return stripPlainSums(e.Expr)
	case *parser.Call:
		e.Args[0] = stripPlainSums(e.Args[0])
	case *parser.BinaryExpr:
		if side := findPassedOperand(e); side != nil {
			*side = stripPlainSums(*side)
		}
	}
	return expr
}

// NewSeriesSumError returns the error of a pod with several series of NonAdditive, such as the one given.
func (r *Rule) NewSeriesSumError(series string) error {
	const maxBytes = 300 // in the status of an HPA
	return metric.Errorf(metric.KindInvalid, "values of %s do not add up over the series of a pod, such as %s: choose one series by the metric's "+
		"selector, or write a rule with max or avg by (%s, %s)", r.NonAdditive, plaintext.Clip(series, maxBytes), r.NamespaceLabel, r.ObjectLabel)
}

// passingFunctions are the functions that return values of their series, smoothed or bounded.
var passingFunctions = []string{
	"avg_over_time", "last_over_time", "first_over_time", "clamp", "clamp_min", "clamp_max", "abs", "ceil", "floor", "round",
}

// findPlainSeriesInRule returns the selector from which an expression passes values on: as they are, filtered, smoothed, in another unit, or summed
// over other labels. It returns nil for other expressions.
func findPlainSeriesInRule(expr parser.Expr) *parser.VectorSelector {
	if inner := findInnerRuleExpr(expr); inner != nil {
		return findPlainSeriesInRule(inner)
	}
	switch e := expr.(type) {
	case *parser.VectorSelector:
		return e
	case *parser.AggregateExpr:
		if e.Op == parser.SUM {
			return findPlainSeriesInRule(e.Expr)
		}
	case *parser.Call:
		if slices.Contains(passingFunctions, e.Func.Name) {
			return findPlainSeriesInRule(e.Args[0])
		}
	case *parser.BinaryExpr:
		if side := findPassedOperand(e); side != nil {
			return findPlainSeriesInRule(*side)
		}
	}
	return nil
}

// findPassedOperand returns the side of an operation from which it passes values on: as they are, some of them, or in another unit. It
// returns nil for other operations, and where all labels must match, so that the side must keep its labels.
func findPassedOperand(e *parser.BinaryExpr) *parser.Expr {
	filters := e.Op == parser.LAND || e.Op == parser.LUNLESS || e.Op.IsComparisonOperator() && !e.ReturnBool
	switch {
	case e.Op == parser.MUL && isConstantExpr(e.LHS), filters && e.LHS.Type() == parser.ValueTypeScalar:
		return &e.RHS
	case (e.Op == parser.MUL || e.Op == parser.DIV) && isConstantExpr(e.RHS), filters && (e.VectorMatching == nil || e.VectorMatching.On):
		return &e.LHS
	}
	return nil
}

// nameNonAdditiveSeries describes series by the label of a summary's quantiles, or by a name that leaves no doubt.
func nameNonAdditiveSeries(s *parser.VectorSelector, byName bool) string {
	for _, m := range s.LabelMatchers {
		if m.Name == model.QuantileLabel && !m.Matches("") {
			return "a quantile"
		}
	}
	name := findSelectorMetric(s)
	for _, gauge := range doubtlessEndings {
		if byName && hasMetricNameEnding(name, gauge.endings) {
			return gauge.what + " (" + name + ")"
		}
	}
	return ""
}

// doubtlessEndings are the endings of gauges with values that never add up. A longer list would reject rules that are meant: seconds, for
// example, add up where they are a backlog.
var doubtlessEndings = []struct {
	what    string
	endings []string
}{
	{"a ratio", []string{"ratio", "fraction", "percent", "percentage", "perc", "pct", "utilization", "utilisation", "util"}},
	{"a temperature", []string{"celsius", "fahrenheit", "kelvin", "temperature"}},
	{"a mean", []string{"avg", "mean", "average", "median"}},
	{"a quantile", []string{"quantile", "p50", "p75", "p90", "p95", "p99", "p999"}},
}

// exprConservesCounts implements Rule.Conserves.
func exprConservesCounts(expr parser.Expr) bool {
	if inner := findInnerRuleExpr(expr); inner != nil {
		return exprConservesCounts(inner)
	}
	switch e := expr.(type) {
	case *parser.AggregateExpr:
		return e.Op == parser.SUM && exprConservesCounts(e.Expr)
	case *parser.Call:
		if e.Func.Name != "rate" && e.Func.Name != "increase" {
			return false
		}
		_, ok := e.Args[0].(*parser.MatrixSelector)
		return ok
	case *parser.BinaryExpr:
		switch e.Op {
		case parser.ADD, parser.SUB:
			return exprConservesCounts(e.LHS) && exprConservesCounts(e.RHS)
		case parser.MUL:
			return isConstantExpr(e.LHS) && exprConservesCounts(e.RHS) || exprConservesCounts(e.LHS) && isConstantExpr(e.RHS)
		case parser.DIV:
			return exprConservesCounts(e.LHS) && isConstantExpr(e.RHS)
		}
	}
	return false
}

// nameNonAdditiveExpr returns the outermost operation with results that do not add up over pods, such as "a
// quantile"; empty if they may add up.
func nameNonAdditiveExpr(expr parser.Expr) string {
	if inner := findInnerRuleExpr(expr); inner != nil {
		return nameNonAdditiveExpr(inner)
	}
	switch e := expr.(type) {
	case *parser.AggregateExpr:
		return nameNonAdditiveAggregate(e)
	case *parser.BinaryExpr:
		return nameNonAdditiveOperator(e)
	case *parser.Call:
		return nameNonAdditiveCall(e)
	}
	return ""
}

func nameNonAdditiveAggregate(e *parser.AggregateExpr) string {
	switch e.Op {
	case parser.AVG:
		return "a mean"
	case parser.MAX:
		return "a maximum"
	case parser.MIN:
		return "a minimum"
	case parser.QUANTILE:
		return "a quantile"
	case parser.STDDEV, parser.STDVAR:
		return "a deviation"
	case parser.TOPK, parser.BOTTOMK, parser.LIMITK, parser.LIMIT_RATIO:
		return nameNonAdditiveExpr(e.Expr) // chooses series
	}
	if e.Op == parser.SUM {
		return nameNonAdditiveSummands(e.Expr)
	}
	return "" // the author of an inner count wants an outer sum
}

// nameNonAdditiveSummands describes the summands of an inner sum if no sum of them has a meaning: quantiles, and ratios of series,
// which are shares or means of events. Their author wants other labels. The author of any other inner sum wants an outer sum too.
func nameNonAdditiveSummands(expr parser.Expr) string {
	if inner := findInnerRuleExpr(expr); inner != nil {
		return nameNonAdditiveSummands(inner)
	}
	switch e := expr.(type) {
	case *parser.AggregateExpr:
		if e.Op == parser.SUM {
			return nameNonAdditiveSummands(e.Expr)
		}
	case *parser.BinaryExpr:
		if side := findPassedOperand(e); side != nil {
			return nameNonAdditiveSummands(*side)
		}
		if e.Op == parser.DIV && readsCounterRates(e.LHS) && readsCounterRates(e.RHS) {
			return "a ratio"
		}
	case *parser.Call:
		if what := nonAdditiveFunctions[e.Func.Name]; what == "a quantile" {
			return what
		}
	}
	return ""
}

// readsCounterRates reports whether the values of an expression are rates or increases, or sums of them.
func readsCounterRates(expr parser.Expr) bool {
	if inner := findInnerRuleExpr(expr); inner != nil {
		return readsCounterRates(inner)
	}
	switch e := expr.(type) {
	case *parser.AggregateExpr:
		return e.Op == parser.SUM && readsCounterRates(e.Expr)
	case *parser.Call:
		return slices.Contains([]string{"rate", "irate", "increase"}, e.Func.Name)
	}
	return false
}

func nameNonAdditiveOperator(e *parser.BinaryExpr) string {
	leftScalar, rightScalar := e.LHS.Type() == parser.ValueTypeScalar, e.RHS.Type() == parser.ValueTypeScalar
	switch e.Op {
	case parser.ADD, parser.SUB:
		if leftScalar || rightScalar {
			return "a difference from one number"
		}
	case parser.DIV:
		if !isConstantExpr(e.RHS) {
			return "a ratio"
		}
	case parser.MOD, parser.POW, parser.ATAN2:
		return "a result of " + e.Op.String()
	}
	if leftScalar {
		return nameNonAdditiveExpr(e.RHS)
	}
	if left := nameNonAdditiveExpr(e.LHS); left != "" || rightScalar {
		return left
	}
	if e.Op == parser.LOR || e.Op == parser.ADD || e.Op == parser.SUB {
		return nameNonAdditiveExpr(e.RHS)
	}
	return "" // a join, or a condition, by the right side
}

// nonAdditiveFunctions maps functions with results that do not add up to their descriptions.
var nonAdditiveFunctions = map[string]string{
	"histogram_quantile": "a quantile", "histogram_quantiles": "a quantile", "quantile_over_time": "a quantile",
	"histogram_avg": "a mean", "histogram_fraction": "a ratio", "histogram_stddev": "a deviation", "histogram_stdvar": "a deviation",
	"stddev_over_time": "a deviation", "stdvar_over_time": "a deviation", "mad_over_time": "a deviation",
	"max_over_time": "a maximum", "min_over_time": "a minimum", "timestamp": "a time",
	"ts_of_max_over_time": "a time", "ts_of_min_over_time": "a time", "ts_of_last_over_time": "a time", "ts_of_first_over_time": "a time",
	"year": "a time", "month": "a time", "day_of_month": "a time", "day_of_week": "a time", "day_of_year": "a time",
	"days_in_month": "a time", "hour": "a time", "minute": "a time",
	"ln": "a logarithm", "log2": "a logarithm", "log10": "a logarithm", "exp": "an exponential", "sqrt": "a root",
}

func nameNonAdditiveCall(e *parser.Call) string {
	if text := nonAdditiveFunctions[e.Func.Name]; text != "" {
		return text
	}
	for _, arg := range e.Args {
		if kind := arg.Type(); kind == parser.ValueTypeVector || kind == parser.ValueTypeMatrix {
			if text := nameNonAdditiveExpr(arg); text != "" {
				return text
			}
		}
	}
	return ""
}

// nonAdditiveEndings are the endings of gauges with values that do not add up over pods.
var nonAdditiveEndings = []string{
	"ratio", "fraction", "percent", "percentage", "perc", "pct", "seconds", "milliseconds", "microseconds", "nanoseconds", "ms", "minutes", "hours",
	"days", "age", "duration", "latency", "uptime", "celsius", "fahrenheit", "kelvin", "temperature", "temp", "volts",
	"hertz", "info", "timestamp", "time", "created", "avg", "mean", "average", "median", "max", "min",
	"quantile", "p50", "p75", "p90", "p95", "p99", "p999", "utilization", "utilisation", "util", "version",
}

// findNonAdditiveGauge returns the first name used by its plain value that endsLikeNonAdditiveGauge; empty without any.
func findNonAdditiveGauge(uses []familyUse) string {
	for _, u := range uses {
		if !u.asCounter && endsLikeNonAdditiveGauge(u.name) {
			return u.name
		}
	}
	return ""
}

// endsLikeNonAdditiveGauge returns whether a gauge's name says that the values of several pods do not add up.
func endsLikeNonAdditiveGauge(name string) bool {
	return hasMetricNameEnding(name, nonAdditiveEndings)
}

// hasMetricNameEnding returns whether the last word of a name is one of the endings, in upper or lower case.
func hasMetricNameEnding(name string, endings []string) bool {
	last := name[strings.LastIndexAny(name, "_.:")+1:]
	return slices.Contains(endings, strings.ToLower(last))
}
