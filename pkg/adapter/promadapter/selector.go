package promadapter

import (
	"errors"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// selector is a parsed seriesQuery.
type selector struct {
	text     string
	matchers []*labels.Matcher
	// name is the only name that the series can have; empty if there are several.
	name string
}

func parseSelector(text string) (selector, error) {
	matchers, err := parser.NewParser(parser.Options{}).ParseMetricSelector(text)
	if err != nil {
		return selector{}, firstError(err)
	}
	s := selector{text: text, matchers: matchers}
	some := false
	for _, m := range matchers {
		some = some || !m.Matches("")
	}
	if !some {
		return selector{}, errors.New("selects every series there is: at least one matcher must not match an empty value")
	}
	for _, m := range matchers {
		if name := onlyValue(m); m.Name == model.MetricNameLabel && name != "" && s.admits(name) {
			s.name = name
		}
	}
	return s, nil
}

// firstError is the first of the parser's errors, without its position in a line of one expression.
func firstError(err error) error {
	var all parser.ParseErrors
	if errors.As(err, &all) && len(all) > 0 {
		return all[0].Err
	}
	return err
}

// onlyValue is the one value that a matcher matches, or empty.
func onlyValue(m *labels.Matcher) string {
	switch set := m.SetMatches(); {
	case m.Type == labels.MatchEqual:
		return m.Value
	case m.Type == labels.MatchRegexp && len(set) == 1:
		return set[0]
	}
	return ""
}

// admits tells whether series of that name may be selected.
func (s selector) admits(name string) bool {
	for _, m := range s.matchers {
		if m.Name == model.MetricNameLabel && !m.Matches(name) {
			return false
		}
	}
	return true
}

// asserts tells whether every series selected has the label.
func (s selector) asserts(label string) bool {
	for _, m := range s.matchers {
		if m.Name == label && !m.Matches("") {
			return true
		}
	}
	return false
}

// with is the selector, as text, of those series that have the label.
func (s selector) with(label string) string {
	if s.asserts(label) {
		return s.text
	}
	return "{" + join(append(s.matchers[:len(s.matchers):len(s.matchers)], has(label))) + "}"
}

// has matches series that have the label.
func has(label string) *labels.Matcher {
	return &labels.Matcher{Type: labels.MatchNotEqual, Name: label}
}

// join prints matchers as PromQL has them.
func join(matchers []*labels.Matcher) string {
	parts := make([]string, len(matchers))
	for i, m := range matchers {
		parts[i] = m.String()
	}
	return strings.Join(parts, ",")
}
