// Lookup: from the name of a metric to its rule, explicit or expanded from a pattern.

package rule

import (
	"slices"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// podsResource is the fallback of Lookup: other resources without a rule are computed from their pods.
const podsResource = "pods"

// Lookup returns the rule of a metric for a resource, given as plural or plural.group. A rule for this resource wins
// over a rule for pods: the caller aggregates its values over the object's pods. Explicit names win over patterns,
// then the order of the configuration counts. The error is a metric.KindNotFound that names the nearest metric.
func (s *Set) Lookup(resource, metric string) (*Rule, error) {
	return s.LookupFor("", resource, metric)
}

// LookupFor is Lookup for a request in a namespace, which remembers the rule in the namespace's share.
func (s *Set) LookupFor(namespace, resource, metric string) (*Rule, error) {
	r, err := s.findExactRule(namespace, resource, metric)
	if r != nil || err != nil {
		return r, err
	}
	if resource != podsResource {
		if r, err = s.findExactRule(namespace, podsResource, metric); r != nil || err != nil {
			return r, err
		}
	}
	return nil, s.newNoRuleError(resource, metric)
}

// External returns the rule of an external metric. Its errors are as in Lookup.
func (s *Set) External(metric string) (*Rule, error) { return s.ExternalFor("", metric) }

// ExternalFor is External for a request in a namespace, as LookupFor.
func (s *Set) ExternalFor(namespace, metric string) (*Rule, error) {
	r, err := s.findExactRule(namespace, "", metric)
	if r != nil || err != nil {
		return r, err
	}
	return nil, s.newNoRuleError("", metric)
}

// findExactRule returns the rule for exactly this resource (empty: external), or nil.
func (s *Set) findExactRule(namespace, resource, name string) (*Rule, error) {
	for _, c := range s.rules {
		if c.rule != nil && c.rule.Resource == resource && c.rule.Metric == name {
			return c.rule, nil
		}
	}
	key := ruleCacheKey{resource, name}
	if r, found := s.expanded.Get(key); found {
		return r, nil
	}
	r, err := s.expandRulePatterns(resource, name)
	if r == nil || err != nil {
		return nil, err
	}
	return s.expanded.Add(namespace, key, r, key.cachedRuleBytes()), nil
}

// expandRulePatterns returns the rules of all patterns that serve a metric, linked by Next in the order of the
// configuration; nil without any. Only the embedded backend knows that a family is absent, so that only its rules are
// linked.
func (s *Set) expandRulePatterns(resource, name string) (*Rule, error) {
	var all []*Rule
	var firstErr error
	for _, c := range s.rules {
		if c.rule != nil || c.spec.Resource != resource || !c.ruleServesMetricName(name) {
			continue
		}
		if len(all) > 0 && (c.spec.Backend != config.ScrapeBackend || all[0].Backend != config.ScrapeBackend) {
			continue
		}
		r, err := c.expandPatternRule(name)
		if err == nil {
			all = append(all, r)
		} else if firstErr == nil {
			firstErr = metric.Errorf(metric.KindNotFound, "rule %q does not serve metric %q: %w", c.spec.Name(), name, err)
		}
	}
	if len(all) == 0 {
		return nil, firstErr
	}
	linkRulesOfMetric(all)
	return all[0], nil
}

// linkRulesOfMetric links the rules by Next. External rules have no pods to try the next rule for.
func linkRulesOfMetric(all []*Rule) {
	var families []string
	for i, r := range slices.Backward(all) {
		if families = append(families, r.expr.families...); i < len(all)-1 && !r.External {
			r.next = all[i+1]
		}
		slices.Sort(families)
		families = slices.Compact(families)
		r.families = slices.Clone(families)
	}
}
