// The printed form of an expression: text segments, filled with matchers and a window for each query.

package rule

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
)

// ruleExpression is a rule's expression, printed once from the syntax tree and cut where matchers and windows go.
// Each query then costs no more than joining strings.
type ruleExpression struct {
	families    []string
	windowCount int
	reaches     []selectorReach
	// timesNeeded is RemoteQuery.TimesNeeded, if this is the expression of sample times.
	timesNeeded [][]int
	// plainSegments has no holes for matchers: for a query without matchers.
	plainSegments, matcherSegments []textSegment
}

// textSegment is a text and the hole after it.
type textSegment struct {
	text string
	hole segmentHole
}

type segmentHole int

const (
	noHole segmentHole = iota
	windowHole
	matchersHole
)

// newRuleExpressions returns the expression of a tree and the expression of its sample times. It changes the tree,
// which must not be used afterwards.
func newRuleExpressions(t *exprTree, r *Rule) (e, times ruleExpression, err error) {
	e = ruleExpression{families: t.listExprFamilies(), windowCount: t.windowCount, reaches: t.reaches}
	e.plainSegments, times.plainSegments = cutExprSegments(t.printExprTree(false)), cutExprSegments(t.buildSampleTimesQuery(r).text)
	e.matcherSegments = cutExprSegments(t.printExprTree(true))
	marked := t.buildSampleTimesQuery(r)
	times.matcherSegments, times.timesNeeded = cutExprSegments(marked.text), marked.needed
	if err := e.validatePrintedExpr(len(t.selectors)); err != nil {
		return e, times, err
	}
	if _, err := parseRuleExpr(times.fillExprHoles(`x="x"`, time.Minute)); err != nil && times.plainSegments[0].text != "" {
		return e, times, fmt.Errorf("parse the query of sample times: %w", err)
	}
	return e, times, nil
}

// validatePrintedExpr compares the printed text with the tree: the text must parse and have as many holes as the tree.
func (e ruleExpression) validatePrintedExpr(selectors int) error {
	matchers, windows := 0, 0
	for _, seg := range e.matcherSegments {
		switch seg.hole {
		case matchersHole:
			matchers++
		case windowHole:
			windows++
		case noHole:
		}
	}
	if matchers != selectors || windows != e.windowCount {
		return fmt.Errorf("print %s: %d of %d selectors and %d of %d windows found again",
			e.fillExprHoles("", time.Minute), matchers, selectors, windows, e.windowCount)
	}
	if _, err := parseRuleExpr(e.fillExprHoles(`x="x"`, time.Minute)); err != nil {
		return fmt.Errorf("parse the printed expression: %w", err)
	}
	return nil
}

var matcherMarkerText = matcherMarkerLabel + `=""`

// cutExprSegments splits a printed expression at its holes.
func cutExprSegments(text string) []textSegment {
	var segments []textSegment
	for {
		w, m := strings.Index(text, sentinelPrinted), strings.Index(text, matcherMarkerText)
		switch {
		case w < 0 && m < 0:
			return append(segments, textSegment{text: text})
		case m < 0 || w >= 0 && w < m:
			segments = append(segments, textSegment{text[:w], windowHole})
			text = text[w+len(sentinelPrinted):]
		default:
			segments = append(segments, textSegment{text[:m], matchersHole})
			text = text[m+len(matcherMarkerText):]
		}
	}
}

// fillExprHoles returns the expression with filter and span in its holes.
func (e ruleExpression) fillExprHoles(filter string, span time.Duration) string {
	segments := e.matcherSegments
	if filter == "" {
		segments = e.plainSegments
	}
	width := formatPromQLRange(span)
	size := 0
	for _, s := range segments {
		size += len(s.text) + max(len(filter), len(width))
	}
	var b strings.Builder
	b.Grow(size)
	for _, s := range segments {
		b.WriteString(s.text)
		switch s.hole {
		case windowHole:
			b.WriteString(width)
		case matchersHole:
			b.WriteString(filter)
		case noHole:
		}
	}
	return b.String()
}

func (e ruleExpression) findLongestExprSpan(window time.Duration) time.Duration {
	var longest time.Duration
	for _, r := range e.reaches {
		longest = max(longest, r.computeExprTotalSpan(window))
	}
	return longest
}

// formatPromQLRange writes a range in PromQL: rounded up to a millisecond, PromQL's shortest unit, and never zero.
func formatPromQLRange(d time.Duration) string {
	ms := max(1, (d+time.Millisecond-1)/time.Millisecond)
	return model.Duration(ms * time.Millisecond).String()
}

// targetSources is a pattern of the namespaces of rules' own targets, see config.Source.
const targetSources = "(service|address):.+"

// formatObjectMatchers returns the matchers of the query for objects, as text within braces; empty without any matcher.
func (q Query) formatObjectMatchers(objects []string) string {
	size := 64 + len(q.Namespace) + 64*len(q.Selector) // enough for nearly all queries
	for _, name := range objects {
		size += len(name) + 1
	}
	b := make([]byte, 0, size)
	switch {
	case q.Rule.ownNamespaces:
	case len(q.Rule.Namespaces) > 0:
		b = appendObjectsMatcher(b, q.Rule.NamespaceLabel, q.Rule.Namespaces)
	case q.Namespace != "":
		b = appendPromQLLabelMatcher(b, q.Rule.NamespaceLabel, "=", q.Namespace)
	case q.Rule.skipsTargets:
		b = appendPromQLLabelMatcher(b, q.Rule.NamespaceLabel, "!~", targetSources)
	}
	if label := q.Rule.ObjectLabel; label != "" && objects != nil {
		b = appendObjectsMatcher(b, label, objects)
	}
	for _, m := range q.Selector {
		b = appendPromQLMatcherComma(b)
		b = append(b, m.String()...)
	}
	return string(b)
}

// appendObjectsMatcher appends a matcher for series with one of the names in the label.
func appendObjectsMatcher(b []byte, label string, names []string) []byte {
	switch len(names) {
	case 0: // no series can satisfy both
		return appendPromQLLabelMatcher(appendPromQLLabelMatcher(b, label, "=", ""), label, "!=", "")
	case 1:
		return appendPromQLLabelMatcher(b, label, "=", names[0])
	}
	b = append(append(appendPromQLMatcherComma(b), label...), `=~"`...)
	for i, name := range sortMatchedObjectNames(names) {
		if i > 0 {
			b = append(b, '|')
		}
		b = appendObjectRegexp(b, name)
	}
	return append(b, '"')
}

// appendObjectRegexp appends a regular expression for the name, quoted for a string.
func appendObjectRegexp(b []byte, name string) []byte {
	for i := range len(name) {
		if c := name[i]; c != '-' && !isGrafanaVariableByte(c) {
			quoted := strconv.Quote(regexp.QuoteMeta(name))
			return append(b, quoted[1:len(quoted)-1]...)
		}
	}
	return append(b, name...) // nearly all names
}

func appendPromQLLabelMatcher(b []byte, label, op, value string) []byte {
	b = append(appendPromQLMatcherComma(b), label...)
	b = append(b, op...)
	return strconv.AppendQuote(b, value)
}

func appendPromQLMatcherComma(b []byte) []byte {
	if len(b) == 0 {
		return b
	}
	return append(b, ',')
}
