package rule

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
)

// expression is a rule's expression, printed once from the syntax tree and cut where matchers and windows
// go, so that a question costs no more than joining strings.
type expression struct {
	families []string
	windows  int
	reaches  []reach
	// bare has no slots: for a question without matchers.
	bare, slotted []segment
}

// segment is a text and what follows it.
type segment struct {
	text string
	then hole
}

type hole int

const (
	nothing hole = iota
	window
	matchers
)

// newExpressions returns the expression of a tree, and that of the times of its samples. It takes the tree over,
// which is changed and must not be used any more.
func newExpressions(t *tree, b behind) (e, times expression, err error) {
	e = expression{families: t.families(), windows: t.windows, reaches: t.reaches}
	e.bare, times.bare = cut(t.print(false)), cut(t.timesText(b))
	e.slotted, times.slotted = cut(t.print(true)), cut(t.timesText(b))
	if err := e.check(len(t.selectors)); err != nil {
		return e, times, err
	}
	if _, err := parse(times.print(`x="x"`, time.Minute)); err != nil && times.bare[0].text != "" {
		return e, times, fmt.Errorf("parse what was made of it: %w", err)
	}
	return e, times, nil
}

// check holds the printed text against the tree: it must parse, and have as many holes as the tree.
func (e expression) check(selectors int) error {
	slots, windows := 0, 0
	for _, seg := range e.slotted {
		switch seg.then {
		case matchers:
			slots++
		case window:
			windows++
		}
	}
	if slots != selectors || windows != e.windows {
		return fmt.Errorf("print %s: %d of %d selectors and %d of %d windows found again",
			e.print("", time.Minute), slots, selectors, windows, e.windows)
	}
	if _, err := parse(e.print(`x="x"`, time.Minute)); err != nil {
		return fmt.Errorf("parse what was printed: %w", err)
	}
	return nil
}

var slotText = slotLabel + `=""`

// cut splits a printed expression at its holes.
func cut(text string) []segment {
	var segments []segment
	for {
		w, m := strings.Index(text, sentinelPrinted), strings.Index(text, slotText)
		switch {
		case w < 0 && m < 0:
			return append(segments, segment{text: text})
		case m < 0 || w >= 0 && w < m:
			segments = append(segments, segment{text[:w], window})
			text = text[w+len(sentinelPrinted):]
		default:
			segments = append(segments, segment{text[:m], matchers})
			text = text[m+len(slotText):]
		}
	}
}

// print fills the holes.
func (e expression) print(filter string, span time.Duration) string {
	segments := e.slotted
	if filter == "" {
		segments = e.bare
	}
	width := formatRange(span)
	size := 0
	for _, s := range segments {
		size += len(s.text) + max(len(filter), len(width))
	}
	var b strings.Builder
	b.Grow(size)
	for _, s := range segments {
		b.WriteString(s.text)
		switch s.then {
		case window:
			b.WriteString(width)
		case matchers:
			b.WriteString(filter)
		}
	}
	return b.String()
}

func (e expression) span(window time.Duration) time.Duration {
	var longest time.Duration
	for _, r := range e.reaches {
		longest = max(longest, r.span(window))
	}
	return longest
}

// formatRange writes a range in PromQL, which knows no less than a millisecond: rounded up, and never zero.
func formatRange(d time.Duration) string {
	ms := max(1, (d+time.Millisecond-1)/time.Millisecond)
	return model.Duration(ms * time.Millisecond).String()
}

// matchers are those of the query for objects, as text in braces would have them; empty if there are none.
func (q Query) matchers(objects []string) string {
	size := 64 + len(q.Namespace) + 64*len(q.Selector) // enough for nearly all
	for _, name := range objects {
		size += len(name) + 1
	}
	b := make([]byte, 0, size)
	if namespace := cmp.Or(q.Rule.Namespace, q.Namespace); namespace != "" {
		b = appendMatcher(b, q.Rule.NamespaceLabel, "=", namespace)
	}
	if label := q.Rule.ObjectLabel; label != "" && objects != nil {
		b = appendNames(b, label, objects)
	}
	for _, m := range q.Selector {
		b = appendComma(b)
		b = append(b, m.String()...)
	}
	return string(b)
}

// appendNames appends the matcher of a label that has one of the names.
func appendNames(b []byte, label string, names []string) []byte {
	switch len(names) {
	case 0: // none: no series can satisfy both
		return appendMatcher(appendMatcher(b, label, "=", ""), label, "!=", "")
	case 1:
		return appendMatcher(b, label, "=", names[0])
	}
	b = append(append(appendComma(b), label...), `=~"`...)
	for i, name := range sortedNames(names) {
		if i > 0 {
			b = append(b, '|')
		}
		b = appendName(b, name)
	}
	return append(b, '"')
}

// appendName appends what matches the name, in a regular expression in a string.
func appendName(b []byte, name string) []byte {
	for i := range len(name) {
		if c := name[i]; c != '-' && !isNameByte(c) {
			quoted := strconv.Quote(regexp.QuoteMeta(name))
			return append(b, quoted[1:len(quoted)-1]...)
		}
	}
	return append(b, name...) // nearly all names
}

func appendMatcher(b []byte, label, op, value string) []byte {
	b = append(appendComma(b), label...)
	b = append(b, op...)
	return strconv.AppendQuote(b, value)
}

func appendComma(b []byte) []byte {
	if len(b) == 0 {
		return b
	}
	return append(b, ',')
}
