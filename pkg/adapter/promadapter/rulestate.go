package promadapter

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// ruleState is a rule, and what is known of its series.
type ruleState struct {
	*Rule
	// entries are the metrics that the rule ever had; they stay, so that an idle series does not take its metric away.
	entries map[association]*metricEntry
	// listed tells that the rule's series were listed once.
	listed bool
	// mustConfirm tells that the rule has to ask whether there are series of its name.
	mustConfirm bool
	// labelsUnknown tells that a rule with a name of its own has no series to learn its labels from.
	labelsUnknown bool
	// truncated tells that there are more metrics than are kept.
	truncated bool
	// err is the error of the last listing, failures the number of failed listings in a row.
	err      error
	failures int
	retryAt  time.Time
}

// association is a series' name, and a label by which its series belong to objects of a resource. The label, the
// namespace's label and the resource are empty where external.
type association struct {
	series, label, namespaceLabel string
	resource                      Resource
}

// metricEntry is one metric of a rule.
type metricEntry struct {
	association
	rule *rule.Rule
	rank entryRank
}

// entryRank says how sure it is that there are series behind an entry. Of two for one metric that with the higher rank is
// served, and of equals the later in the file.
type entryRank int

const (
	rankAbsent  entryRank = iota // asked, and none were ever seen
	rankIdle                     // seen earlier
	rankAssumed                  // not asked, because the rule names its series
	rankLive                     // seen in the last listing
)

// listingResult is what a listing found for a rule.
type listingResult struct {
	associations  []association
	rank          entryRank // of all associations
	labelsUnknown bool
	err           error
}

func newRuleState(r *Rule) *ruleState {
	return &ruleState{Rule: r, entries: map[association]*metricEntry{}}
}

// logName is how logs and errors call the rule.
func (r *Rule) logName() string {
	return r.path + " " + cmp.Or(r.Name.Matches, r.compiled.selector.onlyName, r.SeriesQuery)
}

// isFixed tells whether the rule's metric is known without asking.
func (r *ruleState) isFixed() bool {
	return r.compiled.selector.onlyName != "" && !r.mustConfirm && (r.external || r.assertsObjectLabels())
}

// assertsObjectLabels tells whether the seriesQuery itself says which labels that name objects the series have.
func (r *Rule) assertsObjectLabels() bool {
	return r.compiled.labelTemplate == nil && !slices.ContainsFunc(r.Resources.Overrides, func(o LabelOverride) bool {
		return !r.compiled.selector.assertsLabel(o.Label)
	})
}

// applyListing takes over what was found.
func (r *ruleState) applyListing(d listingResult, make func(*ruleState, association) *rule.Rule) {
	r.listed, r.labelsUnknown, r.truncated = true, d.labelsUnknown, false
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
				continue // name.as made nothing of it
			}
			r.entries[a] = e
		}
		e.rank = max(e.rank, d.rank)
	}
}

// servingError is why the rule is not served as it should be.
func (r *ruleState) servingError() error {
	if r.err != nil {
		return r.err
	}
	return r.compiled.queryErr
}

// describeFailures say why the rule is not served as it should be, or not yet.
func (r *ruleState) describeFailures() []string {
	switch {
	case r.err != nil && r.listed:
		return []string{fmt.Sprintf("%s: %v; what was known before is served", r.logName(), r.err)}
	case r.err != nil:
		return []string{fmt.Sprintf("%s: %v", r.logName(), r.err)}
	case !r.listed:
		return []string{fmt.Sprintf("%s: %v", r.logName(), errNotListed)}
	}
	return nil
}

// describeOddities are lines for people about what does not look as it was meant.
func (r *ruleState) describeOddities() []string {
	var notes []string
	add := func(format string, args ...any) { notes = append(notes, r.logName()+": "+fmt.Sprintf(format, args...)) }
	if r.compiled.queryErr != nil {
		add("%v", r.compiled.queryErr)
	}
	for _, h := range r.compiled.warnings {
		add("%s", h)
	}
	if r.labelsUnknown {
		add("no series %s has been seen to tell its labels from", r.compiled.selector.onlyName)
	}
	if r.truncated {
		add("has more than %d metrics; the others are left out", maxRuleMetrics)
	}
	return notes
}

// sortedEntries are the entries in the order of their series' names, and of labels.
func (r *ruleState) sortedEntries() []*metricEntry {
	all := make([]*metricEntry, 0, len(r.entries))
	for _, e := range r.entries {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b *metricEntry) int {
		return cmp.Or(cmp.Compare(a.series, b.series), cmp.Compare(a.resource.Name, b.resource.Name), cmp.Compare(a.label, b.label))
	})
	return all
}
