package promadapter

import (
	"errors"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// seriesSelector is a parsed seriesQuery.
type seriesSelector struct {
	text     string
	matchers []*labels.Matcher
	// onlyName is the only name that the series can have; empty if there are several.
	onlyName string
}

func parseSeriesSelector(text string) (seriesSelector, error) {
	matchers, err := parser.NewParser(parser.Options{}).ParseMetricSelector(text)
	if err != nil {
		return seriesSelector{}, firstParseError(err)
	}
	s := seriesSelector{text: text, matchers: matchers}
	some := false
	for _, m := range matchers {
		some = some || !m.Matches("")
	}
	if !some {
		return seriesSelector{}, errors.New("selects every series there is: at least one matcher must not match an empty value")
	}
	for _, m := range matchers {
		if name := onlyMatchedValue(m); m.Name == model.MetricNameLabel && name != "" && s.admitsName(name) {
			s.onlyName = name
		}
	}
	return s, nil
}

// firstParseError is the first of the parser's errors, without its position in a line of one expression.
func firstParseError(err error) error {
	var all parser.ParseErrors
	if errors.As(err, &all) && len(all) > 0 {
		return all[0].Err
	}
	return err
}

// onlyMatchedValue is the one value that a matcher matches, or empty.
func onlyMatchedValue(m *labels.Matcher) string {
	switch set := m.SetMatches(); {
	case m.Type == labels.MatchEqual:
		return m.Value
	case m.Type == labels.MatchRegexp && len(set) == 1:
		return set[0]
	}
	return ""
}

// admitsName tells whether series of that name may be selected.
func (s seriesSelector) admitsName(name string) bool {
	for _, m := range s.matchers {
		if m.Name == model.MetricNameLabel && !m.Matches(name) {
			return false
		}
	}
	return true
}

// assertsLabel tells whether every series selected has the label.
func (s seriesSelector) assertsLabel(label string) bool {
	for _, m := range s.matchers {
		if m.Name == label && !m.Matches("") {
			return true
		}
	}
	return false
}

// formatWithLabel is the selector, as text, of those series that have the label.
func (s seriesSelector) formatWithLabel(label string) string {
	if s.assertsLabel(label) {
		return s.text
	}
	return "{" + joinMatchers(append(s.matchers[:len(s.matchers):len(s.matchers)], newPresenceMatcher(label))) + "}"
}

// newPresenceMatcher matches series that have the label.
func newPresenceMatcher(label string) *labels.Matcher {
	return &labels.Matcher{Type: labels.MatchNotEqual, Name: label}
}

// joinMatchers prints matchers as PromQL has them.
func joinMatchers(matchers []*labels.Matcher) string {
	parts := make([]string, len(matchers))
	for i, m := range matchers {
		parts[i] = m.String()
	}
	return strings.Join(parts, ",")
}
