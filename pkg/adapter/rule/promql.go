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

// This file and labels.go are the only ones that know Prometheus's syntax tree.

const (
	// windowVariable is what stands for the rule's window in an expression.
	windowVariable = "$window"
	// sentinelText stands in for windowVariable while an expression is parsed. It is as long, so that the
	// positions in error messages are those of the text as written, and no sane range: eleven days.
	sentinelText  = "987654s"
	sentinelRange = 987654 * time.Second
	// sentinelPrinted is how the syntax tree prints it.
	sentinelPrinted = "11d10h20m54s"
	// matcherMarkerLabel is the label of the matcher that marks where matchers are added; it sorts behind all that
	// people write, so that what is added comes last.
	matcherMarkerLabel = "zzzz_tachometer_matchers"
)

// exprTree is a parsed expression.
type exprTree struct {
	root parser.Expr
	// selectors are in the order of the text.
	selectors []*parser.VectorSelector
	// ranges are those of range selectors and subqueries other than $window.
	ranges []time.Duration
	// windowCount is the number of ranges that are $window.
	windowCount int
	// reaches has one entry per selector.
	reaches []selectorReach
}

// selectorReach is how far back a selector looks: the ranges around it added up, those that are $window apart.
type selectorReach struct {
	fixed       time.Duration
	windowCount int
}

func (r selectorReach) totalSpan(window time.Duration) time.Duration {
	return r.fixed + time.Duration(r.windowCount)*window
}

// parseRuleQuery reads an expression, with $window as a range.
func parseRuleQuery(query string) (*exprTree, error) {
	text, want := substituteWindow(query)
	root, err := parser.NewParser(parser.Options{}).ParseExpr(text)
	if err != nil {
		return nil, describeParseError(err, query)
	}
	t := &exprTree{root: root}
	t.visitNode(root, selectorReach{})
	if t.windowCount != want {
		return nil, errors.New("$window stands for a range and belongs in brackets: [$window]")
	}
	return t, nil
}

func (t *exprTree) visitNode(node parser.Node, r selectorReach) {
	switch n := node.(type) {
	case *parser.VectorSelector:
		t.selectors = append(t.selectors, n)
		t.reaches = append(t.reaches, r)
		return
	case *parser.MatrixSelector:
		r = t.widenReach(r, n.Range)
	case *parser.SubqueryExpr:
		r = t.widenReach(r, n.Range)
	}
	for child := range parser.ChildrenIter(node) {
		t.visitNode(child, r)
	}
}

func (t *exprTree) widenReach(r selectorReach, by time.Duration) selectorReach {
	if by == sentinelRange {
		t.windowCount++
		r.windowCount++
		return r
	}
	t.ranges = append(t.ranges, by)
	r.fixed += by
	return r
}

// substituteWindow puts the sentinel in the place of every $window outside strings and comments, and counts them.
func substituteWindow(query string) (text string, n int) {
	b := []byte(query)
	for i := 0; i < len(b); {
		switch {
		case b[i] == '"' || b[i] == '\'' || b[i] == '`':
			i = endOfString(b, i)
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
	return len(b) == len(windowVariable) || !isNameByte(b[len(windowVariable)])
}

func isNameByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// endOfString is the index behind the string that starts at i; the parser complains where it does not end.
func endOfString(b []byte, i int) int {
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

// describeParseError turns the parser's errors into one, with positions of the text as written.
func describeParseError(err error, query string) error {
	var all parser.ParseErrors
	if !errors.As(err, &all) || len(all) == 0 {
		return err
	}
	first := all[0]
	msg := strings.ReplaceAll(first.Err.Error(), sentinelText, windowVariable)
	return fmt.Errorf("%s: %s", describePosition(query, int(first.PositionRange.Start)), msg)
}

// describePosition is a byte offset in the words of a person: column 7, or line 2, column 7.
func describePosition(text string, offset int) string {
	before := text[:min(max(offset, 0), len(text))]
	line := strings.Count(before, "\n") + 1
	column := len([]rune(before[strings.LastIndexByte(before, '\n')+1:])) + 1
	if !strings.Contains(strings.TrimSpace(text), "\n") {
		return fmt.Sprintf("column %d", column)
	}
	return fmt.Sprintf("line %d, column %d", line, column)
}

// selectorMetricName is the fixed name of a selector's metric, or empty.
func selectorMetricName(v *parser.VectorSelector) string {
	for _, m := range v.LabelMatchers {
		if m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual {
			return m.Value
		}
	}
	return ""
}

// matcherValues are what the selectors compare labels with.
func (t *exprTree) matcherValues() []string {
	var values []string
	for _, v := range t.selectors {
		for _, m := range v.LabelMatchers {
			values = append(values, m.Value)
		}
	}
	return values
}

// metricFamilies are those that the selectors read; see Rule.Families.
func (t *exprTree) metricFamilies() []string {
	var names []string
	for _, v := range t.selectors {
		name := selectorMetricName(v)
		if name == "" {
			continue // a remote backend's business
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

// shiftedSelector is the first selector or subquery, as text, that looks at another time than now; empty if none does.
func (t *exprTree) shiftedSelector() (text string) {
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

// resultKind is the type of the result, in PromQL's words.
func (t *exprTree) resultKind() string { return parser.DocumentedType(t.root.Type()) }

// isInstantVector tells whether the result is an instant vector.
func (t *exprTree) isInstantVector() bool { return t.root.Type() == parser.ValueTypeVector }

// printTree is the expression as text, with the sentinel for $window; with a slot, each selector holds the
// marker matcher, which afterwards stays in the tree.
func (t *exprTree) printTree(marked bool) string {
	if marked {
		for _, v := range t.selectors {
			m := parser.MustLabelMatcher(labels.MatchEqual, matcherMarkerLabel, "")
			// In front: the parser keeps the matcher of a plain metric name last.
			v.LabelMatchers = append([]*labels.Matcher{m}, v.LabelMatchers...)
		}
	}
	return t.root.String()
}
