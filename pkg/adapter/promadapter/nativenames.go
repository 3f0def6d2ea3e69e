// The inversion of name.matches and name.as: which series a metric name stands for.

package promadapter

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// nativeNames has the metric names of a rule in the native format, and the series of each name.
type nativeNames struct {
	metric        string        // set for a rule with a single series
	match, except string        // set for any other rule
	series        string        // with ${1} for the group of match
	pattern       *affixPattern // of the metric names
	template      string        // the metric name, with NAME for the group of match
}

// affixPattern is the set of texts with the prefix and the suffix, which do not overlap. If exact, it is only the prefix.
type affixPattern struct {
	prefix, suffix string
	exact          bool
	nonEmpty       bool // with at least a character between prefix and suffix
}

// canOverlapAffix reports whether both sets can contain the same text.
func (a affixPattern) canOverlapAffix(b affixPattern) bool {
	return (strings.HasPrefix(a.prefix, b.prefix) || strings.HasPrefix(b.prefix, a.prefix)) &&
		(strings.HasSuffix(a.suffix, b.suffix) || strings.HasSuffix(b.suffix, a.suffix))
}

// formatAffixRegexp returns the set as a regular expression without anchors, with left and right around it.
func (a affixPattern) formatAffixRegexp(left, right string) string {
	body := ".*"
	if a.nonEmpty || a.prefix == "" && a.suffix == "" {
		body = ".+"
	}
	if a.exact {
		return left + regexp.QuoteMeta(a.prefix) + right
	}
	return left + regexp.QuoteMeta(a.prefix) + body + regexp.QuoteMeta(a.suffix) + right
}

// namePlaceholder marks the text for a person to fill in.
const namePlaceholder = "NAME"

var errAmbiguousSeries = errors.New("the series of a metric name are ambiguous")

// invertNameMapping inverts name.matches and name.as. It succeeds if exactly one variable part of the series name goes into the
// metric name, between fixed texts.
func invertNameMapping(r *SeriesRule) (nativeNames, error) {
	c := &r.compiled
	if series := c.selector.onlyName; series != "" {
		if !c.servesSeriesName(series) {
			return nativeNames{}, errors.New("serves no metric: its filters exclude its only series, " + series)
		}
		return nativeNames{metric: c.expandMetricNameAs(series), series: series}, nil
	}
	if c.metricsQuery != nil && !templateUsesSeries(c.metricsQuery.Root) && !groupReferenceRegexp.MatchString(c.metricAs) {
		return nativeNames{metric: c.metricAs}, nil // any of its series gives the same metric and the same query
	}
	before, after, whole, err := splitMetricNameAs(c)
	if err != nil {
		return nativeNames{}, err
	}
	m, ok := parseMatchedNames(c.matches.String(), whole)
	switch {
	case !ok:
		return nativeNames{}, fmt.Errorf("name.matches: %w", errAmbiguousSeries)
	case whole:
		// The whole series name goes into the metric name; name.matches restricts it.
		return restrictNativeNames(r, affixPattern{}, before, after, m)
	}
	return restrictNativeNames(r, affixPattern{prefix: m.prefix, suffix: m.suffix}, before, after, affixPattern{nonEmpty: m.nonEmpty})
}

// splitMetricNameAs splits name.as at its only reference, and reports whether that refers to the whole match.
func splitMetricNameAs(c *compiledSeriesRule) (before, after string, whole bool, err error) {
	refs := groupReferenceRegexp.FindAllStringSubmatchIndex(c.metricAs, -1)
	switch {
	case len(refs) == 0:
		return "", "", false, errors.New("name.as gives several series the same metric name; write a rule for the right series")
	case len(refs) > 1:
		return "", "", false, fmt.Errorf("name.as: %w", errAmbiguousSeries)
	}
	at := refs[0]
	text := strings.Trim(c.metricAs[at[0]:at[1]], "${}")
	whole = text == "0"
	if !whole && (c.matches.NumSubexp() != 1 || !hasCaptureGroup(c.matches, text)) {
		return "", "", false, fmt.Errorf("name.as: %w", errAmbiguousSeries)
	}
	before, after = c.metricAs[:at[0]], c.metricAs[at[1]:]
	if strings.Contains(before+after, "$") {
		return "", "", false, fmt.Errorf("name.as: %w", errAmbiguousSeries)
	}
	return before, after, whole, nil
}

// parseMatchedNames returns the set of names that name.matches matches from end to end. Unless whole, its group must be its only
// variable part.
func parseMatchedNames(expr string, whole bool) (affixPattern, bool) {
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return affixPattern{}, false
	}
	re = re.Simplify()
	var f affixRegexp
	if !f.readAffixRegexp(re) || !f.hasWildcard || !f.anchoredStart && f.before != "" || !f.anchoredEnd && f.after != "" {
		return affixPattern{}, false
	}
	if group := findFirstNameGroup(re); !whole && (group == nil || group.Op != syntax.OpStar && group.Op != syntax.OpPlus) {
		return affixPattern{}, false
	}
	return affixPattern{prefix: f.before, suffix: f.after, nonEmpty: f.nonEmpty}, true
}

// findFirstNameGroup returns the content of the first group, or nil.
func findFirstNameGroup(re *syntax.Regexp) *syntax.Regexp {
	if re.Op == syntax.OpCapture {
		return re.Sub[0]
	}
	for _, sub := range re.Sub {
		if g := findFirstNameGroup(sub); g != nil {
			return g
		}
	}
	return nil
}

// restrictNativeNames applies all conditions of the rule on series names to the variable part. The series names are fixed around it, the
// metric names are before and after around it, and taken is the set of variable parts that name.matches permits.
func restrictNativeNames(r *SeriesRule, fixed affixPattern, before, after string, taken affixPattern) (nativeNames, error) {
	out := nativeNames{series: fixed.prefix + "${1}" + fixed.suffix}
	var not []string
	for _, f := range r.listNameConstraints() {
		a, ok := parseAffixPattern(f.expr, f.anchored)
		if !ok {
			return nativeNames{}, fmt.Errorf("%s: %w", f.origin, errAmbiguousSeries)
		}
		inner, meets := a.innerAffixPattern(fixed)
		switch {
		case f.mustMatch && (!meets || inner.exact):
			return nativeNames{}, fmt.Errorf("%s: %w", f.origin, errAmbiguousSeries)
		case f.mustMatch:
			if taken, ok = taken.intersectAffixPattern(inner); !ok {
				return nativeNames{}, fmt.Errorf("%s: %w", f.origin, errAmbiguousSeries)
			}
		case meets && inner == (affixPattern{}):
			return nativeNames{}, fmt.Errorf("serves no metric: %s excludes all of its series", f.origin)
		case meets:
			not = append(not, "^"+regexp.QuoteMeta(before)+inner.formatAffixRegexp("", "")+regexp.QuoteMeta(after)+"$")
		}
	}
	out.match = "^" + regexp.QuoteMeta(before) + taken.formatAffixRegexp("(", ")") + regexp.QuoteMeta(after) + "$"
	out.except = strings.Join(not, "|")
	out.template = before + namePlaceholder + after
	out.pattern = &affixPattern{prefix: before + taken.prefix, suffix: taken.suffix + after}
	return out, nil
}

// nameConstraint is a condition of a rule on the names of its series, other than name.matches.
type nameConstraint struct {
	origin, expr        string
	anchored, mustMatch bool
}

func (r *SeriesRule) listNameConstraints() []nameConstraint {
	var out []nameConstraint
	for _, m := range r.compiled.selector.matchers {
		if m.Name != model.MetricNameLabel {
			continue // it restricts the metrics of the rule, never the series of a query
		}
		expr := m.Value
		if m.Type == labels.MatchEqual || m.Type == labels.MatchNotEqual {
			if !model.LegacyValidation.IsValidMetricName(m.Value) {
				continue // not a valid name: no series has it
			}
			expr = regexp.QuoteMeta(m.Value)
		}
		out = append(out, nameConstraint{"seriesQuery: " + m.String(), expr, true, m.Type == labels.MatchRegexp || m.Type == labels.MatchEqual})
	}
	for _, f := range r.SeriesFilters {
		if f.Is != "" {
			out = append(out, nameConstraint{"seriesFilters: is " + f.Is, f.Is, false, true})
		} else {
			out = append(out, nameConstraint{"seriesFilters: isNot " + f.IsNot, f.IsNot, false, false})
		}
	}
	return out
}

// innerAffixPattern returns the condition of a on the text between the prefix and the suffix of fixed. It returns false if a excludes
// all such texts.
func (a affixPattern) innerAffixPattern(fixed affixPattern) (affixPattern, bool) {
	if a.exact {
		inner, ok := strings.CutPrefix(a.prefix, fixed.prefix)
		inner, ok2 := strings.CutSuffix(inner, fixed.suffix)
		return affixPattern{prefix: inner, exact: true}, ok && ok2 && inner != ""
	}
	var out affixPattern
	switch {
	case strings.HasPrefix(a.prefix, fixed.prefix):
		out.prefix = a.prefix[len(fixed.prefix):]
	case !strings.HasPrefix(fixed.prefix, a.prefix):
		return affixPattern{}, false
	}
	switch {
	case strings.HasSuffix(a.suffix, fixed.suffix):
		out.suffix = strings.TrimSuffix(a.suffix, fixed.suffix)
	case !strings.HasSuffix(fixed.suffix, a.suffix):
		return affixPattern{}, false
	}
	out.nonEmpty = a.nonEmpty && len(a.prefix) >= len(fixed.prefix) && len(a.suffix) >= len(fixed.suffix)
	return out, true
}

// intersectAffixPattern returns the intersection, and false if it is not an affixPattern.
func (a affixPattern) intersectAffixPattern(b affixPattern) (affixPattern, bool) {
	if !a.canOverlapAffix(b) {
		return affixPattern{}, false
	}
	if len(b.prefix) > len(a.prefix) {
		a.prefix = b.prefix
	}
	if len(b.suffix) > len(a.suffix) {
		a.suffix = b.suffix
	}
	a.nonEmpty = a.nonEmpty || b.nonEmpty
	return a, true
}

// parseAffixPattern returns the set of texts that an expression matches, and false if it is not an affixPattern. If anchored, the
// expression matches whole texts, as in PromQL.
func parseAffixPattern(expr string, anchored bool) (affixPattern, bool) {
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return affixPattern{}, false
	}
	var f affixRegexp
	if !f.readAffixRegexp(re.Simplify()) {
		return affixPattern{}, false
	}
	begins, ends := anchored || f.anchoredStart, anchored || f.anchoredEnd
	switch {
	case !f.hasWildcard && begins && ends:
		return affixPattern{prefix: f.before, exact: true}, true
	case !f.hasWildcard && begins:
		return affixPattern{prefix: f.before}, true
	case !f.hasWildcard && ends:
		return affixPattern{suffix: f.before}, true
	case f.hasWildcard && (begins || f.before == "") && (ends || f.after == ""):
		return affixPattern{prefix: f.before, suffix: f.after, nonEmpty: f.nonEmpty}, true
	}
	return affixPattern{}, false
}

// affixRegexp is an expression of the form ^before.*after$, with or without the anchors.
type affixRegexp struct {
	anchoredStart, anchoredEnd, hasWildcard, nonEmpty bool
	before, after                                     string
}

func (f *affixRegexp) readAffixRegexp(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpEmptyMatch:
		return true
	case syntax.OpBeginText:
		f.anchoredStart = true
		return f.before == "" && !f.hasWildcard
	case syntax.OpEndText:
		f.anchoredEnd = true
		return true
	case syntax.OpCapture:
		return f.readAffixRegexp(re.Sub[0])
	case syntax.OpLiteral:
		if re.Flags&syntax.FoldCase != 0 || f.anchoredEnd {
			return false
		}
		if f.hasWildcard {
			f.after += string(re.Rune)
		} else {
			f.before += string(re.Rune)
		}
		return true
	case syntax.OpStar, syntax.OpPlus:
		any := re.Sub[0].Op == syntax.OpAnyCharNotNL || re.Sub[0].Op == syntax.OpAnyChar
		if !any || f.hasWildcard || f.anchoredEnd {
			return false
		}
		f.hasWildcard, f.nonEmpty = true, re.Op == syntax.OpPlus
		return true
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			if !f.readAffixRegexp(sub) {
				return false
			}
		}
		return true
	}
	return false
}
