// MetricsQL, the dialect of VictoriaMetrics: only queries of templated rules may be in it.

package rule

import (
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/VictoriaMetrics/metricsql"
)

// Only metricsql.go uses VictoriaMetrics's syntax tree.

// maxMetricsQLBytes bounds the text outside strings: the parser needs stack for each bracket.
const maxMetricsQLBytes = 16 << 10

// expandingRegexp matches expressions that the parser replaces by longer text. Nested, they grow exponentially.
var expandingRegexp = regexp.MustCompile(`(?i)\b(with|ru|ttf)\s*\(`)

// errMetricsQLTooLarge is the error for a text that may or may not be MetricsQL.
var errMetricsQLTooLarge = errors.New("the text is too large to parse")

func parseMetricsQL(text string) (metricsql.Expr, error) {
	if countBytesOutsideStrings(text) > maxMetricsQLBytes || expandingRegexp.MatchString(text) {
		return nil, errMetricsQLTooLarge
	}
	return metricsql.Parse(text)
}

// countBytesOutsideStrings returns the number of bytes that are in no string.
func countBytesOutsideStrings(text string) int {
	b, n := []byte(text), 0
	for i := 0; i < len(b); n++ {
		switch b[i] {
		case '"', '\'', '`':
			i = findPromQLStringEnd(b, i)
		default:
			i++
		}
	}
	return n
}

// mayBeMetricsQL reports whether VictoriaMetrics may evaluate the text.
func mayBeMetricsQL(text string) bool {
	_, err := parseMetricsQL(text)
	return err == nil || errors.Is(err, errMetricsQLTooLarge)
}

// isMetricsQLOfNamespace reports whether every selector of the text has a matcher for the namespace.
func isMetricsQLOfNamespace(text, label, namespace string) bool {
	root, err := parseMetricsQL(text)
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

// metricsQLSumRegexp matches the aggregations whose results have the labels of their grouping alone.
var metricsQLSumRegexp = regexp.MustCompile(`^(?i:avg|count|distinct|geomean|group|max|median|min|mode|quantile|stddev|stdvar|sum|sum2)$`)

// findMetricsQLLostLabel returns the label, of those given, that no result of the text can have; empty if each may.
func findMetricsQLLostLabel(text string, labels []string) string {
	root, err := parseMetricsQL(text)
	if err != nil {
		return ""
	}
	e, ok := root.(*metricsql.AggrFuncExpr)
	if !ok || !metricsQLSumRegexp.MatchString(e.Name) {
		return ""
	}
	without := strings.EqualFold(e.Modifier.Op, "without") // no modifier is by ()
	for _, label := range labels {
		if slices.Contains(e.Modifier.Args, label) == without {
			return label
		}
	}
	return ""
}
