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

// seriesSelector is a parsed seriesQuery.
type seriesSelector struct {
	text     string
	matchers []*labels.Matcher
	// onlyName is the only possible name of the series; empty if several are possible.
	onlyName string
}

func parsePromAdapterSeriesQuery(text string) (seriesSelector, error) {
	matchers, err := parser.NewParser(parser.Options{}).ParseMetricSelector(text)
	if err != nil {
		return seriesSelector{}, firstPromAdapterSeriesQueryError(err)
	}
	s := seriesSelector{text: text, matchers: matchers}
	restricts := false
	for _, m := range matchers {
		restricts = restricts || !m.Matches("")
	}
	if !restricts {
		return seriesSelector{}, errors.New("selects every series; add a matcher that does not match an empty value")
	}
	for _, m := range matchers {
		if name := onlyPromAdapterSeriesQueryValue(m); m.Name == model.MetricNameLabel && name != "" && s.promAdapterSeriesQueryAdmitsName(name) {
			s.onlyName = name
		}
	}
	return s, nil
}

// firstPromAdapterSeriesQueryError returns the first error of the parser, without its position in the expression.
func firstPromAdapterSeriesQueryError(err error) error {
	var all parser.ParseErrors
	if errors.As(err, &all) && len(all) > 0 {
		return all[0].Err
	}
	return err
}

// onlyPromAdapterSeriesQueryValue returns the only value that a matcher matches, or empty text.
func onlyPromAdapterSeriesQueryValue(m *labels.Matcher) string {
	switch set := m.SetMatches(); {
	case m.Type == labels.MatchEqual:
		return m.Value
	case m.Type == labels.MatchRegexp && len(set) == 1:
		return set[0]
	}
	return ""
}

// promAdapterSeriesQueryAdmitsName reports whether the selector may select series with the name.
func (s seriesSelector) promAdapterSeriesQueryAdmitsName(name string) bool {
	for _, m := range s.matchers {
		if m.Name == model.MetricNameLabel && !m.Matches(name) {
			return false
		}
	}
	return true
}

// promAdapterSeriesQueryAssertsLabel reports whether every selected series has the label.
func (s seriesSelector) promAdapterSeriesQueryAssertsLabel(label string) bool {
	for _, m := range s.matchers {
		if m.Name == label && !m.Matches("") {
			return true
		}
	}
	return false
}

// promAdapterSeriesQueryExcludesLabel reports whether no selected series has the label.
func (s seriesSelector) promAdapterSeriesQueryExcludesLabel(label string) bool {
	return slices.ContainsFunc(s.matchers, func(m *labels.Matcher) bool {
		return label != "" && m.Name == label && m.Matches("") && rule.ExcludeEachOther([]*labels.Matcher{m}, "(?s:.+)")
	})
}

// formatPromAdapterQueryWithLabel returns the selector, as text, restricted to series with the label.
func (s seriesSelector) formatPromAdapterQueryWithLabel(label string) string {
	if s.promAdapterSeriesQueryAssertsLabel(label) {
		return s.text
	}
	return "{" + joinPromAdapterMatchers(append(s.matchers[:len(s.matchers):len(s.matchers)], newPromAdapterPresenceMatcher(label))) + "}"
}

// newPromAdapterPresenceMatcher returns a matcher for series with the label.
func newPromAdapterPresenceMatcher(label string) *labels.Matcher {
	return &labels.Matcher{Type: labels.MatchNotEqual, Name: label}
}

// joinPromAdapterMatchers returns the matchers as PromQL text, separated by commas.
func joinPromAdapterMatchers(matchers []*labels.Matcher) string {
	parts := make([]string, len(matchers))
	for i, m := range matchers {
		parts[i] = m.String()
	}
	return strings.Join(parts, ",")
}
