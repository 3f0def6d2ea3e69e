// Snapshots of the catalog: the lookup of rules, and the choice among several rules for a metric.

package promadapter

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// CatalogSnapshot holds the metrics of a Catalog at a point in time. It is immutable and safe for concurrent use.
type CatalogSnapshot struct {
	rules map[metricKey]*rule.Rule
	infos []rule.MetricInfo
	// failures and oddities are lines for people; notes has both.
	failures, oddities, notes []string
	// unlabelled has the reason, by metric, why a rule finds series of the metric but no object.
	unlabelled map[string]string
	// awaited has the reason, by metric, why further resources of the metric are unknown although a rule names its series.
	awaited map[string]string
	// unlistedCustom and unlistedExternal have the rules, by API, that may serve further metrics, with the reason.
	unlistedCustom, unlistedExternal []string
}

// metricKey identifies a metric on a resource. The resource of an external metric is empty.
type metricKey struct{ resource, metric string }

// Lookup returns the rule that computes a metric for a resource, given as plural or plural.group. The error for an unknown metric
// is a metric.KindNotFound with the nearest metric. It is a metric.KindUnavailable while a rule may still find the metric.
func (s *CatalogSnapshot) Lookup(resource, name string) (*rule.Rule, error) {
	if r := s.rules[metricKey{resource, name}]; r != nil {
		return r, nil
	}
	if reason := s.awaited[name]; reason != "" {
		return nil, metric.Errorf(metric.KindUnavailable, "metric %q on %s is not known: %s", name, resource, reason)
	}
	if len(s.unlistedCustom) > 0 {
		return nil, metric.Errorf(metric.KindUnavailable, "metric %q on %s is not known: %s", name, resource, joinFewRuleReasons(s.unlistedCustom))
	}
	if reason := s.unlabelled[name]; reason != "" {
		return nil, metric.Errorf(metric.KindNotFound, "metric %q on %s has no object: %s", name, resource, reason)
	}
	if i := slices.IndexFunc(s.infos, func(i rule.MetricInfo) bool { return i.Metric == name && !i.External }); i >= 0 {
		return nil, metric.Errorf(metric.KindNotFound, "no series of metric %q has a label for %s; it is a metric of %s", name, resource, s.infos[i].Resource)
	}
	return nil, metric.Errorf(metric.KindNotFound, "no rule has a series for metric %q on %s%s", name, resource, s.suggestSimilarMetric(resource, name))
}

// LookupFor is Lookup: the rules of a listing are all there, for every namespace.
func (s *CatalogSnapshot) LookupFor(_, resource, name string) (*rule.Rule, error) {
	return s.Lookup(resource, name)
}

// ExternalFor is External.
func (s *CatalogSnapshot) ExternalFor(_, name string) (*rule.Rule, error) { return s.External(name) }

// External returns the rule of an external metric, with the errors of Lookup.
func (s *CatalogSnapshot) External(name string) (*rule.Rule, error) {
	if r := s.rules[metricKey{"", name}]; r != nil {
		return r, nil
	}
	if len(s.unlistedExternal) > 0 {
		return nil, metric.Errorf(metric.KindUnavailable, "external metric %q is not known: %s", name, joinFewRuleReasons(s.unlistedExternal))
	}
	return nil, metric.Errorf(metric.KindNotFound, "no rule has a series for external metric %q%s", name, s.suggestSimilarMetric("", name))
}

// Metrics describes all metrics, sorted by resource and name. The caller must not change the slice.
func (s *CatalogSnapshot) Metrics() []rule.MetricInfo { return s.infos }

// Notes returns lines for people: failing rules and oddities. The caller must not change the slice.
func (s *CatalogSnapshot) Notes() []string { return s.notes }

// joinFewRuleReasons joins at most three texts and counts the rest.
func joinFewRuleReasons(texts []string) string {
	const maxReasons = 3
	if len(texts) > maxReasons {
		return strings.Join(texts[:maxReasons], "; ") + fmt.Sprintf("; and %d more", len(texts)-maxReasons)
	}
	return strings.Join(texts, "; ")
}

// publishCatalogSnapshot publishes a snapshot of all rules, and returns the fixed rules that need a listing because another rule
// serves the same metric.
func (c *Catalog) publishCatalogSnapshot() []*catalogRule {
	b := catalogSnapshotBuilder{
		snapshot: &CatalogSnapshot{rules: map[metricKey]*rule.Rule{}, unlabelled: map[string]string{}, awaited: map[string]string{}},
		chosen:   map[metricKey]metricCandidate{},
	}
	for _, w := range c.fileWarnings {
		b.snapshot.oddities = append(b.snapshot.oddities, w.String())
	}
	rejected := 0
	for _, r := range c.rules {
		b.addRuleMetrics(r)
		rejected += len(r.rejectedNames)
	}
	c.opts.Metrics.setRejectedSeriesNames(rejected)
	failures, oddities := c.describeUsageRules()
	b.snapshot.failures, b.snapshot.oddities = append(b.snapshot.failures, failures...), append(b.snapshot.oddities, oddities...)
	b.finishCatalogSnapshot()
	if old := c.snapshot.Load(); old == nil || !old.equalsCatalogSnapshot(b.snapshot) {
		c.snapshot.Store(b.snapshot)
	}
	c.opts.Metrics.setKnownMetrics(len(b.snapshot.rules))
	return b.unconfirmed
}

// equalsCatalogSnapshot reports whether both snapshots give the same responses.
func (s *CatalogSnapshot) equalsCatalogSnapshot(o *CatalogSnapshot) bool {
	return maps.Equal(s.rules, o.rules) && maps.Equal(s.unlabelled, o.unlabelled) && maps.Equal(s.awaited, o.awaited) && slices.Equal(s.notes, o.notes) &&
		slices.Equal(s.unlistedCustom, o.unlistedCustom) && slices.Equal(s.unlistedExternal, o.unlistedExternal)
}

// metricCandidate is an entry for a metric with the rule that owns it.
type metricCandidate struct {
	*metricEntry
	owner *catalogRule
}

// catalogSnapshotBuilder builds a CatalogSnapshot.
type catalogSnapshotBuilder struct {
	snapshot    *CatalogSnapshot
	chosen      map[metricKey]metricCandidate
	unconfirmed []*catalogRule
	conflicts   []string
}

func (b *catalogSnapshotBuilder) addRuleMetrics(r *catalogRule) {
	b.snapshot.failures = append(b.snapshot.failures, r.describeSeriesRuleFailures()...)
	b.snapshot.oddities = append(b.snapshot.oddities, r.describeRuleOddities()...)
	if reason := b.explainUnlistedRule(r); reason != "" {
		switch own := r.compiled.selector.onlyName; {
		case own != "" && !r.external:
			b.snapshot.awaited[r.compiled.expandMetricNameAs(own)] = reason
		case r.external:
			b.snapshot.unlistedExternal = append(b.snapshot.unlistedExternal, reason)
		default:
			b.snapshot.unlistedCustom = append(b.snapshot.unlistedCustom, reason)
		}
	}
	if reason := r.describeUnlabelledRule(); reason != "" {
		for _, series := range r.unlabelled {
			b.snapshot.unlabelled[r.compiled.expandMetricNameAs(series)] = r.formatRuleLogName() + ": " + reason
		}
	}
	for _, e := range r.listSortedConfigEntries() {
		b.chooseMetricCandidate(metricKey{e.resource.Name, e.rule.Metric}, metricCandidate{e, r})
	}
}

// explainUnlistedRule returns the reason why the rule may serve further metrics. It is empty if all its metrics are known.
func (b *catalogSnapshotBuilder) explainUnlistedRule(r *catalogRule) string {
	switch {
	case r.err != nil && !r.listed:
		return r.formatRuleLogName() + ": " + r.err.Error()
	case !r.compiled.selectsSeries():
		return r.formatRuleLogName() + ": seriesQuery: " + r.compiled.report.Faults[0].Message
	case !r.listed:
		return r.formatRuleLogName() + ": " + errNotListed.Error()
	case r.labelsUnknown:
		return r.formatRuleLogName() + ": no series seen yet, so its labels are unknown"
	}
	return ""
}

// chooseMetricCandidate chooses between two entries for a metric: the higher rank wins, and the later rule of equal ranks.
func (b *catalogSnapshotBuilder) chooseMetricCandidate(k metricKey, c metricCandidate) {
	first, taken := b.chosen[k]
	if !taken {
		b.chosen[k] = c
		return
	}
	for _, contender := range []metricCandidate{first, c} {
		if contender.rank == rankAssumed && !contender.owner.mustConfirm {
			contender.owner.mustConfirm = true
			b.unconfirmed = append(b.unconfirmed, contender.owner)
		}
	}
	if c.rank >= first.rank {
		first, c = c, first
		b.chosen[k] = first
	}
	if first.owner == c.owner && first.series == c.series {
		return // only the label of the series has changed
	}
	if !first.hasSameRuleQuery(c) {
		b.conflicts = append(b.conflicts, k.describeMetricConflict(first, c))
	}
}

// hasSameRuleQuery reports whether both have the same query, so that it does not matter which one serves.
func (c metricCandidate) hasSameRuleQuery(other metricCandidate) bool {
	query := func(r *rule.Rule) (string, error) {
		return rule.Query{Rule: r, Namespace: "example", Objects: []string{"example"}}.SharingKey()
	}
	a, errA := query(c.rule)
	b, errB := query(other.rule)
	return errA == nil && errB == nil && a == b
}

// describeMetricConflict returns a line about two candidates for a metric.
func (k metricKey) describeMetricConflict(winner, loser metricCandidate) string {
	name := "external metric " + k.metric
	if k.resource != "" {
		name = "metric " + k.metric + " of " + k.resource
	}
	if winner.owner == loser.owner {
		return fmt.Sprintf("%s: %s gives the series %s and %s this name, and serves %s; tell them apart in name.as",
			name, winner.owner.path, winner.series, loser.series, winner.series)
	}
	reason := "the last rule wins"
	if winner.rank != loser.rank {
		reason = "the other rule has no series now"
	}
	return fmt.Sprintf("%s: %s (series %s) wins over %s (series %s): %s", name, winner.owner.path, winner.series, loser.owner.path, loser.series, reason)
}

// maxConflictNotes bounds the notes about metrics with several rules.
const maxConflictNotes = 20

func (b *catalogSnapshotBuilder) finishCatalogSnapshot() {
	slices.Sort(b.conflicts)
	if n := len(b.conflicts) - maxConflictNotes; n > 0 {
		b.conflicts = append(b.conflicts[:maxConflictNotes], fmt.Sprintf("%d more metrics have several rules", n))
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
