package promadapter

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/model"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// seriesListing finds the series of rules at one time. Equal questions of several rules are asked once.
type seriesListing struct {
	series    SeriesLister
	resources ResourceLookup
	now       time.Time
	lookback  time.Duration

	mu        sync.Mutex // guards asked
	listCalls map[string]func() ([]string, error)
}

func newSeriesListing(c *Catalog, now time.Time) *seriesListing {
	return &seriesListing{
		series: c.series, resources: &cachedLookup{resources: c.resources}, now: now,
		lookback: c.opts.Lookback, listCalls: map[string]func() ([]string, error){},
	}
}

// listOnce answers a question, which key names, once for all who ask. The slice is shared.
func (l *seriesListing) listOnce(key string, ask func() ([]string, error)) ([]string, error) {
	l.mu.Lock()
	f := l.listCalls[key]
	if f == nil {
		f = sync.OnceValues(ask)
		l.listCalls[key] = f
	}
	l.mu.Unlock()
	return f()
}

// listSeriesNames are the names of the series that match selects.
func (l *seriesListing) listSeriesNames(ctx context.Context, match string) ([]string, error) {
	return l.listOnce("names of "+match, func() ([]string, error) {
		return l.collectValues(ctx, match, func(ctx context.Context, s SeriesSelection, each func(string) error) error {
			return l.series.LabelValues(ctx, model.MetricNameLabel, s, each)
		})
	})
}

// listSeriesLabels are the names of the labels of the series that match selects.
func (l *seriesListing) listSeriesLabels(ctx context.Context, match string) ([]string, error) {
	return l.listOnce("labels of "+match, func() ([]string, error) { return l.collectValues(ctx, match, l.series.LabelNames) })
}

func (l *seriesListing) collectValues(ctx context.Context, match string,
	ask func(context.Context, SeriesSelection, func(string) error) error,
) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, listingTimeout)
	defer cancel()
	var all []string
	s := SeriesSelection{Match: []string{match}, Start: l.now.Add(-l.lookback), End: l.now, Limit: maxListedNames}
	err := ask(ctx, s, func(v string) error {
		if len(all) >= maxListedNames {
			return fmt.Errorf("there are more than %d", maxListedNames)
		}
		all = append(all, v)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list series %s: %w", strict.Shorten(match), err)
	}
	return all, nil
}

// findAssociations finds what one rule serves.
func (l *seriesListing) findAssociations(ctx context.Context, r *ruleState) listingResult {
	m, err := resolveResourceMapping(r.Resources, r.compiled.labelTemplate, l.resources)
	if err != nil {
		return listingResult{err: err}
	}
	f := associationFinder{seriesListing: l, r: r, mapping: m, labelsByName: map[string][]string{}}
	if f.namespaceLabel, err = m.findResourceLabel(namespacesResource, r.compiled.selector.assertsLabel); err != nil {
		return listingResult{err: err}
	}
	if r.external {
		err = f.findExternal(ctx)
	} else {
		err = f.findCustom(ctx)
	}
	if err != nil {
		return listingResult{err: err}
	}
	return f.listingResult
}

// associationFinder finds the associations of one rule.
type associationFinder struct {
	*seriesListing
	listingResult
	r              *ruleState
	mapping        resolvedMapping
	namespaceLabel string
	labelsByName   map[string][]string // of a series' name, those that name objects
	orderedNames   []string            // of names
}

func (f *associationFinder) findExternal(ctx context.Context) error {
	names := []string{f.r.compiled.selector.onlyName}
	f.rank = rankAssumed
	if !f.r.isFixed() {
		var err error
		if names, err = f.listSeriesNames(ctx, f.r.SeriesQuery); err != nil {
			return err
		}
		f.rank = rankLive
	}
	names = f.withOwnName(names)
	for _, name := range f.filterServedNames(names) {
		f.associations = append(f.associations, association{series: name, namespaceLabel: f.namespaceLabel})
	}
	return nil
}

// withOwnName is names, or the name of a rule that names its series, though there are none.
func (f *associationFinder) withOwnName(names []string) []string {
	if own := f.r.compiled.selector.onlyName; own != "" && len(names) == 0 {
		f.rank = rankAbsent
		return []string{own}
	}
	return names
}

func (f *associationFinder) filterServedNames(names []string) []string {
	var out []string
	for _, name := range names {
		if f.r.compiled.servesSeries(name) {
			out = append(out, name)
		}
	}
	return out
}

func (f *associationFinder) findCustom(ctx context.Context) error {
	var err error
	switch {
	case f.r.isFixed():
		f.rank = rankAssumed
		f.addNameLabels([]string{f.r.compiled.selector.onlyName}, f.assertedLabels()...)
	case f.r.compiled.selector.onlyName != "":
		err = f.findSingleName(ctx)
	default:
		err = f.findManyNames(ctx)
	}
	if err != nil {
		return err
	}
	return f.associateNames()
}

// addNameLabels notes that the series have the labels.
func (f *associationFinder) addNameLabels(names []string, labels ...string) {
	for _, name := range f.filterServedNames(names) {
		if f.labelsByName[name] == nil {
			f.orderedNames = append(f.orderedNames, name)
		}
		f.labelsByName[name] = append(f.labelsByName[name], labels...)
	}
}

// assertedLabels are the labels that name objects, as far as the seriesQuery says that every series has them.
func (f *associationFinder) assertedLabels() []string {
	var labels []string
	for _, m := range f.r.compiled.selector.matchers {
		if !m.Matches("") && m.Name != model.MetricNameLabel && !slices.Contains(labels, m.Name) {
			labels = append(labels, m.Name)
		}
	}
	return labels
}

// findSingleName asks for the labels of the only name: one listing, whatever the number of labels.
func (f *associationFinder) findSingleName(ctx context.Context) error {
	labels, err := f.listSeriesLabels(ctx, f.r.SeriesQuery)
	if err != nil {
		return err
	}
	f.rank = rankLive
	if len(labels) == 0 {
		// What it asserts holds for the series to come as well.
		f.rank, f.labelsUnknown, labels = rankAbsent, !f.r.assertsObjectLabels(), f.assertedLabels()
	}
	f.addNameLabels([]string{f.r.compiled.selector.onlyName}, labels...)
	return nil
}

// findManyNames asks, for each label that names objects, which names have it: as many listings as there are such labels,
// which are few, whatever the number of names and series.
func (f *associationFinder) findManyNames(ctx context.Context) error {
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
		names, err := f.listSeriesNames(ctx, f.r.compiled.selector.formatWithLabel(label))
		if err != nil {
			return err
		}
		f.addNameLabels(names, label)
	}
	return nil
}

// listCandidateLabels are the labels that may name objects.
func (f *associationFinder) listCandidateLabels(ctx context.Context) ([]string, error) {
	labels := f.assertedLabels()
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

// associateNames turns names and their labels into associations, one for each name and resource. What follows from the labels
// is worked out once for each set of labels, of which there are few.
func (f *associationFinder) associateNames() error {
	sets := map[string][]association{}
	for _, name := range f.orderedNames {
		labels := f.labelsByName[name]
		set := strings.Join(labels, "\x00")
		of, known := sets[set]
		if !known {
			var err error
			if of, err = f.associateLabels(labels); err != nil {
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

// associateLabels are the associations, one for each resource, of a series with the labels.
func (f *associationFinder) associateLabels(labels []string) ([]association, error) {
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
		own, err := f.mapping.findResourceLabel(r.Name, func(l string) bool { return slices.Contains(labels, l) })
		if err != nil {
			return nil, err
		}
		if !slices.Contains(labels, own) {
			own = label // what the template would make is not what the series have
		}
		out = append(out, association{label: own, namespaceLabel: f.namespaceLabel, resource: r})
	}
	return out, nil
}

// cachedLookup asks once for each name, found or not, within one listing.
type cachedLookup struct {
	resources ResourceLookup
	mu        sync.Mutex // guards known
	lookups   map[string]func() (Resource, error)
}

// Resource implements Resources.
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
