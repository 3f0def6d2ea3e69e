// Bounds of rules that come with a request: the cost of their check.

package rule

import (
	"cmp"
	"fmt"
	"regexp/syntax"
	"slices"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/strutil"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
)

const (
	// maxReviewedQueryBytes and maxReviewedQueryTokens bound a query: checks print parts of it for each operation in it. A long one has a
	// hundred tokens.
	maxReviewedQueryBytes  = 4 << 10
	maxReviewedQueryTokens = 500
	// maxReviewedRegexpSize bounds the instructions of all regular expressions of a configuration. Its text alone has at most as many;
	// a repetition such as {1000} has a thousand times its own. Each costs 300 bytes while it is compiled, and that several times.
	maxReviewedRegexpSize = 20_000
	// maxReviewedSteps bounds the evaluations in nested subqueries, which the engine does not interrupt: an hour in steps of a second, with
	// a smaller one inside.
	maxReviewedSteps = 10_000
	// maxRuleSteps bounds the same of an operator's rule: an hour in steps of a second, with four minutes inside.
	maxRuleSteps = 1_000_000
)

// ValidateReviewedRules returns a fault for each rule that could take much time or memory to check. It looks at texts alone, and is for
// rules that come with a request; an operator's configuration has no such bounds.
func ValidateReviewedRules(cfg *config.Config) config.Faults {
	var faults config.Faults
	regexps := 0
	for i, spec := range cfg.Rules {
		add := func(key, format string, args ...any) {
			path := config.RulePath(i) + "." + key
			faults = append(faults, config.Fault{Path: path, Line: cfg.Line(path), Message: fmt.Sprintf(format, args...)})
		}
		query := spec.Query
		if spec.Match != "" {
			query = referenceRegexp.ReplaceAllString(query, "x")
		}
		tokens, texts := scanReviewedQuery(query)
		switch {
		case len(spec.Query) > maxReviewedQueryBytes:
			add("query", "has %d bytes, and in a review it may have %d", len(spec.Query), maxReviewedQueryBytes)
		case tokens > maxReviewedQueryTokens:
			add("query", "has more than %d names, numbers and operators, the limit in a review", maxReviewedQueryTokens)
		case countReviewedSteps(query, cfg) > maxReviewedSteps:
			add("query", "has subqueries of more than %d steps together, the limit in a review; make them shorter or coarser", maxReviewedSteps)
		}
		for _, text := range append(texts, spec.Match, spec.Except) {
			regexps += measureReviewedRegexp(text)
		}
		if regexps > maxReviewedRegexpSize {
			add("query", "the regular expressions up to this rule are too large for a review; write smaller repetitions than {1000}")
			return faults
		}
	}
	return faults
}

// countReviewedSteps returns the largest product of the steps of nested subqueries; 0 for a query that does not parse.
func countReviewedSteps(query string, cfg *config.Config) int {
	t, err := parseRuleExpr(query)
	if err != nil {
		return 0
	}
	return t.countSubquerySteps(cfg.MaxWindow, cfg.Scrape.Interval, maxReviewedSteps)
}

// countSubquerySteps returns the largest product of the steps of nested subqueries, at most one more than limit.
func (t *exprTree) countSubquerySteps(window, interval time.Duration, limit int) int {
	most := 0
	parser.Inspect(t.root, func(node parser.Node, path []parser.Node) error {
		steps := 1
		for _, n := range append(slices.Clone(path), node) {
			if s, ok := n.(*parser.SubqueryExpr); ok {
				width := s.Range
				if width == sentinelRange {
					width = window
				}
				step := max(cmp.Or(s.Step, interval), time.Millisecond)
				steps = min(steps*int(min(width/step+1, time.Duration(limit+1))), limit+1)
			}
		}
		most = max(most, steps)
		return nil
	})
	return most
}

// scanReviewedQuery returns the number of the tokens of a query, up to one more than allowed, and its strings.
func scanReviewedQuery(query string) (tokens int, texts []string) {
	query, _ = substituteWindow(query)
	lexer := parser.Lex(query)
	for tokens <= maxReviewedQueryTokens {
		var item parser.Item
		lexer.NextItem(&item)
		switch item.Typ {
		case parser.EOF, parser.ERROR: // the parser reports an error
			return tokens, texts
		case parser.STRING:
			if text, err := strutil.Unquote(item.Val); err == nil {
				texts = append(texts, text)
			}
		}
		tokens++
	}
	return tokens, texts
}

// measureReviewedRegexp returns about how many instructions a text has as a regular expression; 0 if it is none, or empty.
func measureReviewedRegexp(text string) int {
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil || text == "" {
		return 0
	}
	return countReviewedInstructions(tree)
}

func countReviewedInstructions(tree *syntax.Regexp) int {
	within := 0
	for _, sub := range tree.Sub {
		within += countReviewedInstructions(sub)
	}
	if tree.Op == syntax.OpRepeat {
		return within * max(tree.Min, tree.Max, 1)
	}
	return max(1, len(tree.Rune)) + within
}
