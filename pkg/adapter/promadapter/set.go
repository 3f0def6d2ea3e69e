package promadapter

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// Set is what a Catalog knew at one time: immutable and safe for concurrent use.
type Set struct {
	rules map[key]*rule.Rule
	infos []rule.MetricInfo
	// failures and odd are lines for people; notes are both.
	failures, odd, notes []string
	// awaited says of a metric why it is not known on more resources, although a rule names its series.
	awaited map[string]string
	// unlisted are rules of which more metrics may come, and why they are not known; by API.
	custom, external []string
}

// key is a metric on a resource, which is empty where external.
type key struct{ resource, metric string }

// Lookup returns the rule that computes a metric for a resource, given as plural or plural.group. A metric that no rule
// has is a metric.KindNotFound error that names the nearest; one that may yet be found is a metric.KindUnavailable.
func (s *Set) Lookup(resource, name string) (*rule.Rule, error) {
	if r := s.rules[key{resource, name}]; r != nil {
		return r, nil
	}
	if why := s.awaited[name]; why != "" {
		return nil, metric.Errorf(metric.KindUnavailable, "metric %q on %s is not known: %s", name, resource, why)
	}
	if len(s.custom) > 0 {
		return nil, metric.Errorf(metric.KindUnavailable, "metric %q on %s is not known: %s", name, resource, list(s.custom))
	}
	return nil, metric.Errorf(metric.KindNotFound, "no rule has a series for metric %q on %s%s", name, resource, s.hint(resource, name))
}

// External returns the rule of an external metric; the error is as that of Lookup.
func (s *Set) External(name string) (*rule.Rule, error) {
	if r := s.rules[key{"", name}]; r != nil {
		return r, nil
	}
	if len(s.external) > 0 {
		return nil, metric.Errorf(metric.KindUnavailable, "external metric %q is not known: %s", name, list(s.external))
	}
	return nil, metric.Errorf(metric.KindNotFound, "no rule has a series for external metric %q%s", name, s.hint("", name))
}

// Metrics describes all metrics, those of each resource by name. The caller must not change the slice.
func (s *Set) Metrics() []rule.MetricInfo { return s.infos }

// Notes are lines for people: rules that fail, and what is odd. The caller must not change the slice.
func (s *Set) Notes() []string { return s.notes }

// list names a few.
func list(texts []string) string {
	const most = 3
	if len(texts) > most {
		return strings.Join(texts[:most], "; ") + fmt.Sprintf("; and %d more", len(texts)-most)
	}
	return strings.Join(texts, "; ")
}

// publish makes a Set of what is known, and returns the rules that must be asked whether they have series at all.
func (c *Catalog) publish() []*ruleState {
	b := builder{
		set:    &Set{rules: map[key]*rule.Rule{}, awaited: map[string]string{}},
		chosen: map[key]candidate{},
	}
	for _, r := range c.rules {
		b.add(r)
	}
	failures, odd := c.usageNotes()
	b.set.failures, b.set.odd = append(b.set.failures, failures...), append(b.set.odd, odd...)
	b.finish()
	if old := c.set.Load(); old == nil || !old.equal(b.set) {
		c.set.Store(b.set)
	}
	c.opts.Metrics.known(len(b.set.rules))
	return b.again
}

// equal tells whether the sets answer alike.
func (s *Set) equal(o *Set) bool {
	return mapsEqual(s.rules, o.rules) && mapsEqual(s.awaited, o.awaited) && slices.Equal(s.notes, o.notes) &&
		slices.Equal(s.custom, o.custom) && slices.Equal(s.external, o.external)
}

func mapsEqual[K, V comparable](a, b map[K]V) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if w, ok := b[k]; !ok || v != w {
			return false
		}
	}
	return true
}

// candidate is an entry for a metric, and whose it is.
type candidate struct {
	*entry
	of *ruleState
}

// builder makes a Set.
type builder struct {
	set    *Set
	chosen map[key]candidate
	again  []*ruleState
	twice  []string
}

func (b *builder) add(r *ruleState) {
	b.set.failures = append(b.set.failures, r.failures()...)
	b.set.odd = append(b.set.odd, r.oddities()...)
	if why := b.unlisted(r); why != "" {
		switch own := r.compiled.selector.name; {
		case own != "" && !r.external:
			b.set.awaited[r.compiled.metricName(own)] = why
		case r.external:
			b.set.external = append(b.set.external, why)
		default:
			b.set.custom = append(b.set.custom, why)
		}
	}
	for _, e := range r.sorted() {
		b.choose(key{e.resource.Name, e.rule.Metric}, candidate{e, r})
	}
}

// unlisted says why more metrics of the rule may come; empty if all that there are are known.
func (b *builder) unlisted(r *ruleState) string {
	switch {
	case r.err != nil && !r.listed:
		return r.name() + ": " + r.err.Error()
	case !r.listed:
		return r.name() + ": " + errNotListed.Error()
	case r.silent:
		return r.name() + ": no series has been seen to tell its labels from"
	}
	return ""
}

// choose decides between entries for one metric: by rank, then the later.
func (b *builder) choose(k key, c candidate) {
	first, taken := b.chosen[k]
	if !taken {
		b.chosen[k] = c
		return
	}
	for _, each := range []candidate{first, c} {
		if each.rank == assumed && !each.of.confirm {
			each.of.confirm = true
			b.again = append(b.again, each.of)
		}
	}
	if c.rank >= first.rank {
		first, c = c, first
		b.chosen[k] = first
	}
	if first.of == c.of && first.series == c.series {
		return // its label has changed
	}
	what := "external metric " + k.metric
	if k.resource != "" {
		what = "metric " + k.metric + " of " + k.resource
	}
	why := "the last rule wins"
	if first.rank != c.rank {
		why = "of the other no series are seen now"
	}
	b.twice = append(b.twice, fmt.Sprintf("%s is that of %s (series %s), not of %s (series %s): %s",
		what, first.of.path, first.series, c.of.path, c.series, why))
}

// maxTwice bounds the notes about metrics that several rules serve.
const maxTwice = 20

func (b *builder) finish() {
	slices.Sort(b.twice)
	if n := len(b.twice) - maxTwice; n > 0 {
		b.twice = append(b.twice[:maxTwice], fmt.Sprintf("and %d more metrics that several rules serve", n))
	}
	b.set.odd = append(b.set.odd, b.twice...)
	b.set.notes = slices.Concat(b.set.failures, b.set.odd)
	for k, c := range b.chosen {
		b.set.rules[k] = c.rule
		b.set.infos = append(b.set.infos, rule.MetricInfo{
			Metric: k.metric, Resource: k.resource, External: c.of.external, Namespaced: c.of.external || c.resource.Namespaced,
		})
	}
	slices.SortFunc(b.set.infos, func(x, y rule.MetricInfo) int {
		return strings.Compare(x.Resource+"\x00"+x.Metric, y.Resource+"\x00"+y.Metric)
	})
}
