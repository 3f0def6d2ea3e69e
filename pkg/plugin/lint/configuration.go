// The rules about an autoscaler's metrics beside the adapter's configuration.

package lint

import (
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/promql/parser"
	autoscalingv2 "k8s.io/api/autoscaling/v2"

	"github.com/tachometer-metrics/tachometer/pkg/kube"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/inventory"
	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// listConfigurationRules returns the rules that need the adapter's configuration among the files.
func listConfigurationRules() []Rule {
	return []Rule{
		{
			"aggregate-missing", SeverityError,
			"The adapter rejects a configuration that adds up ratios, means, maxima or quantiles of pods.",
			"Write aggregate: max, or avg, in the metric's rule.", findMissingAggregates,
		},
		{
			"external-metric-without-rule", SeverityWarning,
			"No external metric is built in: the adapter answers that there is no rule.",
			"Correct the metric's name, or add a rule with external: true.", findUndefinedExternals,
		},
	}
}

func findMissingAggregates(s subject) []string {
	return lintEachMetric(s, func(m autoscalingv2.MetricSpec) string {
		name := lintedMetricName(m)
		if name == "" || m.External != nil {
			return ""
		}
		for _, c := range s.objects.AdapterConfigs {
			for _, r := range c.Rules {
				if !r.AggregatesPods() || len(r.Aggregate) > 0 || !r.ServesMetric(name) {
					continue
				}
				if kind, aggregate := chooseAggregate(r.Query); kind != "" {
					return fmt.Sprintf("its rule in %s gives %s for each pod; add the line aggregate: %s", c.Source, kind, aggregate)
				}
			}
		}
		return ""
	})
}

// chooseAggregate names the kind of a query's values if its outermost operation says that those of pods do not add up, and the aggregate to
// write. Both are empty for all other queries: the adapter's own check knows more of them.
func chooseAggregate(query string) (kind, aggregate string) {
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(strings.ReplaceAll(query, "$window", "1m"))
	if err != nil {
		return "", ""
	}
	return chooseExprAggregate(expr)
}

func chooseExprAggregate(expr parser.Expr) (kind, aggregate string) {
	switch e := expr.(type) {
	case *parser.ParenExpr:
		return chooseExprAggregate(e.Expr)
	case *parser.Call:
		if e.Func.Name == "histogram_quantile" || e.Func.Name == "quantile_over_time" {
			return "a quantile", "max"
		}
	case *parser.AggregateExpr:
		switch e.Op {
		case parser.AVG:
			return "a mean", "avg"
		case parser.MAX:
			return "a maximum", "max"
		case parser.QUANTILE:
			return "a quantile", "max"
		}
	case *parser.BinaryExpr:
		return chooseOperatorAggregate(e)
	}
	return "", ""
}

// chooseOperatorAggregate judges a division by series, and a product with a number, which is another unit of the same kind.
func chooseOperatorAggregate(e *parser.BinaryExpr) (kind, aggregate string) {
	_, isLeftNumber := e.LHS.(*parser.NumberLiteral)
	_, isRightNumber := e.RHS.(*parser.NumberLiteral)
	switch {
	case e.Op == parser.DIV && len(parser.ExtractSelectors(e.RHS)) > 0:
		return "a ratio", "avg"
	case e.Op == parser.MUL && isLeftNumber:
		return chooseExprAggregate(e.RHS)
	case (e.Op == parser.MUL || e.Op == parser.DIV) && isRightNumber:
		return chooseExprAggregate(e.LHS)
	}
	return "", ""
}

// findUndefinedExternals looks for external metrics that no configuration among the files defines; a faulty one may define any. KEDA serves
// those of its own autoscalers.
func findUndefinedExternals(s subject) []string {
	isFaulty := slices.ContainsFunc(s.objects.AdapterConfigs, func(c inventory.AdapterConfig) bool { return c.IsFaulty })
	if len(s.objects.AdapterConfigs) == 0 || isFaulty || kube.FindScaledObject(s.hpa) != "" {
		return nil
	}
	return lintEachMetric(s, func(m autoscalingv2.MetricSpec) string {
		if m.External == nil || m.External.Metric.Name == "" {
			return ""
		}
		return describeUndefinedExternal(s.objects.AdapterConfigs, m.External.Metric.Name)
	})
}

// describeUndefinedExternal says that no rule defines an external metric, and what may be meant; nothing if a rule defines it.
func describeUndefinedExternal(configs []inventory.AdapterConfig, name string) string {
	const farthest = 2 // typos; a more distant name is another word
	var sources []string
	hint, distance := "", farthest+1
	for _, c := range configs {
		sources = append(sources, c.Source)
		for _, r := range c.Rules {
			switch d := strict.EditDistance(name, r.Metric); {
			case r.External && r.ServesMetric(name):
				return ""
			case !r.External && r.Metric == name:
				hint, distance = "; its rule lacks external: true", 0
			case r.External && r.Metric != "" && d < distance:
				hint, distance = "; nearest: "+r.Metric, d
			}
		}
	}
	return fmt.Sprintf("no rule of %s defines it%s", strings.Join(sources, ", "), hint)
}
