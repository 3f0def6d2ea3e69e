package rule

import (
	"maps"
	"sync"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// pods is the resource from whose rules other resources are computed where they have none of their own.
const pods = "pods"

// Lookup returns the rule that computes a metric for a resource, given as plural or plural.group. A rule of
// that very resource comes first, else the rule for pods, whose values the caller aggregates over the pods
// that the object selects. Among each, explicit names come before patterns, then the order of the
// configuration counts. The error is a metric.KindNotFound that names the nearest metric.
func (s *Set) Lookup(resource, metric string) (*Rule, error) {
	r, err := s.find(resource, metric)
	if r != nil || err != nil {
		return r, err
	}
	if resource != pods {
		if r, err = s.find(pods, metric); r != nil || err != nil {
			return r, err
		}
	}
	return nil, s.notFound(resource, metric)
}

// External returns the rule of an external metric; the error is as that of Lookup.
func (s *Set) External(metric string) (*Rule, error) {
	r, err := s.find("", metric)
	if r != nil || err != nil {
		return r, err
	}
	return nil, s.notFound("", metric)
}

// find returns the rule for exactly that resource (empty: external), or nil if there is none.
func (s *Set) find(resource, name string) (*Rule, error) {
	for _, c := range s.rules {
		if c.rule != nil && c.rule.Resource == resource && c.rule.Metric == name {
			return c.rule, nil
		}
	}
	key := cacheKey{resource, name}
	if r := s.cache.get(key); r != nil {
		return r, nil
	}
	for _, c := range s.rules {
		if c.rule != nil || c.spec.Resource != resource || !c.serves(name) {
			continue
		}
		r, err := c.expand(name)
		if err != nil {
			return nil, metric.Errorf(metric.KindNotFound, "rule %q does not serve metric %q: %w", c.spec.Name(), name, err)
		}
		return s.cache.put(key, r), nil
	}
	return nil, nil
}

// cacheSize bounds the expanded rules kept; the names come from requests.
const cacheSize = 1024

type cacheKey struct{ resource, metric string }

// cache holds expanded pattern rules. Its zero value is empty and ready.
type cache struct {
	mu    sync.Mutex // guards rules
	rules map[cacheKey]*Rule
}

func (c *cache) get(key cacheKey) *Rule {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rules[key]
}

// put keeps the rule and returns the one to use, which is another's if that was faster.
func (c *cache) put(key cacheKey, r *Rule) *Rule {
	c.mu.Lock()
	defer c.mu.Unlock()
	if first := c.rules[key]; first != nil {
		return first
	}
	if c.rules == nil {
		c.rules = map[cacheKey]*Rule{}
	}
	if len(c.rules) >= cacheSize {
		// Any: an attacker's names and the HPAs' cannot be told apart, and the loss is a few microseconds.
		for victim := range maps.Keys(c.rules) {
			delete(c.rules, victim)
			break
		}
	}
	c.rules[key] = r
	return r
}
