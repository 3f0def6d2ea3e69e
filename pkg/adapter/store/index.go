package store

import (
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// The labels that the index is built on: every other one is compared series by series.
const (
	nameLabel      = model.MetricNameLabel
	namespaceLabel = "namespace"
	podLabel       = "pod"
)

// seriesIndex finds series by metric name, then namespace, then pod. A label that a series does not have counts as
// empty, as in a matcher. A selector that names its pods touches these pods' series only, however many there are.
type seriesIndex map[string]map[string]map[string][]*memSeries

func (ix seriesIndex) addToIndex(s *memSeries) {
	name, namespace, pod := indexKeys(s.labels)
	namespaces := ix[name]
	if namespaces == nil {
		namespaces = map[string]map[string][]*memSeries{}
		ix[strings.Clone(name)] = namespaces // a clone does not keep the first series' labels alive
	}
	pods := namespaces[namespace]
	if pods == nil {
		pods = map[string][]*memSeries{}
		namespaces[strings.Clone(namespace)] = pods
	}
	if of := pods[pod]; of != nil {
		pods[pod] = append(of, s)
		return
	}
	pods[strings.Clone(pod)] = []*memSeries{s}
}

// removeFromIndex takes s out, and every level that it leaves empty.
func (ix seriesIndex) removeFromIndex(s *memSeries) {
	name, namespace, pod := indexKeys(s.labels)
	pods := ix[name][namespace]
	of := pods[pod]
	for i, o := range of {
		if o == s {
			last := len(of) - 1
			of[i], of[last] = of[last], nil
			pods[pod] = of[:last]
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

func indexKeys(l labels.Labels) (name, namespace, pod string) {
	return l.Get(nameLabel), l.Get(namespaceLabel), l.Get(podLabel)
}

// forEachMatch calls visit for every series that all matchers match, in no particular order.
func (ix seriesIndex) forEachMatch(f indexFilters, visit func(*memSeries)) {
	walkLevel(ix, f.name, func(namespaces map[string]map[string][]*memSeries) {
		walkLevel(namespaces, f.namespace, func(pods map[string][]*memSeries) {
			walkLevel(pods, f.pod, func(of []*memSeries) {
				for _, s := range of {
					if f.rest.matchesLabels(s.labels) {
						visit(s)
					}
				}
			})
		})
	})
}

// walkLevel calls visit for the entries of one level whose key all matchers match. Where a matcher can only match
// certain keys, these are looked up instead of walking the level.
func walkLevel[V any](level map[string]V, matchers levelFilter, visit func(V)) {
	fixed, known := matchers.fixedValues()
	if !known || len(fixed) > len(level) {
		for key, v := range level {
			if matchers.matchesValue(key) {
				visit(v)
			}
		}
		return
	}
	for _, key := range fixed {
		if v, ok := level[key]; ok && matchers.matchesFixed(key) {
			visit(v)
		}
	}
}

// levelFilter is a set of matchers that must all match, and of values of which there must be one.
type levelFilter struct {
	matchers []*labels.Matcher
	valueSet labelValueSet
}

// labelValueSet is a label that has one of the values, which ascend; of no label where there are none to choose from. It is what a
// matcher with an alternation of quoted names says, without a regular expression: making one of 20 names takes longer
// than finding their series.
type labelValueSet struct {
	label  string
	values []string
}

func (a labelValueSet) containsValue(v string) bool {
	_, found := slices.BinarySearch(a.values, v)
	return found
}

// indexFilters are the matchers by the level of the index that they bear on.
type indexFilters struct{ name, namespace, pod, rest levelFilter }

func (f *indexFilters) filterFor(label string) *levelFilter {
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

// splitMatchers sorts matchers by the level of the index that they bear on.
func splitMatchers(matchers []*labels.Matcher) (f indexFilters) {
	for _, m := range matchers {
		level := f.filterFor(m.Name)
		level.matchers = append(level.matchers, m)
	}
	return f
}

// fixedValues returns the only values that can match, sorted, and whether they are known.
func (f levelFilter) fixedValues() (values []string, known bool) {
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

func (f levelFilter) matchesValue(v string) bool {
	return f.matchesFixed(v) && (f.valueSet.label == "" || f.valueSet.containsValue(v))
}

// matchesFixed is matchValue for a value that fixed returned.
func (f levelFilter) matchesFixed(v string) bool {
	for _, m := range f.matchers {
		if !m.Matches(v) {
			return false
		}
	}
	return true
}

func (f levelFilter) matchesLabels(l labels.Labels) bool {
	for _, m := range f.matchers {
		if !m.Matches(l.Get(m.Name)) {
			return false
		}
	}
	return f.valueSet.label == "" || f.valueSet.containsValue(l.Get(f.valueSet.label))
}
