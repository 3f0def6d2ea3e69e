// What to do about a query that does not parse.

package rule

import (
	"regexp"
	"strings"

	"github.com/prometheus/prometheus/promql/parser"
)

var (
	unknownFunctionRegexp      = regexp.MustCompile(`unknown function with name "(\w+)"$`)
	experimentalFunctionRegexp = regexp.MustCompile(`(?:function "(\w+)" is not enabled|(\w+)\(\) is experimental and must be enabled .*)$`)
	// rangeVariableRegexp matches the variables that Grafana and people's own scripts replace, as a range.
	rangeVariableRegexp = regexp.MustCompile(`\[\s*\$\{?(\w+)`)
)

// explainRuleParseError returns the message of a parse error with what to do about it.
func explainRuleParseError(msg, query string) string {
	if experimentalFunctionRegexp.MatchString(msg) {
		return experimentalFunctionRegexp.ReplaceAllString(msg, "$1$2 is an experimental function, which rules do not have; "+
			"write it with other functions, or as a recording rule of a server")
	}
	if m := unknownFunctionRegexp.FindStringSubmatch(msg); m != nil {
		if _, ok := parser.Functions[strings.ToLower(m[1])]; ok {
			return msg + "; write " + strings.ToLower(m[1])
		}
	}
	if strings.HasSuffix(msg, "got instant vector") && strings.Contains(msg, "expected type range vector") {
		return msg + "; give it a range, such as [1m]"
	}
	switch m := rangeVariableRegexp.FindStringSubmatch(query); {
	case strings.Contains(query, "<<"):
		return msg + "; <<…>> is for rules of prometheus-adapter, with seriesQuery and metricsQuery"
	case m != nil && m[1] != windowVariable[1:]:
		return msg + "; $" + m[1] + " is no variable of rules: write [$window], or a duration such as [1m]"
	case strings.Contains(msg, "unexpected character: '.'"):
		return msg + "; write a name with dots in quotes and braces: {\"http.requests\"}"
	case mayRuleBeMetricsQL(query) && !strings.Contains(query, windowVariable):
		return msg + "; the query is MetricsQL, and rules are PromQL"
	case strings.Contains(query, "{{"):
		return msg + "; {{…}} is a template that nothing has replaced"
	}
	return msg
}
