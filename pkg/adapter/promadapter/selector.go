// Series selectors: parsing, and the names and labels that a selector requires.

package promadapter

import (
	"errors"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// seriesQuerySelector is a parsed seriesQuery.
type seriesQuerySelector struct {
	text     string
	matchers []*labels.Matcher
	// onlyName is the only possible name of the series; empty if several are possible.
	onlyName string
}

func parseSeriesQuery(text string) (seriesQuerySelector, error) {
	matchers, err := parser.NewParser(parser.Options{}).ParseMetricSelector(text)
	if err != nil {
		return seriesQuerySelector{}, findSeriesQueryError(err)
	}
	s := seriesQuerySelector{text: text, matchers: matchers}
	restricts := false
	for _, m := range matchers {
		restricts = restricts || !m.Matches("")
	}
	if !restricts {
		return seriesQuerySelector{}, errors.New("selects every series; add a matcher that does not match an empty value")
	}
	for _, m := range matchers {
		if name := findOnlyMatchedLabelValue(m); m.Name == model.MetricNameLabel && name != "" && s.admitsSeriesName(name) {
			s.onlyName = name
		}
	}
	return s, nil
}

// findSeriesQueryError returns the first error of the parser, without its position in the expression.
func findSeriesQueryError(err error) error {
	var all parser.ParseErrors
	if errors.As(err, &all) && len(all) > 0 {
		return all[0].Err
	}
	return err
}

// findOnlyMatchedLabelValue returns the only value that a matcher matches, or empty text.
func findOnlyMatchedLabelValue(m *labels.Matcher) string {
	switch set := m.SetMatches(); {
	case m.Type == labels.MatchEqual:
		return m.Value
	case m.Type == labels.MatchRegexp && len(set) == 1:
		return set[0]
	}
	return ""
}

// admitsSeriesName reports whether the selector may select series with the name.
func (s seriesQuerySelector) admitsSeriesName(name string) bool {
	for _, m := range s.matchers {
		if m.Name == model.MetricNameLabel && !m.Matches(name) {
			return false
		}
	}
	return true
}

// assertsSeriesLabel reports whether every selected series has the label.
func (s seriesQuerySelector) assertsSeriesLabel(label string) bool {
	for _, m := range s.matchers {
		if m.Name == label && !m.Matches("") {
			return true
		}
	}
	return false
}

// excludesSeriesLabel reports whether no selected series has the label.
func (s seriesQuerySelector) excludesSeriesLabel(label string) bool {
	return slices.ContainsFunc(s.matchers, func(m *labels.Matcher) bool {
		return label != "" && m.Name == label && m.Matches("") && rule.ExcludeEachOther([]*labels.Matcher{m}, "(?s:.+)")
	})
}

// formatQueryWithLabel returns the selector, as text, restricted to series with the label.
func (s seriesQuerySelector) formatQueryWithLabel(label string) string {
	if s.assertsSeriesLabel(label) {
		return s.text
	}
	return "{" + joinSeriesMatchers(append(s.matchers[:len(s.matchers):len(s.matchers)], newLabelPresenceMatcher(label))) + "}"
}

// newLabelPresenceMatcher returns a matcher for series with the label.
func newLabelPresenceMatcher(label string) *labels.Matcher {
	return &labels.Matcher{Type: labels.MatchNotEqual, Name: label}
}

// joinSeriesMatchers returns the matchers as PromQL text, separated by commas.
func joinSeriesMatchers(matchers []*labels.Matcher) string {
	parts := make([]string, len(matchers))
	for i, m := range matchers {
		parts[i] = m.String()
	}
	return strings.Join(parts, ",")
}
