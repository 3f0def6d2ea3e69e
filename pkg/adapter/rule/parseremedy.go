// The way out for a query that does not parse.

package rule

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/prometheus/promql/parser"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

var (
	unknownFunctionRegexp      = regexp.MustCompile(`unknown function with name "(\w+)"$`)
	experimentalFunctionRegexp = regexp.MustCompile(`(?:function "(\w+)" is not enabled|(\w+)\(\) is experimental and must be enabled .*)$`)
	// rangeVariableRegexp matches the variables that Grafana and people's own scripts replace, as a range or as the step of a subquery.
	rangeVariableRegexp = regexp.MustCompile(`\[(?:\w+:)?\s*["']?\$\{?(\w+)`)
	// metricsQLErrorRegexp matches the errors about an element that only MetricsQL has: a word, a sign or a function.
	metricsQLErrorRegexp = regexp.MustCompile(`: (unexpected|unknown function) `)
	// backslashReferenceRegexp matches a reference to a group as other programs write it.
	backslashReferenceRegexp = regexp.MustCompile(`\\[0-9]`)
	// bareVariableRegexp matches a variable without braces.
	bareVariableRegexp = regexp.MustCompile(`\$(\w+)`)
)

// typographicMarks are characters that look like others: quotes, a space that does not break a line, a space without a width, dashes.
const typographicMarks = "\u201c\u201d\u2018\u2019\u00ab\u00bb\u00a0\u200b\u2013\u2014"

// ruleAggregations are the operators that people take for functions.
var ruleAggregations = []string{"avg", "bottomk", "count", "count_values", "group", "max", "min", "quantile", "stddev", "stdvar", "sum", "topk"}

// findNearestFunction returns the known function closest to a name; empty if there is none.
func findNearestFunction(name string) string {
	lower := strings.ToLower(name)
	best, bestDistance := "", 3
	for _, known := range slices.Concat(slices.Sorted(maps.Keys(parser.Functions)), ruleAggregations) {
		if f := parser.Functions[known]; f != nil && f.Experimental {
			continue
		}
		if d := strict.EditDistance(lower, known); d < bestDistance && d <= max(1, len(known)/4) {
			best, bestDistance = known, d
		}
	}
	return best
}

// suggestNearestFunction returns the way out of the error of an unknown function; empty for other errors, and without a close name.
func suggestNearestFunction(msg string) string {
	m := unknownFunctionRegexp.FindStringSubmatch(msg)
	if m == nil {
		return ""
	}
	if near := findNearestFunction(m[1]); near != "" {
		return "; write " + near
	}
	return ""
}

// explainGrafanaVariable returns the way out for a duration that only Grafana replaces; empty without any.
func explainGrafanaVariable(query string) string {
	m := rangeVariableRegexp.FindStringSubmatch(query)
	if m == nil || !strings.HasPrefix(m[1], "__") {
		return ""
	}
	return "; $" + m[1] + " is a variable of Grafana: write a duration, such as [5m]"
}

// explainParseError returns the message of a parse error with its remedy.
func explainParseError(msg, query string) string {
	if experimentalFunctionRegexp.MatchString(msg) {
		return experimentalFunctionRegexp.ReplaceAllString(msg, "$1$2 is an experimental function, which rules do not have; "+
			"write it with other functions, or as a recording rule of a server")
	}
	if remedy := suggestNearestFunction(msg); remedy != "" {
		return msg + remedy
	}
	if strings.HasSuffix(msg, "got instant vector") && strings.Contains(msg, "expected type range vector") {
		return msg + "; give it a range, such as [1m]"
	}
	if i := strings.IndexAny(query, typographicMarks); i >= 0 {
		r, _ := utf8.DecodeRuneInString(query[i:])
		return msg + fmt.Sprintf("; the query has the character %q, which a page or a word processor has put there: type it anew", r)
	}
	switch m := rangeVariableRegexp.FindStringSubmatch(query); {
	case strings.Contains(query, "<<"):
		return msg + "; <<…>> is for rules of prometheus-adapter, with seriesQuery and metricsQuery"
	case m != nil && m[1] != windowVariable[1:]:
		return msg + "; $" + m[1] + " is no variable of rules: write [$window], or a duration such as [1m]"
	case m != nil && strings.Contains(msg, "duration expression"):
		return msg + "; the range is [$window], without braces, quotes or arithmetic"
	case strings.HasSuffix(msg, "not enabled"):
		return strings.TrimSuffix(msg, "not enabled") + "not part of rules; write it as a recording rule of a server"
	case strings.Contains(msg, "escape sequence") && backslashReferenceRegexp.MatchString(query):
		ref := backslashReferenceRegexp.FindString(query)
		return msg + "; " + ref + " is no reference to a group: write ${" + ref[1:] + "}"
	case strings.Contains(msg, "unexpected character: '$'") && bareVariableRegexp.MatchString(query):
		name := bareVariableRegexp.FindStringSubmatch(query)[1]
		return msg + "; $" + name + " is no variable of rules: ${" + name + "} is a group of match"
	case strings.Contains(msg, "unexpected character: '.'"):
		return msg + "; write a name with dots in quotes and braces: {\"http.requests\"}"
	case metricsQLErrorRegexp.MatchString(msg) && mayBeMetricsQL(query) && !strings.Contains(query, windowVariable):
		return msg + "; the query is MetricsQL, and rules are PromQL"
	case strings.Contains(query, "{{"):
		return msg + "; {{…}} is a template that nothing has replaced"
	}
	return msg
}
