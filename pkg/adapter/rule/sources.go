// The sources of a rule: the namespaces with pods that may feed it.

package rule

import (
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
)

// validateRuleSources rejects a rule that pods of every namespace can feed although its author has not said so. Whoever may
// run a pod in any namespace could otherwise move the metric, and take it away.
func (c *compiledRule) validateRuleSources(r *Rule, t *exprTree) []keyError {
	if m := t.findForeignSourceMatcher(r); m != nil {
		return newKeyErrorsf("query", "%s matches no series, because the rule reads only those of %s; remove it", m, strings.Join(r.Namespaces, ", "))
	}
	if r.Namespaced || c.spec.HasFrom() || !r.External && c.spec.Labels.Object == "" || r.ObjectLabel == r.NamespaceLabel || r.Resource == "nodes" {
		return nil
	}
	if _, said := t.listSelectorNamespaces(r.NamespaceLabel); said {
		return nil
	}
	return newKeyErrorsf("from", "required with namespaced: none, because a pod of any namespace could feed the rule; "+
		"write from: [NAMESPACE], or from: all if that is meant")
}

// findForeignSourceMatcher returns a matcher that admits none of the namespaces that the rule reads; nil without any.
func (t *exprTree) findForeignSourceMatcher(r *Rule) *labels.Matcher {
	if len(r.Namespaces) == 0 {
		return nil
	}
	for _, v := range t.selectors {
		for _, m := range v.LabelMatchers {
			if m.Name == r.NamespaceLabel && !slices.ContainsFunc(r.Namespaces, m.Matches) {
				return m
			}
		}
	}
	return nil
}

// listSelectorNamespaces returns the namespaces that the matchers of all selectors name. It reports whether every selector
// has such a matcher; the list is empty if one of them is a pattern without an end.
func (t *exprTree) listSelectorNamespaces(label string) (namespaces []string, said bool) {
	countable := true
	for _, v := range t.selectors {
		i := slices.IndexFunc(v.LabelMatchers, func(m *labels.Matcher) bool { return matchersRestrictNamespaces(m, label) })
		if i < 0 {
			return nil, false
		}
		named := []string{v.LabelMatchers[i].Value}
		if v.LabelMatchers[i].Type == labels.MatchRegexp {
			named = v.LabelMatchers[i].SetMatches()
		}
		countable = countable && len(named) > 0
		namespaces = append(namespaces, named...)
	}
	if !countable {
		return nil, true
	}
	slices.Sort(namespaces)
	return slices.Compact(namespaces), true
}

// matchersRestrictNamespaces reports whether a matcher says which namespaces it means, and not only which it does not mean.
func matchersRestrictNamespaces(m *labels.Matcher, label string) bool {
	const other = "a-namespace-that-no-rule-names"
	return m.Name == label && (m.Type == labels.MatchEqual || m.Type == labels.MatchRegexp) && m.Value != "" && !m.Matches(other)
}
