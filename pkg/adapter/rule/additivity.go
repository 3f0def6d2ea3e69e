// Whether the values of several pods add up, decided from the expression alone.

package rule

import (
	"strings"

	"github.com/prometheus/prometheus/promql/parser"
)

// Conserves returns whether the expression is linear in rates and increases of counters: the sum over several pods is
// the total of what they counted. The counts of a pod that left are part of that total for as long as a window holds
// them.
func (r *Rule) Conserves() bool { return r.conserves }

// NeedsAggregate returns whether a rule for pods with this query must have an aggregate of its own, because the values of
// pods do not add up.
func NeedsAggregate(query string) bool {
	t, err := parseRuleExpr(query)
	return err == nil && describeNonAdditiveRule(t.root) != ""
}

// ruleConservesCounts implements Rule.Conserves.
func ruleConservesCounts(expr parser.Expr) bool {
	switch e := expr.(type) {
	case *parser.ParenExpr:
		return ruleConservesCounts(e.Expr)
	case *parser.UnaryExpr:
		return ruleConservesCounts(e.Expr)
	case *parser.StepInvariantExpr:
		return ruleConservesCounts(e.Expr)
	case *parser.AggregateExpr:
		return e.Op == parser.SUM && ruleConservesCounts(e.Expr)
	case *parser.Call:
		if e.Func.Name != "rate" && e.Func.Name != "increase" {
			return false
		}
		_, ok := e.Args[0].(*parser.MatrixSelector)
		return ok
	case *parser.BinaryExpr:
		switch e.Op {
		case parser.ADD, parser.SUB:
			return ruleConservesCounts(e.LHS) && ruleConservesCounts(e.RHS)
		case parser.MUL:
			return isConstantRuleExpr(e.LHS) && ruleConservesCounts(e.RHS) || ruleConservesCounts(e.LHS) && isConstantRuleExpr(e.RHS)
		case parser.DIV:
			return ruleConservesCounts(e.LHS) && isConstantRuleExpr(e.RHS)
		}
	}
	return false
}

// describeNonAdditiveRule returns the outermost operation whose results for several pods do not add up, such as "a
// quantile"; empty if they may add up.
func describeNonAdditiveRule(expr parser.Expr) string {
	switch e := expr.(type) {
	case *parser.ParenExpr:
		return describeNonAdditiveRule(e.Expr)
	case *parser.UnaryExpr:
		return describeNonAdditiveRule(e.Expr)
	case *parser.StepInvariantExpr:
		return describeNonAdditiveRule(e.Expr)
	case *parser.SubqueryExpr:
		return describeNonAdditiveRule(e.Expr)
	case *parser.AggregateExpr:
		return describeNonAdditiveRuleAggregation(e)
	case *parser.BinaryExpr:
		return describeNonAdditiveRuleOperation(e)
	case *parser.Call:
		return describeNonAdditiveRuleCall(e)
	}
	return ""
}

func describeNonAdditiveRuleAggregation(e *parser.AggregateExpr) string {
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
		return describeNonAdditiveRule(e.Expr) // chooses series
	}
	return "" // the author of an inner sum or count wants an outer sum too
}

func describeNonAdditiveRuleOperation(e *parser.BinaryExpr) string {
	leftScalar, rightScalar := e.LHS.Type() == parser.ValueTypeScalar, e.RHS.Type() == parser.ValueTypeScalar
	switch e.Op {
	case parser.ADD, parser.SUB:
		if leftScalar || rightScalar {
			return "a difference from one number"
		}
	case parser.DIV:
		if !isConstantRuleExpr(e.RHS) {
			return "a ratio"
		}
	case parser.MOD, parser.POW, parser.ATAN2:
		return "a result of " + e.Op.String()
	}
	if leftScalar {
		return describeNonAdditiveRule(e.RHS)
	}
	if left := describeNonAdditiveRule(e.LHS); left != "" || rightScalar {
		return left
	}
	if e.Op == parser.LOR || e.Op == parser.ADD || e.Op == parser.SUB {
		return describeNonAdditiveRule(e.RHS)
	}
	return "" // a join, or a condition, by the right side
}

// nonAdditiveFunctions maps functions whose results do not add up to their descriptions.
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

func describeNonAdditiveRuleCall(e *parser.Call) string {
	if text := nonAdditiveFunctions[e.Func.Name]; text != "" {
		return text
	}
	for _, arg := range e.Args {
		if kind := arg.Type(); kind == parser.ValueTypeVector || kind == parser.ValueTypeMatrix {
			if text := describeNonAdditiveRule(arg); text != "" {
				return text
			}
		}
	}
	return ""
}

// nonAdditiveEndings are the endings of gauges whose values for several pods do not add up.
var nonAdditiveEndings = []string{
	"ratio", "percent", "percentage", "seconds", "milliseconds", "celsius", "fahrenheit", "kelvin", "volts", "hertz",
	"info", "timestamp", "time", "avg", "mean", "average", "median", "max", "min", "quantile", "p50", "p75", "p90", "p95", "p99", "p999",
	"utilization", "version",
}

// findNonAdditiveRuleGauge returns the first name used by its plain value that endsNonAdditive; empty without any.
func findNonAdditiveRuleGauge(uses []familyUse) string {
	for _, u := range uses {
		if !u.asCounter && endsLikeNonAdditiveRuleGauge(u.name) {
			return u.name
		}
	}
	return ""
}

// endsLikeNonAdditiveRuleGauge returns whether a gauge's name says that the values of several pods do not add up.
func endsLikeNonAdditiveRuleGauge(name string) bool {
	for _, ending := range nonAdditiveEndings {
		if head, ok := strings.CutSuffix(name, ending); ok && (head == "" || strings.HasSuffix(head, "_") || strings.HasSuffix(head, ".")) {
			return true
		}
	}
	return false
}
