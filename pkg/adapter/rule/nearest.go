// The error for a metric without a rule, which names the nearest metric.

package rule

import (
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// newNoRuleError returns the error for a metric without rule (resource empty: external), with the nearest metric.
func (s *Set) newNoRuleError(resource, name string) error {
	asked := "metric %q on " + resource
	if resource == "" {
		asked = "external metric %q"
	}
	return metric.Errorf(metric.KindNotFound, "no rule for "+asked+"%s", name, s.describeNearestRule(resource, name))
}

// describeNearestRule names the nearest metric, or else the rules.
func (s *Set) describeNearestRule(resource, name string) string {
	best, bestDistance := "", len(name)/3+1 // a more distant name is another word
	otherType := ""
	var served, excepted []string
	for _, c := range s.rules {
		if c.spec.External != (resource == "") {
			if c.rule != nil && c.rule.Metric == name {
				return "; " + c.describeRuleOfOtherAPI()
			}
			if c.rule == nil && otherType == "" && c.ruleServesMetricName(name) {
				otherType = c.describeTypeOfOtherAPI()
			}
			continue
		}
		if !c.spec.External && c.spec.Resource != resource && c.spec.Resource != podsResource {
			continue
		}
		if c.match != nil && c.match.MatchString(name) {
			excepted = append(excepted, c.spec.Name())
			continue
		}
		served = append(served, c.spec.Name())
		if near, d := c.findNearestMetric(name); d < bestDistance {
			best, bestDistance = near, d
		}
	}
	switch {
	case len(excepted) > 0:
		return "; excepted from " + joinFewRuleNames(excepted)
	case best != "":
		return "; nearest: " + best
	case len(served) == 0:
		return "; there are no such rules" + otherType
	}
	return "; there are rules for " + joinFewRuleNames(served) + otherType
}

// describeTypeOfOtherAPI names the autoscaler's type of a metric that a pattern serves in another API. A pattern may match any name.
func (c *compiledRule) describeTypeOfOtherAPI() string {
	switch {
	case c.spec.External:
		return "; an external metric needs the type External"
	case c.spec.Resource == podsResource:
		return "; a metric of pods needs the type Pods"
	}
	return "; a metric of " + c.spec.Resource + " needs the type Object"
}

// describeRuleOfOtherAPI names the API or resource that has the requested metric.
func (c *compiledRule) describeRuleOfOtherAPI() string {
	if c.spec.External {
		return "it is an external metric"
	}
	return "it is a metric of " + c.spec.Resource
}

// joinFewRuleNames lists at most five names.
func joinFewRuleNames(names []string) string {
	const maxNames = 5
	if len(names) > maxNames {
		return strings.Join(names[:maxNames], ", ") + " and others"
	}
	return strings.Join(names, ", ")
}

// noDistance is the distance if no name is near: larger than all others.
const noDistance = 1 << 30

// findNearestMetric returns the served name nearest to the given name, and its distance.
func (c *compiledRule) findNearestMetric(name string) (string, int) {
	if c.rule != nil {
		return c.rule.Metric, strict.EditDistance(name, c.rule.Metric)
	}
	return c.namePattern.findNearestName(c.spec.Match, name)
}

const (
	// maxEndings bounds the endings tried for a pattern.
	maxEndings = 16
	// maxEndingTypos is by how many characters a mistyped ending may be longer or shorter.
	maxEndingTypos = 2
	// maxNearestLength bounds the names compared with patterns: the effort grows with the square.
	maxNearestLength = 100
)

// findNearestName replaces the name's ending by an ending of the pattern, such as _per_second, if the two are
// alike.
func (p *namePattern) findNearestName(expr, name string) (best string, bestDistance int) {
	bestDistance = noDistance
	re, err := syntax.Parse(expr, syntax.Perl)
	if p.match == nil || err != nil || len(name) > maxNearestLength {
		return "", noDistance
	}
	ends, _ := listPatternEndings(re.Simplify())
	for _, end := range ends {
		for n := max(0, len(end)-maxEndingTypos); n <= min(len(name), len(end)+maxEndingTypos); n++ {
			candidate := name[:len(name)-n] + end
			d := strict.EditDistance(name, candidate)
			if d <= max(1, len(end)/3) && d < bestDistance && end != "" && p.ruleServesMetricName(candidate) {
				best, bestDistance = candidate, d
			}
		}
	}
	return best, bestDistance
}

// listPatternEndings returns the possible endings of a match of re, as long as they are few. It sets whole if the endings
// are all possible matches.
func listPatternEndings(re *syntax.Regexp) (ends []string, whole bool) {
	switch re.Op {
	case syntax.OpEmptyMatch, syntax.OpBeginText, syntax.OpEndText, syntax.OpBeginLine, syntax.OpEndLine:
		return []string{""}, true
	case syntax.OpLiteral:
		return []string{string(re.Rune)}, true
	case syntax.OpCapture:
		return listPatternEndings(re.Sub[0])
	case syntax.OpCharClass:
		return listRegexpClassEndings(re.Rune)
	case syntax.OpAlternate:
		whole = true
		for _, sub := range re.Sub {
			more, all := listPatternEndings(sub)
			ends, whole = append(ends, more...), whole && all
		}
	case syntax.OpConcat:
		ends, whole = []string{""}, true
		for _, sub := range slices.Backward(re.Sub) {
			var heads []string
			if heads, whole = listPatternEndings(sub); !whole && len(heads) == 0 {
				break
			}
			ends = joinPatternEndings(heads, ends)
			if !whole {
				break
			}
		}
	}
	if len(ends) > maxEndings {
		return nil, false
	}
	return ends, whole
}

func listRegexpClassEndings(ranges []rune) (ends []string, whole bool) {
	for pair := range slices.Chunk(ranges, 2) {
		for r := pair[0]; r <= pair[1]; r++ {
			if ends = append(ends, string(r)); len(ends) > maxEndings {
				return nil, false
			}
		}
	}
	return ends, true
}

func joinPatternEndings(heads, ends []string) []string {
	var all []string
	for _, h := range heads {
		for _, e := range ends {
			if all = append(all, h+e); len(all) > maxEndings {
				return all
			}
		}
	}
	return all
}
