// Pattern rules: match, except, and the references ${1} in their queries.

package rule

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
)

// namePattern is a rule's match and except. Both apply to whole names.
type namePattern struct {
	match, except *regexp.Regexp
}

// compileNamePattern anchors the expression at both ends, as PromQL does.
func compileNamePattern(expr string) (*regexp.Regexp, error) {
	re, err := regexp.Compile("^(?:" + expr + ")$")
	if err != nil {
		// Report the error of the expression as written, not as anchored.
		if _, err2 := regexp.Compile(expr); err2 != nil {
			err = err2
		}
		text := strings.TrimPrefix(err.Error(), "error parsing regexp: ")
		if strings.Contains(expr, "(?!") || strings.Contains(expr, "(?<!") {
			text += "; exclude names by except"
		}
		return nil, errors.New(text)
	}
	return re, nil
}

// ruleServesMetricName returns whether the pattern covers a metric's name.
func (p *namePattern) ruleServesMetricName(name string) bool {
	return p.match.MatchString(name) && (p.except == nil || !p.except.MatchString(name))
}

// referenceRegexp matches ${1} and ${name}.
var referenceRegexp = regexp.MustCompile(`\$\{([^}]*)\}`)

// validateRulePatternReferences rejects references to groups that match lacks.
func validateRulePatternReferences(query string, match *regexp.Regexp) error {
	for _, m := range referenceRegexp.FindAllStringSubmatchIndex(query, -1) {
		if findPatternGroup(match, query[m[2]:m[3]]) < 0 {
			return fmt.Errorf("%s: %s refers to no group of match, which has %s",
				describeTextPosition(query, m[0]), query[m[0]:m[1]], describePatternGroups(match))
		}
	}
	return nil
}

// strayReferenceRegexp matches texts that look like a reference and were not replaced. Only the replacement of
// label_replace may hold them; in a matcher they are a mistake and match no series.
var strayReferenceRegexp = regexp.MustCompile(`\$(?:\{([^}]*)\}|([0-9]+))`)

// validateRuleMatchers rejects matchers with references that will not be replaced.
func validateRuleMatchers(t *exprTree, hasMatch bool) error {
	for _, value := range t.listMatcherValues() {
		m := strayReferenceRegexp.FindStringSubmatch(value)
		switch {
		case m == nil:
		case hasMatch:
			return fmt.Errorf("%s in a matcher is not a reference; write ${%s}", m[0], m[1]+m[2])
		default:
			return fmt.Errorf("%s in a matcher refers to no group: the rule has no match", m[0])
		}
	}
	return nil
}

// findPatternGroup returns the index of a group by number or name, or -1.
func findPatternGroup(match *regexp.Regexp, name string) int {
	if n, err := strconv.Atoi(name); err == nil && name[0] != '-' && name[0] != '+' {
		if n > match.NumSubexp() {
			return -1
		}
		return n
	}
	if name == "" {
		return -1
	}
	return match.SubexpIndex(name)
}

func describePatternGroups(match *regexp.Regexp) string {
	switch n := match.NumSubexp(); n {
	case 0:
		return "none"
	case 1:
		return "only ${1}"
	default:
		return fmt.Sprintf("${1} to ${%d}", n)
	}
}

// capturedTextRegexp matches the texts that a reference may put into an expression. They have only characters of
// metric names, also of OpenTelemetry's (http.server.requests), so that they cannot end a string or begin an operator.
var capturedTextRegexp = regexp.MustCompile(`^[a-zA-Z0-9_:.]*$`)

// expandPatternQuery replaces the references in the query by the groups of a name.
func (p *namePattern) expandPatternQuery(query, name string) (string, error) {
	match := p.match.FindStringSubmatch(name)
	var err error
	text := referenceRegexp.ReplaceAllStringFunc(query, func(ref string) string {
		group := strings.Trim(ref, "${}")
		value := match[findPatternGroup(p.match, group)]
		if !capturedTextRegexp.MatchString(value) {
			err = fmt.Errorf("%s is %q; a rule takes letters, digits, _ : and . from a name", ref, value)
		}
		return value
	})
	return text, err
}

// maxExampleNameBytes is the bound of a name in a request: no longer one is served.
const maxExampleNameBytes = 253

// makePatternMetricName returns a short name that the pattern serves, to check a rule's query with; empty if it finds no
// name.
func (p *namePattern) makePatternMetricName(expr string) string {
	name := makeRegexpExample(expr)
	for _, name := range []string{name, "x" + name, name + "x"} {
		if len(name) <= maxExampleNameBytes && p.ruleServesMetricName(name) {
			return name
		}
	}
	found, _ := p.searchPatternMetricName()
	return found
}

// metricNameExpr matches the names of metrics.
const metricNameExpr = "[a-zA-Z_:][a-zA-Z0-9_:.-]*"

// searchPatternMetricName returns a shortest name of a metric that the pattern serves. It reports whether there is none.
func (p *namePattern) searchPatternMetricName() (name string, none bool) {
	var except []string
	if p.except != nil {
		except = []string{p.except.String()}
	}
	name, found, complete := searchTextForMatchers([]string{metricNameExpr, p.match.String()}, except)
	return name, complete && !found
}

// makeRegexpExample returns a text that matches an expression, unless it has assertions; empty if it does not parse.
func makeRegexpExample(expr string) string {
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return ""
	}
	return makePatternExample(re.Simplify())
}

// makePatternExample returns a text that matches an expression, unless the expression has assertions.
func makePatternExample(re *syntax.Regexp) string {
	var b strings.Builder
	switch re.Op {
	case syntax.OpLiteral:
		return string(re.Rune)
	case syntax.OpCharClass:
		return string(chooseRegexpExampleRune(re.Rune))
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return "x"
	case syntax.OpCapture, syntax.OpPlus, syntax.OpStar, syntax.OpQuest, syntax.OpAlternate:
		return makePatternExample(re.Sub[0])
	case syntax.OpRepeat:
		return strings.Repeat(makePatternExample(re.Sub[0]), min(max(1, re.Min), 64))
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			b.WriteString(makePatternExample(sub))
		}
	}
	return b.String()
}

// chooseRegexpExampleRune returns a member of a character class, a letter if possible.
func chooseRegexpExampleRune(ranges []rune) rune {
	for _, wanted := range "xabcdefghijklmnopqrstuvwyzX_1" {
		for pair := range slices.Chunk(ranges, 2) {
			if len(pair) == 2 && pair[0] <= wanted && wanted <= pair[1] {
				return wanted
			}
		}
	}
	if len(ranges) == 0 {
		return 'x'
	}
	return ranges[0]
}
