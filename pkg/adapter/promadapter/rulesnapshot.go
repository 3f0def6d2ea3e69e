package promadapter

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// RuleSnapshot is what a Catalog knew at one time: immutable and safe for concurrent use.
type RuleSnapshot struct {
	rules map[metricKey]*rule.Rule
	infos []rule.MetricInfo
	// failures and odd are lines for people; notes are both.
	failures, oddities, notes []string
	// awaited says of a metric why it is not known on more resources, although a rule names its series.
	awaited map[string]string
	// unlisted are rules of which more metrics may come, and why they are not known; by API.
	unlistedCustom, unlistedExternal []string
}

// metricKey is a metric on a resource, which is empty where external.
type metricKey struct{ resource, metric string }

// Lookup returns the rule that computes a metric for a resource, given as plural or plural.group. A metric that no rule
// has is a metric.KindNotFound error that names the nearest; one that may yet be found is a metric.KindUnavailable.
func (s *RuleSnapshot) Lookup(resource, name string) (*rule.Rule, error) {
	if r := s.rules[metricKey{resource, name}]; r != nil {
		return r, nil
	}
	if why := s.awaited[name]; why != "" {
		return nil, metric.Errorf(metric.KindUnavailable, "metric %q on %s is not known: %s", name, resource, why)
	}
	if len(s.unlistedCustom) > 0 {
		return nil, metric.Errorf(metric.KindUnavailable, "metric %q on %s is not known: %s", name, resource, joinFewReasons(s.unlistedCustom))
	}
	return nil, metric.Errorf(metric.KindNotFound, "no rule has a series for metric %q on %s%s", name, resource, s.suggestMetric(resource, name))
}

// External returns the rule of an external metric; the error is as that of Lookup.
func (s *RuleSnapshot) External(name string) (*rule.Rule, error) {
	if r := s.rules[metricKey{"", name}]; r != nil {
		return r, nil
	}
	if len(s.unlistedExternal) > 0 {
		return nil, metric.Errorf(metric.KindUnavailable, "external metric %q is not known: %s", name, joinFewReasons(s.unlistedExternal))
	}
	return nil, metric.Errorf(metric.KindNotFound, "no rule has a series for external metric %q%s", name, s.suggestMetric("", name))
}

// Metrics describes all metrics, those of each resource by name. The caller must not change the slice.
func (s *RuleSnapshot) Metrics() []rule.MetricInfo { return s.infos }

// Notes are lines for people: rules that fail, and what is odd. The caller must not change the slice.
func (s *RuleSnapshot) Notes() []string { return s.notes }

// joinFewReasons names a few.
func joinFewReasons(texts []string) string {
	const most = 3
	if len(texts) > most {
		return strings.Join(texts[:most], "; ") + fmt.Sprintf("; and %d more", len(texts)-most)
	}
	return strings.Join(texts, "; ")
}

// publishRuleSnapshot makes a Set of what is known, and returns the rules that must be asked whether they have series at all.
func (c *Catalog) publishRuleSnapshot() []*ruleState {
	b := snapshotBuilder{
		snapshot: &RuleSnapshot{rules: map[metricKey]*rule.Rule{}, awaited: map[string]string{}},
		chosen:   map[metricKey]metricCandidate{},
	}
	for _, r := range c.rules {
		b.addRuleMetrics(r)
	}
	failures, odd := c.usageNotes()
	b.snapshot.failures, b.snapshot.oddities = append(b.snapshot.failures, failures...), append(b.snapshot.oddities, odd...)
	b.finishSnapshot()
	if old := c.snapshot.Load(); old == nil || !old.equalsSnapshot(b.snapshot) {
		c.snapshot.Store(b.snapshot)
	}
	c.opts.Metrics.setKnownMetrics(len(b.snapshot.rules))
	return b.unconfirmed
}

// equalsSnapshot tells whether the sets answer alike.
func (s *RuleSnapshot) equalsSnapshot(o *RuleSnapshot) bool {
	return maps.Equal(s.rules, o.rules) && maps.Equal(s.awaited, o.awaited) && slices.Equal(s.notes, o.notes) &&
		slices.Equal(s.unlistedCustom, o.unlistedCustom) && slices.Equal(s.unlistedExternal, o.unlistedExternal)
}

// metricCandidate is an entry for a metric, and whose it is.
type metricCandidate struct {
	*metricEntry
	owner *ruleState
}

// snapshotBuilder makes a Set.
type snapshotBuilder struct {
	snapshot    *RuleSnapshot
	chosen      map[metricKey]metricCandidate
	unconfirmed []*ruleState
	conflicts   []string
}

func (b *snapshotBuilder) addRuleMetrics(r *ruleState) {
	b.snapshot.failures = append(b.snapshot.failures, r.describeFailures()...)
	b.snapshot.oddities = append(b.snapshot.oddities, r.describeOddities()...)
	if why := b.explainUnlisted(r); why != "" {
		switch own := r.compiled.selector.onlyName; {
		case own != "" && !r.external:
			b.snapshot.awaited[r.compiled.expandMetricName(own)] = why
		case r.external:
			b.snapshot.unlistedExternal = append(b.snapshot.unlistedExternal, why)
		default:
			b.snapshot.unlistedCustom = append(b.snapshot.unlistedCustom, why)
		}
	}
	for _, e := range r.sortedEntries() {
		b.chooseCandidate(metricKey{e.resource.Name, e.rule.Metric}, metricCandidate{e, r})
	}
}

// explainUnlisted says why more metrics of the rule may come; empty if all that there are are known.
func (b *snapshotBuilder) explainUnlisted(r *ruleState) string {
	switch {
	case r.err != nil && !r.listed:
		return r.logName() + ": " + r.err.Error()
	case !r.listed:
		return r.logName() + ": " + errNotListed.Error()
	case r.labelsUnknown:
		return r.logName() + ": no series has been seen to tell its labels from"
	}
	return ""
}

// chooseCandidate decides between entries for one metric: by rank, then the later.
func (b *snapshotBuilder) chooseCandidate(k metricKey, c metricCandidate) {
	first, taken := b.chosen[k]
	if !taken {
		b.chosen[k] = c
		return
	}
	for _, each := range []metricCandidate{first, c} {
		if each.rank == rankAssumed && !each.owner.mustConfirm {
			each.owner.mustConfirm = true
			b.unconfirmed = append(b.unconfirmed, each.owner)
		}
	}
	if c.rank >= first.rank {
		first, c = c, first
		b.chosen[k] = first
	}
	if first.owner == c.owner && first.series == c.series {
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
	b.conflicts = append(b.conflicts, fmt.Sprintf("%s is that of %s (series %s), not of %s (series %s): %s",
		what, first.owner.path, first.series, c.owner.path, c.series, why))
}

// maxConflictNotes bounds the notes about metrics that several rules serve.
const maxConflictNotes = 20

func (b *snapshotBuilder) finishSnapshot() {
	slices.Sort(b.conflicts)
	if n := len(b.conflicts) - maxConflictNotes; n > 0 {
		b.conflicts = append(b.conflicts[:maxConflictNotes], fmt.Sprintf("and %d more metrics that several rules serve", n))
	}
	b.snapshot.oddities = append(b.snapshot.oddities, b.conflicts...)
	b.snapshot.notes = slices.Concat(b.snapshot.failures, b.snapshot.oddities)
	for k, c := range b.chosen {
		b.snapshot.rules[k] = c.rule
		b.snapshot.infos = append(b.snapshot.infos, rule.MetricInfo{
			Metric: k.metric, Resource: k.resource, External: c.owner.external, Namespaced: c.owner.external || c.resource.Namespaced,
		})
	}
	slices.SortFunc(b.snapshot.infos, func(x, y rule.MetricInfo) int {
		return strings.Compare(x.Resource+"\x00"+x.Metric, y.Resource+"\x00"+y.Metric)
	})
}
