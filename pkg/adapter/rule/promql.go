// PromQL: parsing a query with $window, and questions to its syntax tree.

package rule

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// Only additivity.go, familytype.go, labels.go, madelabels.go, namespaceproof.go, neversides.go, neverworks.go, parseremedy.go, promql.go,
// resultbounds.go, resultoperators.go, reviewbounds.go, shareable.go, templatecheck.go, times.go and trial.go use Prometheus's parser.

const (
	// windowVariable stands for the rule's window in an expression.
	windowVariable = "$window"
	// sentinelText replaces windowVariable while an expression is parsed. It has the same length, so that error
	// messages give the positions of the original text. No sane range has its value: eleven days.
	sentinelText  = "987654s"
	sentinelRange = 987654 * time.Second
	// sentinelPrinted is the sentinel as the syntax tree prints it.
	sentinelPrinted = "11d10h20m54s"
	// matcherMarkerLabel is the label of a matcher that marks the place for further matchers. It sorts behind all
	// labels that people write, so that further matchers come last.
	matcherMarkerLabel = "zzzz_tachometer_matchers"
)

// exprTree is a parsed expression.
type exprTree struct {
	root parser.Expr
	// selectors are in the order of the text.
	selectors []*parser.VectorSelector
	// ranges are the ranges of selectors and subqueries, without $window.
	ranges []time.Duration
	// windowCount is the number of ranges given as $window.
	windowCount int
	// reaches has one entry per selector.
	reaches []selectorReach
}

// selectorReach is how far back a selector looks: the sum of the ranges around it, with $window counted apart.
type selectorReach struct {
	fixed       time.Duration
	windowCount int
}

func (r selectorReach) computeExprTotalSpan(window time.Duration) time.Duration {
	return r.fixed + time.Duration(r.windowCount)*window
}

// parseRuleExpr parses an expression with $window as a range.
func parseRuleExpr(query string) (*exprTree, error) {
	return parseRuleExprWith(query, parser.Options{})
}

func parseRuleExprWith(query string, opts parser.Options) (*exprTree, error) {
	text, want := substituteWindow(query)
	root, err := parser.NewParser(opts).ParseExpr(text)
	if err != nil {
		return nil, describeParseError(err, query)
	}
	t := &exprTree{root: root}
	t.visitExprNode(root, selectorReach{})
	if t.windowCount != want {
		return nil, errors.New("$window stands for a range and belongs in brackets: [$window]")
	}
	return t, nil
}

func (t *exprTree) visitExprNode(node parser.Node, r selectorReach) {
	switch n := node.(type) {
	case *parser.VectorSelector:
		t.selectors = append(t.selectors, n)
		t.reaches = append(t.reaches, r)
		return
	case *parser.MatrixSelector:
		r = t.widenSelectorReach(r, n.Range)
	case *parser.SubqueryExpr:
		r = t.widenSelectorReach(r, n.Range)
	}
	for child := range parser.ChildrenIter(node) {
		t.visitExprNode(child, r)
	}
}

func (t *exprTree) widenSelectorReach(r selectorReach, by time.Duration) selectorReach {
	if by == sentinelRange {
		t.windowCount++
		r.windowCount++
		return r
	}
	t.ranges = append(t.ranges, by)
	r.fixed += by
	return r
}

// substituteWindow replaces every $window outside strings and comments by the sentinel, and counts them.
func substituteWindow(query string) (text string, n int) {
	b := []byte(query)
	for i := 0; i < len(b); {
		switch {
		case b[i] == '"' || b[i] == '\'' || b[i] == '`':
			i = findPromQLStringEnd(b, i)
		case b[i] == '#':
			for i < len(b) && b[i] != '\n' {
				i++
			}
		case isWindowVariable(b[i:]):
			i += copy(b[i:], sentinelText)
			n++
		default:
			i++
		}
	}
	return string(b), n
}

func isWindowVariable(b []byte) bool {
	if len(b) < len(windowVariable) || string(b[:len(windowVariable)]) != windowVariable {
		return false
	}
	return len(b) == len(windowVariable) || !isGrafanaVariableByte(b[len(windowVariable)])
}

func isGrafanaVariableByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// findPromQLStringEnd returns the index behind the string at i. The parser reports an unterminated string.
func findPromQLStringEnd(b []byte, i int) int {
	quote := b[i]
	for i++; i < len(b); i++ {
		switch {
		case b[i] == quote:
			return i + 1
		case b[i] == '\\' && quote != '`':
			i++
		}
	}
	return len(b)
}

// describeParseError returns the first of the parser's errors, with its position in the original text.
func describeParseError(err error, query string) error {
	var all parser.ParseErrors
	if !errors.As(err, &all) || len(all) == 0 {
		return err
	}
	first := all[0]
	msg := strings.ReplaceAll(first.Err.Error(), sentinelText, windowVariable)
	return fmt.Errorf("%s: %s", describeTextPosition(query, int(first.PositionRange.Start)), msg)
}

// describeTextPosition returns a byte offset as text: column 7, or line 2, column 7.
func describeTextPosition(text string, offset int) string {
	before := text[:min(max(offset, 0), len(text))]
	line := strings.Count(before, "\n") + 1
	column := len([]rune(before[strings.LastIndexByte(before, '\n')+1:])) + 1
	if !strings.Contains(strings.TrimSpace(text), "\n") {
		return fmt.Sprintf("column %d", column)
	}
	return fmt.Sprintf("line %d, column %d", line, column)
}

// findSelectorMetric returns the fixed metric name of a selector, or an empty string.
func findSelectorMetric(v *parser.VectorSelector) string {
	for _, m := range v.LabelMatchers {
		if m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual {
			return m.Value
		}
	}
	return ""
}

// listMatcherValues returns the label values in the matchers of all selectors.
func (t *exprTree) listMatcherValues() []string {
	var values []string
	for _, v := range t.selectors {
		for _, m := range v.LabelMatchers {
			values = append(values, m.Value)
		}
	}
	return values
}

// listExprFamilies returns the families that the selectors read; see Rule.Families.
func (t *exprTree) listExprFamilies() []string {
	var names []string
	for _, v := range t.selectors {
		name := findSelectorMetric(v)
		if name == "" {
			continue // only remote backends allow this
		}
		if base, ok := strings.CutSuffix(name, "_bucket"); ok && base != "" {
			names = append(names, base)
			continue
		}
		names = append(names, name)
		for _, suffix := range []string{"_sum", "_count"} {
			if base, ok := strings.CutSuffix(name, suffix); ok && base != "" {
				names = append(names, base)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// findShiftedSelector returns the text of a selector or subquery with an offset or @; empty without any.
func (t *exprTree) findShiftedSelector() (text string) {
	parser.Inspect(t.root, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			if n.OriginalOffset != 0 || n.Timestamp != nil || n.StartOrEnd != 0 {
				text = n.String()
			}
		case *parser.SubqueryExpr:
			if n.OriginalOffset != 0 || n.Timestamp != nil || n.StartOrEnd != 0 {
				text = n.String()
			}
		}
		return nil
	})
	return strings.ReplaceAll(text, sentinelPrinted, windowVariable)
}

// describeResultKind returns the error for a result that is no instant vector.
func (t *exprTree) describeResultKind() string {
	remedy := "read a metric"
	switch t.root.Type() {
	case parser.ValueTypeMatrix:
		remedy = "put it into a function of ranges, such as rate(…)"
	case parser.ValueTypeScalar:
		remedy = "read a metric, without scalar(…) around it"
	}
	return "the result is a " + parser.DocumentedType(t.root.Type()) + "; an instant vector is needed: " + remedy
}

func (t *exprTree) isInstantVector() bool { return t.root.Type() == parser.ValueTypeVector }

// printExprTree returns the expression as text, with the sentinel for $window. If marked, each selector gets the marker
// matcher, which stays in the tree.
func (t *exprTree) printExprTree(marked bool) string {
	if marked {
		for _, v := range t.selectors {
			m := parser.MustLabelMatcher(labels.MatchEqual, matcherMarkerLabel, "")
			// In front: the parser keeps the matcher of a plain metric name last.
			v.LabelMatchers = append([]*labels.Matcher{m}, v.LabelMatchers...)
		}
	}
	return t.root.String()
}
