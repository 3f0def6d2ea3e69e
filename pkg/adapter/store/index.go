package store

// The index of the series, and the matchers that search it.

import (
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// The labels of the index. Matchers of other labels are compared with each series.
const (
	nameLabel      = model.MetricNameLabel
	namespaceLabel = "namespace"
	podLabel       = "pod"
)

// seriesIndex finds series by metric name, then namespace, then pod. A missing label counts as empty, as in a matcher. A
// selector with the names of its pods reads only the series of these pods, however many other pods the store has.
type seriesIndex map[string]map[string]map[string][]*storedSeries

func (ix seriesIndex) addIndexedSeries(s *storedSeries) {
	name, namespace, pod := seriesIndexKeys(s.labels)
	namespaces := ix[name]
	if namespaces == nil {
		namespaces = map[string]map[string][]*storedSeries{}
		ix[strings.Clone(name)] = namespaces // a clone does not keep the first series' labels alive
	}
	pods := namespaces[namespace]
	if pods == nil {
		pods = map[string][]*storedSeries{}
		namespaces[strings.Clone(namespace)] = pods
	}
	if found := pods[pod]; found != nil {
		pods[pod] = append(found, s)
		return
	}
	pods[strings.Clone(pod)] = []*storedSeries{s}
}

// removeIndexedSeries removes s, and every level that is then empty.
func (ix seriesIndex) removeIndexedSeries(s *storedSeries) {
	name, namespace, pod := seriesIndexKeys(s.labels)
	pods := ix[name][namespace]
	found := pods[pod]
	for i, o := range found {
		if o == s {
			last := len(found) - 1
			found[i], found[last] = found[last], nil
			pods[pod] = found[:last]
			break
		}
	}
	if len(pods[pod]) == 0 {
		delete(pods, pod)
	}
	if len(pods) == 0 {
		delete(ix[name], namespace)
	}
	if len(ix[name]) == 0 {
		delete(ix, name)
	}
}

func seriesIndexKeys(l labels.Labels) (name, namespace, pod string) {
	return l.Get(nameLabel), l.Get(namespaceLabel), l.Get(podLabel)
}

// forEachIndexMatch calls visit for every series that all matchers match, in no particular order.
func (ix seriesIndex) forEachIndexMatch(f indexFilters, visit func(*storedSeries)) {
	walkIndexLevel(ix, f.name, func(namespaces map[string]map[string][]*storedSeries) {
		walkIndexLevel(namespaces, f.namespace, func(pods map[string][]*storedSeries) {
			walkIndexLevel(pods, f.pod, func(found []*storedSeries) {
				for _, s := range found {
					if f.rest.matchesSeriesLabels(s.labels) {
						visit(s)
					}
				}
			})
		})
	})
}

// walkIndexLevel calls visit for each entry of a level with a key that all matchers match. If the possible keys are known, it
// looks them up instead of walking the level.
func walkIndexLevel[V any](level map[string]V, matchers indexLevelFilter, visit func(V)) {
	fixed, known := matchers.fixedMatcherValues()
	if !known || len(fixed) > len(level) {
		for key, v := range level {
			if matchers.matchesLabelValue(key) {
				visit(v)
			}
		}
		return
	}
	for _, key := range fixed {
		if v, ok := level[key]; ok && matchers.matchesFixedValue(key) {
			visit(v)
		}
	}
}

// indexLevelFilter is a set of matchers that must all match, and a set of allowed values of a label.
type indexLevelFilter struct {
	matchers []*labels.Matcher
	valueSet labelValueSet
}

// labelValueSet requires that label has a value from the ascending values; an empty label requires nothing. It replaces a matcher with
// an alternation of quoted names: compiling a regular expression of 20 names takes longer than finding their series.
type labelValueSet struct {
	label  string
	values []string
}

func (a labelValueSet) containsLabelValue(v string) bool {
	_, found := slices.BinarySearch(a.values, v)
	return found
}

// indexFilters are the matchers, by their level of the index.
type indexFilters struct{ name, namespace, pod, rest indexLevelFilter }

func (f *indexFilters) filterForIndexLevel(label string) *indexLevelFilter {
	switch label {
	case nameLabel:
		return &f.name
	case namespaceLabel:
		return &f.namespace
	case podLabel:
		return &f.pod
	}
	return &f.rest
}

// splitMatchersByLevel sorts matchers by their level of the index.
func splitMatchersByLevel(matchers []*labels.Matcher) (f indexFilters) {
	for _, m := range matchers {
		level := f.filterForIndexLevel(m.Name)
		level.matchers = append(level.matchers, m)
	}
	return f
}

// fixedMatcherValues returns all values that can match, sorted. It returns false if they are unknown.
func (f indexLevelFilter) fixedMatcherValues() (values []string, known bool) {
	if f.valueSet.label != "" {
		return f.valueSet.values, true
	}
	for _, m := range f.matchers {
		switch m.Type {
		case labels.MatchEqual:
			return []string{m.Value}, true
		case labels.MatchRegexp:
			// The set is a copy. It may name a value twice, as pod=~"a|a" does.
			if set := m.SetMatches(); len(set) > 0 {
				slices.Sort(set)
				return slices.Compact(set), true
			}
		}
	}
	return nil, false
}

func (f indexLevelFilter) matchesLabelValue(v string) bool {
	return f.matchesFixedValue(v) && (f.valueSet.label == "" || f.valueSet.containsLabelValue(v))
}

// matchesFixedValue reports the same as matchesLabelValue, for a value that fixedMatcherValues returned.
func (f indexLevelFilter) matchesFixedValue(v string) bool {
	for _, m := range f.matchers {
		if !m.Matches(v) {
			return false
		}
	}
	return true
}

func (f indexLevelFilter) matchesSeriesLabels(l labels.Labels) bool {
	for _, m := range f.matchers {
		if !m.Matches(l.Get(m.Name)) {
			return false
		}
	}
	return f.valueSet.label == "" || f.valueSet.containsLabelValue(l.Get(f.valueSet.label))
}
