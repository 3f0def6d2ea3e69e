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

// listing finds the series of rules at one time. Equal questions of several rules are asked once.
type listing struct {
	series    Series
	resources Resources
	now       time.Time
	lookback  time.Duration

	mu    sync.Mutex // guards asked
	asked map[string]func() ([]string, error)
}

func newListing(c *Catalog, now time.Time) *listing {
	return &listing{
		series: c.series, resources: &cachedResources{resources: c.resources}, now: now,
		lookback: c.opts.Lookback, asked: map[string]func() ([]string, error){},
	}
}

// once answers a question, which key names, once for all who ask. The slice is shared.
func (l *listing) once(key string, ask func() ([]string, error)) ([]string, error) {
	l.mu.Lock()
	f := l.asked[key]
	if f == nil {
		f = sync.OnceValues(ask)
		l.asked[key] = f
	}
	l.mu.Unlock()
	return f()
}

// names are the names of the series that match selects.
func (l *listing) names(ctx context.Context, match string) ([]string, error) {
	return l.once("names of "+match, func() ([]string, error) {
		return l.collect(ctx, match, func(ctx context.Context, s Selection, each func(string) error) error {
			return l.series.LabelValues(ctx, model.MetricNameLabel, s, each)
		})
	})
}

// labels are the names of the labels of the series that match selects.
func (l *listing) labels(ctx context.Context, match string) ([]string, error) {
	return l.once("labels of "+match, func() ([]string, error) { return l.collect(ctx, match, l.series.LabelNames) })
}

func (l *listing) collect(ctx context.Context, match string,
	ask func(context.Context, Selection, func(string) error) error,
) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, listingTimeout)
	defer cancel()
	var all []string
	s := Selection{Match: []string{match}, Start: l.now.Add(-l.lookback), End: l.now, Limit: maxNames}
	err := ask(ctx, s, func(v string) error {
		if len(all) >= maxNames {
			return fmt.Errorf("there are more than %d", maxNames)
		}
		all = append(all, v)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list series %s: %w", strict.Shorten(match), err)
	}
	return all, nil
}

// discover finds what one rule serves.
func (l *listing) discover(ctx context.Context, r *ruleState) discovered {
	m, err := resolveMapping(r.Resources, r.compiled.labels, l.resources)
	if err != nil {
		return discovered{err: err}
	}
	f := finder{listing: l, r: r, mapping: m, labelsOf: map[string][]string{}}
	if f.namespaceLabel, err = m.labelOf(namespaces, r.compiled.selector.asserts); err != nil {
		return discovered{err: err}
	}
	if r.external {
		err = f.external(ctx)
	} else {
		err = f.custom(ctx)
	}
	if err != nil {
		return discovered{err: err}
	}
	return f.discovered
}

// finder finds the associations of one rule.
type finder struct {
	*listing
	discovered
	r              *ruleState
	mapping        mapping
	namespaceLabel string
	labelsOf       map[string][]string // of a series' name, those that name objects
	order          []string            // of names
}

func (f *finder) external(ctx context.Context) error {
	names := []string{f.r.compiled.selector.name}
	f.rank = assumed
	if !f.r.isFixed() {
		var err error
		if names, err = f.names(ctx, f.r.SeriesQuery); err != nil {
			return err
		}
		f.rank = live
	}
	names = f.expect(names)
	for _, name := range f.passing(names) {
		f.associations = append(f.associations, association{series: name, namespaceLabel: f.namespaceLabel})
	}
	return nil
}

// expect is names, or the name of a rule that names its series, though there are none.
func (f *finder) expect(names []string) []string {
	if own := f.r.compiled.selector.name; own != "" && len(names) == 0 {
		f.rank = absent
		return []string{own}
	}
	return names
}

func (f *finder) passing(names []string) []string {
	var out []string
	for _, name := range names {
		if f.r.compiled.passes(name) {
			out = append(out, name)
		}
	}
	return out
}

func (f *finder) custom(ctx context.Context) error {
	var err error
	switch {
	case f.r.isFixed():
		f.rank = assumed
		f.have([]string{f.r.compiled.selector.name}, f.asserted()...)
	case f.r.compiled.selector.name != "":
		err = f.oneName(ctx)
	default:
		err = f.manyNames(ctx)
	}
	if err != nil {
		return err
	}
	return f.associate()
}

// have notes that the series have the labels.
func (f *finder) have(names []string, labels ...string) {
	for _, name := range f.passing(names) {
		if f.labelsOf[name] == nil {
			f.order = append(f.order, name)
		}
		f.labelsOf[name] = append(f.labelsOf[name], labels...)
	}
}

// asserted are the labels that name objects, as far as the seriesQuery says that every series has them.
func (f *finder) asserted() []string {
	var labels []string
	for _, m := range f.r.compiled.selector.matchers {
		if !m.Matches("") && m.Name != model.MetricNameLabel && !slices.Contains(labels, m.Name) {
			labels = append(labels, m.Name)
		}
	}
	return labels
}

// oneName asks for the labels of the only name: one listing, whatever the number of labels.
func (f *finder) oneName(ctx context.Context) error {
	labels, err := f.labels(ctx, f.r.SeriesQuery)
	if err != nil {
		return err
	}
	f.rank = live
	if len(labels) == 0 {
		// What it asserts holds for the series to come as well.
		f.rank, f.silent, labels = absent, !f.r.assertsLabels(), f.asserted()
	}
	f.have([]string{f.r.compiled.selector.name}, labels...)
	return nil
}

// manyNames asks, for each label that names objects, which names have it: as many listings as there are such labels,
// which are few, whatever the number of names and series.
func (f *finder) manyNames(ctx context.Context) error {
	f.rank = live
	labels, err := f.candidates(ctx)
	if err != nil {
		return err
	}
	for _, label := range labels {
		if _, ok, err := f.mapping.resourceOf(label); err != nil {
			return err
		} else if !ok {
			continue
		}
		names, err := f.names(ctx, f.r.compiled.selector.with(label))
		if err != nil {
			return err
		}
		f.have(names, label)
	}
	return nil
}

// candidates are the labels that may name objects.
func (f *finder) candidates(ctx context.Context) ([]string, error) {
	labels := f.asserted()
	for _, o := range f.r.Resources.Overrides {
		labels = append(labels, o.Label)
	}
	if f.r.compiled.labels != nil {
		more, err := f.labels(ctx, f.r.SeriesQuery)
		if err != nil {
			return nil, err
		}
		labels = append(labels, more...)
	}
	slices.Sort(labels)
	return slices.Compact(labels), nil
}

// associate turns names and their labels into associations, one for each name and resource. What follows from the labels
// is worked out once for each set of labels, of which there are few.
func (f *finder) associate() error {
	sets := map[string][]association{}
	for _, name := range f.order {
		labels := f.labelsOf[name]
		set := strings.Join(labels, "\x00")
		of, known := sets[set]
		if !known {
			var err error
			if of, err = f.objects(labels); err != nil {
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

// objects are the associations, one for each resource, of a series with the labels.
func (f *finder) objects(labels []string) ([]association, error) {
	var out []association
	seen := map[string]bool{}
	for _, label := range labels {
		r, ok, err := f.mapping.resourceOf(label)
		if err != nil {
			return nil, err
		}
		if !ok || seen[r.Name] {
			continue
		}
		seen[r.Name] = true
		own, err := f.mapping.labelOf(r.Name, func(l string) bool { return slices.Contains(labels, l) })
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

// cachedResources asks once for each name, found or not, within one listing.
type cachedResources struct {
	resources Resources
	mu        sync.Mutex // guards known
	known     map[string]func() (Resource, error)
}

// Resource implements Resources.
func (c *cachedResources) Resource(name string) (Resource, error) {
	c.mu.Lock()
	f := c.known[name]
	if f == nil {
		f = sync.OnceValues(func() (Resource, error) { return c.resources.Resource(name) })
		if c.known == nil {
			c.known = map[string]func() (Resource, error){}
		}
		c.known[name] = f
	}
	c.mu.Unlock()
	return f()
}
