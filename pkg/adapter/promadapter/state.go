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
	// known are the metrics that the rule ever had; they stay, so that an idle series does not take its metric away.
	known map[association]*entry
	// listed tells that the rule's series were listed once.
	listed bool
	// confirm tells that the rule has to ask whether there are series of its name.
	confirm bool
	// silent tells that a rule with a name of its own has no series to learn its labels from.
	silent bool
	// cut tells that there are more metrics than are kept.
	cut bool
	// err is why the last listing failed.
	err     error
	backoff time.Duration
	retry   time.Time
}

// association is a series' name, and a label by which its series belong to objects of a resource. The label, the
// namespace's label and the resource are empty where external.
type association struct {
	series, label, namespaceLabel string
	resource                      Resource
}

// entry is one metric of a rule.
type entry struct {
	association
	rule *rule.Rule
	rank rank
}

// rank says how sure it is that there are series behind an entry. Of two for one metric that with the higher rank is
// served, and of equals the later in the file.
type rank int

const (
	absent  rank = iota // asked, and none were ever seen
	idle                // seen earlier
	assumed             // not asked, because the rule names its series
	live                // seen in the last listing
)

// discovered is what a listing found for a rule.
type discovered struct {
	associations []association
	rank         rank // of all associations
	silent       bool
	err          error
}

func newRuleState(r *Rule) *ruleState {
	return &ruleState{Rule: r, known: map[association]*entry{}}
}

// name is how logs and errors call the rule.
func (r *Rule) name() string {
	return r.path + " " + cmp.Or(r.Name.Matches, r.compiled.selector.name, r.SeriesQuery)
}

// isFixed tells whether the rule's metric is known without asking.
func (r *ruleState) isFixed() bool {
	return r.compiled.selector.name != "" && !r.confirm && (r.external || r.assertsLabels())
}

// assertsLabels tells whether the seriesQuery itself says which labels that name objects the series have.
func (r *Rule) assertsLabels() bool {
	return r.compiled.labels == nil && !slices.ContainsFunc(r.Resources.Overrides, func(o Override) bool {
		return !r.compiled.selector.asserts(o.Label)
	})
}

// keep takes over what was found.
func (r *ruleState) keep(d discovered, make func(*ruleState, association) *rule.Rule) {
	r.listed, r.silent, r.cut = true, d.silent, false
	for _, e := range r.known {
		e.rank = min(e.rank, idle)
	}
	for _, a := range d.associations {
		e := r.known[a]
		if e == nil {
			if len(r.known) >= maxKnown {
				r.cut = true
				continue
			}
			e = &entry{association: a, rule: make(r, a)}
			if e.rule.Metric == "" {
				continue // name.as made nothing of it
			}
			r.known[a] = e
		}
		e.rank = max(e.rank, d.rank)
	}
}

// trouble is why the rule is not served as it should be.
func (r *ruleState) trouble() error {
	if r.err != nil {
		return r.err
	}
	return r.compiled.broken
}

// failures say why the rule is not served as it should be, or not yet.
func (r *ruleState) failures() []string {
	switch {
	case r.err != nil && r.listed:
		return []string{fmt.Sprintf("%s: %v; what was known before is served", r.name(), r.err)}
	case r.err != nil:
		return []string{fmt.Sprintf("%s: %v", r.name(), r.err)}
	case !r.listed:
		return []string{fmt.Sprintf("%s: %v", r.name(), errNotListed)}
	}
	return nil
}

// oddities are lines for people about what does not look as it was meant.
func (r *ruleState) oddities() []string {
	var notes []string
	add := func(format string, args ...any) { notes = append(notes, r.name()+": "+fmt.Sprintf(format, args...)) }
	if r.compiled.broken != nil {
		add("%v", r.compiled.broken)
	}
	for _, h := range r.compiled.hints {
		add("%s", h)
	}
	if r.silent {
		add("no series %s has been seen to tell its labels from", r.compiled.selector.name)
	}
	if r.cut {
		add("has more than %d metrics; the others are left out", maxKnown)
	}
	return notes
}

// sorted are the entries in the order of their series' names, and of labels.
func (r *ruleState) sorted() []*entry {
	all := make([]*entry, 0, len(r.known))
	for _, e := range r.known {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(a.series, b.series), cmp.Compare(a.resource.Name, b.resource.Name), cmp.Compare(a.label, b.label))
	})
	return all
}
