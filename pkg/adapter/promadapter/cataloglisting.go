// Listings: the requests to the server and the cluster that find the metrics of rules.

package promadapter

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/model"

	"github.com/tachometer-metrics/tachometer/pkg/panics"
	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// catalogListing finds the series of rules at a point in time. Equal requests of several rules reach the server once.
type catalogListing struct {
	series    SeriesLister
	resources ResourceLookup
	now       time.Time
	lookback  time.Duration

	mu        sync.Mutex // guards listCalls
	listCalls map[string]func() ([]string, error)
}

func newCatalogListing(c *Catalog, now time.Time) *catalogListing {
	return &catalogListing{
		series: c.series, resources: &cachedLookup{resources: c.resources}, now: now,
		lookback: c.opts.Lookback, listCalls: map[string]func() ([]string, error){},
	}
}

// listSeriesOnce calls list once for each key and returns its result to every caller. The slice is shared.
func (l *catalogListing) listSeriesOnce(key string, list func() ([]string, error)) ([]string, error) {
	l.mu.Lock()
	f := l.listCalls[key]
	if f == nil {
		f = sync.OnceValues(list)
		l.listCalls[key] = f
	}
	l.mu.Unlock()
	return f()
}

// listSeriesNames lists the names of the series selected by match.
func (l *catalogListing) listSeriesNames(ctx context.Context, match string) ([]string, error) {
	return l.listSeriesOnce("names of "+match, func() ([]string, error) {
		return l.collectSeriesListing(ctx, match, func(ctx context.Context, s SeriesSelection, each func(string) error) error {
			return l.series.LabelValues(ctx, model.MetricNameLabel, s, each)
		})
	})
}

// listSeriesLabels lists the names of the labels of the series selected by match.
func (l *catalogListing) listSeriesLabels(ctx context.Context, match string) ([]string, error) {
	return l.listSeriesOnce("labels of "+match, func() ([]string, error) { return l.collectSeriesListing(ctx, match, l.series.LabelNames) })
}

func (l *catalogListing) collectSeriesListing(ctx context.Context, match string,
	list func(context.Context, SeriesSelection, func(string) error) error,
) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, listingTimeout)
	defer cancel()
	var all []string
	s := SeriesSelection{Match: []string{match}, Start: l.now.Add(-l.lookback), End: l.now, Limit: maxListedNames}
	err := list(ctx, s, func(v string) error {
		if len(all) >= maxListedNames {
			return fmt.Errorf("more than %d results", maxListedNames)
		}
		all = append(all, v)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list series %s: %w", strict.ShortenPlain(match), err)
	}
	return all, nil
}

// findAssociationsSafely finds the associations of a rule. A panic over the server's series is the error of this listing alone.
func (l *catalogListing) findAssociationsSafely(ctx context.Context, r *catalogRule, guard *panics.Guard) (result listingResult) {
	defer guard.Catch(ctx, &result.err, func() []any { return []any{"rule", r.path} })
	return l.findRuleAssociations(ctx, r)
}

func (l *catalogListing) findRuleAssociations(ctx context.Context, r *catalogRule) listingResult {
	if !r.compiled.selectsSeries() {
		return listingResult{} // a fault of the file, which no listing mends
	}
	m, err := resolveResourceMapping(r.Resources, r.compiled.labelTemplate, l.resources)
	if err != nil {
		return listingResult{err: err}
	}
	f := associationFinder{catalogListing: l, r: r, mapping: m, labelsByName: map[string][]string{}}
	if f.namespaceLabel, err = m.findResourceLabel(namespacesResource, r.compiled.selector.assertsSeriesLabel); err != nil {
		return listingResult{err: err}
	}
	if r.external {
		err = f.findExternalSeries(ctx)
	} else {
		err = f.findCustomSeries(ctx)
	}
	if err != nil {
		return listingResult{err: err}
	}
	return f.listingResult
}

// associationFinder finds the associations of a rule.
type associationFinder struct {
	*catalogListing
	listingResult
	r              *catalogRule
	mapping        resolvedMapping
	namespaceLabel string
	labelsByName   map[string][]string // the labels for objects, by series name
	orderedNames   []string            // the keys of labelsByName, in the order of their discovery
}

func (f *associationFinder) findExternalSeries(ctx context.Context) error {
	names := []string{f.r.compiled.selector.onlyName}
	f.rank = rankAssumed
	if !f.r.isFixedSeriesRule() {
		var err error
		if names, err = f.listSeriesNames(ctx, f.r.SeriesQuery); err != nil {
			return err
		}
		f.rank = rankLive
	}
	names = f.addSeriesQueryName(names)
	for _, name := range f.filterSeriesNames(names) {
		f.associations = append(f.associations, association{series: name, namespaceLabel: f.namespaceLabel})
	}
	return nil
}

// addSeriesQueryName returns names, or the single name that the rule selects if no series has it yet.
func (f *associationFinder) addSeriesQueryName(names []string) []string {
	if own := f.r.compiled.selector.onlyName; own != "" && len(names) == 0 {
		f.rank = rankAbsent
		return []string{own}
	}
	return names
}

func (f *associationFinder) filterSeriesNames(names []string) []string {
	var out []string
	for _, name := range names {
		switch {
		case !f.r.compiled.servesSeriesName(name):
		case !f.r.compiled.mayHoldSeriesName(name):
			f.rejectSeriesName(name)
		default:
			out = append(out, name)
		}
	}
	return out
}

// rejectSeriesName records that the rule leaves out a name.
func (f *associationFinder) rejectSeriesName(name string) {
	if f.rejectedNames == nil {
		f.rejectedNames = map[string]struct{}{}
	}
	f.rejectedNames[name] = struct{}{}
}

func (f *associationFinder) findCustomSeries(ctx context.Context) error {
	var err error
	switch {
	case f.r.isFixedSeriesRule():
		f.rank = rankAssumed
		f.addSeriesNameLabels([]string{f.r.compiled.selector.onlyName}, f.listAssertedLabels()...)
	case f.r.compiled.selector.onlyName != "":
		err = f.listSeriesLabelsOfOneName(ctx)
	default:
		err = f.listNamesByLabel(ctx)
	}
	if err != nil {
		return err
	}
	if err := f.associateSeriesNames(ctx); err != nil || len(f.associations) > 0 || f.rank != rankLive {
		return err
	}
	names, err := f.listSeriesNames(ctx, f.r.SeriesQuery)
	f.unlabelled = f.filterSeriesNames(names)
	return err
}

// addSeriesNameLabels records that the series with the names have the labels.
func (f *associationFinder) addSeriesNameLabels(names []string, labels ...string) {
	for _, name := range f.filterSeriesNames(names) {
		if f.labelsByName[name] == nil {
			f.orderedNames = append(f.orderedNames, name)
		}
		f.labelsByName[name] = append(f.labelsByName[name], labels...)
	}
}

// listAssertedLabels returns the labels that the seriesQuery requires of every series.
func (f *associationFinder) listAssertedLabels() []string {
	var labels []string
	for _, m := range f.r.compiled.selector.matchers {
		if !m.Matches("") && m.Name != model.MetricNameLabel && !slices.Contains(labels, m.Name) {
			labels = append(labels, m.Name)
		}
	}
	return labels
}

// listSeriesLabelsOfOneName lists the labels of the only name, in a single listing for any number of labels.
func (f *associationFinder) listSeriesLabelsOfOneName(ctx context.Context) error {
	labels, err := f.listSeriesLabels(ctx, f.r.SeriesQuery)
	if err != nil {
		return err
	}
	f.rank = rankLive
	if len(labels) == 0 {
		// Future series have the required labels as well.
		f.rank, f.labelsUnknown, labels = rankAbsent, !f.r.assertsObjectLabels(), f.listAssertedLabels()
	}
	f.addSeriesNameLabels([]string{f.r.compiled.selector.onlyName}, labels...)
	return nil
}

// listNamesByLabel lists the names of the series with each label for objects. The number of listings is the number of such labels,
// which are few, for any number of names and series.
func (f *associationFinder) listNamesByLabel(ctx context.Context) error {
	f.rank = rankLive
	labels, err := f.listCandidateLabels(ctx)
	if err != nil {
		return err
	}
	for _, label := range labels {
		if _, ok, err := f.mapping.lookupLabelResource(label); err != nil {
			return err
		} else if !ok {
			continue
		}
		names, err := f.listSeriesNames(ctx, f.r.compiled.selector.formatQueryWithLabel(label))
		if err != nil {
			return err
		}
		f.addSeriesNameLabels(names, label)
	}
	return nil
}

// listCandidateLabels returns the labels that may name objects.
func (f *associationFinder) listCandidateLabels(ctx context.Context) ([]string, error) {
	labels := f.listAssertedLabels()
	for _, o := range f.r.Resources.Overrides {
		labels = append(labels, o.Label)
	}
	if f.r.compiled.labelTemplate != nil {
		more, err := f.listSeriesLabels(ctx, f.r.SeriesQuery)
		if err != nil {
			return nil, err
		}
		labels = append(labels, more...)
	}
	slices.Sort(labels)
	return slices.Compact(labels), nil
}

// associateSeriesNames turns names and their labels into an association for each name and resource. It looks up each set of labels
// once, because many names share few sets.
func (f *associationFinder) associateSeriesNames(ctx context.Context) error {
	sets := map[string][]association{}
	for _, name := range f.orderedNames {
		labels := f.labelsByName[name]
		set := strings.Join(labels, "\x00")
		of, known := sets[set]
		if !known {
			var err error
			if of, err = f.associateSeriesLabels(ctx, labels); err != nil {
				return err
			}
			sets[set] = of
		}
		for _, a := range of {
			a.series = name
			f.associations = append(f.associations, a)
		}
	}
	return nil
}

// associateSeriesLabels returns an association for each resource of a series with the labels.
func (f *associationFinder) associateSeriesLabels(ctx context.Context, labels []string) ([]association, error) {
	var out []association
	seen := map[string]bool{}
	for _, label := range labels {
		r, ok, err := f.mapping.lookupLabelResource(label)
		if err != nil {
			return nil, err
		}
		if !ok || seen[r.Name] {
			continue
		}
		seen[r.Name] = true
		own, err := f.findObjectLabel(ctx, r.Name, labels)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(labels, own) {
			own = label // the series lack the label of the template
		}
		out = append(out, association{label: own, namespaceLabel: f.namespaceLabel, resource: r})
	}
	return out, nil
}

// findObjectLabel returns the label for objects of the resource, among the labels of the series.
func (f *associationFinder) findObjectLabel(ctx context.Context, resource string, labels []string) (string, error) {
	have := func(l string) bool { return slices.Contains(labels, l) }
	candidates := slices.DeleteFunc(f.mapping.listOverrideLabels(resource), func(l string) bool { return !have(l) })
	if len(candidates) > 1 && f.rank == rankLive {
		chooser := objectLabelChooser{f.series, f.now.Add(-f.lookback), f.now}
		if label, err := chooser.chooseObjectLabel(ctx, []string{f.r.SeriesQuery}, candidates); err != nil || label != "" {
			return label, err
		}
	}
	return f.mapping.findResourceLabel(resource, have)
}

// cachedLookup looks up each name once during a listing, and also keeps errors.
type cachedLookup struct {
	resources ResourceLookup
	mu        sync.Mutex // guards lookups
	lookups   map[string]func() (Resource, error)
}

// LookupResource implements Resources.
func (c *cachedLookup) LookupResource(name string) (Resource, error) {
	c.mu.Lock()
	f := c.lookups[name]
	if f == nil {
		f = sync.OnceValues(func() (Resource, error) { return c.resources.LookupResource(name) })
		if c.lookups == nil {
			c.lookups = map[string]func() (Resource, error){}
		}
		c.lookups[name] = f
	}
	c.mu.Unlock()
	return f()
}
