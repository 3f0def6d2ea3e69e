// The state of a rule: the metrics found for it, and its failures.

package promadapter

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// catalogRule is a rule with the metrics found for it.
type catalogRule struct {
	*SeriesRule
	// entries has all metrics ever found for the rule. An idle series keeps its metric.
	entries map[association]*metricEntry
	// listed is true after the first successful listing.
	listed bool
	// mustConfirm is true if a fixed rule needs a listing after all, because another rule serves the same metric.
	mustConfirm bool
	// labelsUnknown is true if a rule with a single series name found no series and so no labels.
	labelsUnknown bool
	// unlabelled has the names of series without any label for objects, if the last listing found no others.
	unlabelled []string
	// rejectedNames are the names of series that the last listing left out, because they are no classic metric names.
	rejectedNames map[string]struct{}
	// truncated is true if the rule has more than maxRuleMetrics metrics.
	truncated bool
	// err is the error of the last listing, failures the number of failed listings in a row.
	err      error
	failures int
	retryAt  time.Time
}

// association connects the name of series with the label for their objects of a resource. An external rule leaves the label,
// the namespace label and the resource empty.
type association struct {
	series, label, namespaceLabel string
	resource                      Resource
}

// metricEntry is a metric of a rule.
type metricEntry struct {
	association
	rule *rule.Rule
	rank entryRank
}

// entryRank is the certainty that an entry has series. Of two entries for a metric the higher rank is served, and of equal ranks
// the later rule of the file.
type entryRank int

const (
	rankAbsent  entryRank = iota // listed, and no series was ever found
	rankIdle                     // found by an earlier listing
	rankAssumed                  // not listed, because the rule names its series
	rankLive                     // found by the last listing
)

// listingResult is the result of a listing for a rule.
type listingResult struct {
	associations  []association
	rank          entryRank // of all associations
	labelsUnknown bool
	unlabelled    []string // found, but none names an object
	rejectedNames map[string]struct{}
	err           error
}

func newCatalogRule(r *SeriesRule) *catalogRule {
	return &catalogRule{SeriesRule: r, entries: map[association]*metricEntry{}}
}

// formatRuleLogName returns the name of the rule in logs and errors.
func (r *SeriesRule) formatRuleLogName() string {
	return r.path + " " + cmp.Or(r.Name.Matches, r.compiled.selector.onlyName, r.SeriesQuery)
}

// isFixedSeriesRule reports whether the metric of the rule is known without a listing.
func (r *catalogRule) isFixedSeriesRule() bool {
	return r.compiled.selector.onlyName != "" && !r.mustConfirm && (r.external || r.assertsObjectLabels() && !r.hasRivalOverrides())
}

// assertsObjectLabels reports whether the seriesQuery requires every label that names objects.
func (r *SeriesRule) assertsObjectLabels() bool {
	return r.compiled.labelTemplate == nil && !slices.ContainsFunc(r.Resources.Overrides, func(o LabelOverride) bool {
		return !r.compiled.selector.assertsSeriesLabel(o.Label)
	})
}

// hasRivalOverrides reports whether two overrides name the same resource, so that the values of the labels decide.
func (r *SeriesRule) hasRivalOverrides() bool {
	seen := map[string]bool{}
	for _, o := range r.Resources.Overrides {
		name := strings.TrimSuffix(o.Resource, "s") + "." + o.Group
		if seen[name] {
			return true
		}
		seen[name] = true
	}
	return false
}

// applySeriesListing merges the result of a listing into the entries; make makes the rule of a new entry.
func (r *catalogRule) applySeriesListing(d listingResult, make func(*catalogRule, association) *rule.Rule) {
	r.listed, r.labelsUnknown, r.unlabelled, r.truncated = true, d.labelsUnknown, d.unlabelled, false
	r.rejectedNames = d.rejectedNames
	for _, e := range r.entries {
		e.rank = min(e.rank, rankIdle)
	}
	for _, a := range d.associations {
		e := r.entries[a]
		if e == nil {
			if len(r.entries) >= maxRuleMetrics {
				r.truncated = true
				continue
			}
			e = &metricEntry{association: a, rule: make(r, a)}
			if e.rule.Metric == "" {
				continue // name.as expanded to empty text
			}
			r.entries[a] = e
		}
		e.rank = max(e.rank, d.rank)
	}
}

// findRuleServingError returns the reason why the rule fails, or nil.
func (r *catalogRule) findRuleServingError() error {
	if r.err != nil {
		return r.err
	}
	if faults := r.compiled.report.Faults; len(faults) > 0 {
		return faults[:1]
	}
	return nil
}

// describeSeriesRuleFailures returns a line for people if the last listing failed or none is done yet.
func (r *catalogRule) describeSeriesRuleFailures() []string {
	switch {
	case r.err != nil && r.listed:
		return []string{fmt.Sprintf("%s: %v; serving the metrics found before", r.formatRuleLogName(), r.err)}
	case r.err != nil:
		return []string{fmt.Sprintf("%s: %v", r.formatRuleLogName(), r.err)}
	case !r.listed:
		return []string{fmt.Sprintf("%s: %v", r.formatRuleLogName(), errNotListed)}
	}
	return nil
}

// describeRuleOddities returns lines for people about a rule that looks wrong.
func (r *catalogRule) describeRuleOddities() []string {
	var notes []string
	add := func(format string, args ...any) {
		notes = append(notes, r.formatRuleLogName()+": "+fmt.Sprintf(format, args...))
	}
	for _, f := range slices.Concat(r.compiled.report.Faults, r.compiled.report.Warnings) {
		add("%s: %s", strings.TrimPrefix(strings.TrimPrefix(f.Path, r.path), "."), f.Message)
	}
	if r.labelsUnknown {
		add("no series %s seen yet, so its labels are unknown", r.compiled.selector.onlyName)
	}
	if reason := r.describeUnlabelledRule(); reason != "" {
		add("%s", reason)
	}
	if n := len(r.rejectedNames); n > 0 {
		add("leaves out %d series whose names are no metric names, such as %q: a template would make a name of other characters part of the query",
			n, strict.Shorten(slices.Min(slices.Collect(maps.Keys(r.rejectedNames)))))
	}
	if r.truncated {
		add("has more than %d metrics; the rest is skipped", maxRuleMetrics)
	}
	return notes
}

// describeUnlabelledRule returns a line about a rule that finds series but no objects; empty for any other rule.
func (r *catalogRule) describeUnlabelledRule() string {
	if len(r.unlabelled) == 0 {
		return ""
	}
	var labels []string
	for _, o := range r.Resources.Overrides {
		labels = append(labels, o.Label)
	}
	if r.compiled.labelTemplate != nil {
		labels = append(labels, "of resources.template that names a resource of the cluster")
	}
	series := r.unlabelled[0]
	if more := len(r.unlabelled) - 1; more > 0 {
		series += fmt.Sprintf(" and %d more", more)
	}
	return fmt.Sprintf("serves no metric: its series (%s) have no label %s", series, strings.Join(labels, ", or "))
}

// listSortedConfigEntries returns the entries sorted by series, resource and label.
func (r *catalogRule) listSortedConfigEntries() []*metricEntry {
	all := make([]*metricEntry, 0, len(r.entries))
	for _, e := range r.entries {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b *metricEntry) int {
		return cmp.Or(cmp.Compare(a.series, b.series), cmp.Compare(a.resource.Name, b.resource.Name), cmp.Compare(a.label, b.label))
	})
	return all
}
