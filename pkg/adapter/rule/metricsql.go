// MetricsQL, the dialect of VictoriaMetrics: only queries of templated rules may be in it.

package rule

import (
	"slices"

	"github.com/VictoriaMetrics/metricsql"
)

// Only metricsql.go uses VictoriaMetrics's syntax tree.

// isMetricsQL reports whether VictoriaMetrics can evaluate the text.
func isMetricsQL(text string) bool {
	_, err := metricsql.Parse(text)
	return err == nil
}

// metricsQLIsOfNamespace reports whether every selector of the text has a matcher for the namespace.
func metricsQLIsOfNamespace(text, label, namespace string) bool {
	root, err := metricsql.Parse(text)
	if err != nil {
		return false
	}
	isOfNamespace := func(f metricsql.LabelFilter) bool { return f.Label == label && f.Value == namespace && !f.IsNegative }
	proven := true
	metricsql.VisitAll(root, func(e metricsql.Expr) {
		selector, ok := e.(*metricsql.MetricExpr)
		if !ok {
			return
		}
		for _, alternative := range selector.LabelFilterss {
			proven = proven && slices.ContainsFunc(alternative, isOfNamespace)
		}
		proven = proven && len(selector.LabelFilterss) > 0
	})
	return proven
}
