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

// index finds series by metric name, then namespace, then pod. A label that a series does not have counts as
// empty, as in a matcher. A selector that names its pods touches these pods' series only, however many there are.
type index map[string]map[string]map[string][]*series

func (ix index) add(s *series) {
	name, namespace, pod := keys(s.labels)
	namespaces := ix[name]
	if namespaces == nil {
		namespaces = map[string]map[string][]*series{}
		ix[strings.Clone(name)] = namespaces // a clone does not keep the first series' labels alive
	}
	pods := namespaces[namespace]
	if pods == nil {
		pods = map[string][]*series{}
		namespaces[strings.Clone(namespace)] = pods
	}
	if of := pods[pod]; of != nil {
		pods[pod] = append(of, s)
		return
	}
	pods[strings.Clone(pod)] = []*series{s}
}

// remove takes s out, and every level that it leaves empty.
func (ix index) remove(s *series) {
	name, namespace, pod := keys(s.labels)
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

func keys(l labels.Labels) (name, namespace, pod string) {
	return l.Get(nameLabel), l.Get(namespaceLabel), l.Get(podLabel)
}

// find calls visit for every series that all matchers match, in no particular order.
func (ix index) find(f filters, visit func(*series)) {
	walk(ix, f.name, func(namespaces map[string]map[string][]*series) {
		walk(namespaces, f.namespace, func(pods map[string][]*series) {
			walk(pods, f.pod, func(of []*series) {
				for _, s := range of {
					if f.rest.match(s.labels) {
						visit(s)
					}
				}
			})
		})
	})
}

// walk calls visit for the entries of one level whose key all matchers match. Where a matcher can only match
// certain keys, these are looked up instead of walking the level.
func walk[V any](level map[string]V, matchers filter, visit func(V)) {
	fixed, known := matchers.fixed()
	if !known || len(fixed) > len(level) {
		for key, v := range level {
			if matchers.matchValue(key) {
				visit(v)
			}
		}
		return
	}
	for _, key := range fixed {
		if v, ok := level[key]; ok && matchers.matchFixed(key) {
			visit(v)
		}
	}
}

// filter is a set of matchers that must all match, and of values of which there must be one.
type filter struct {
	matchers []*labels.Matcher
	among    among
}

// among is a label that has one of the values, which ascend; of no label where there are none to choose from. It is what a
// matcher with an alternation of quoted names says, without a regular expression: making one of 20 names takes longer
// than finding their series.
type among struct {
	label  string
	values []string
}

func (a among) has(v string) bool {
	_, found := slices.BinarySearch(a.values, v)
	return found
}

// filters are the matchers by the level of the index that they bear on.
type filters struct{ name, namespace, pod, rest filter }

func (f *filters) of(label string) *filter {
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

// split sorts matchers by the level of the index that they bear on.
func split(matchers []*labels.Matcher) (f filters) {
	for _, m := range matchers {
		level := f.of(m.Name)
		level.matchers = append(level.matchers, m)
	}
	return f
}

// fixed returns the only values that can match, sorted, and whether they are known.
func (f filter) fixed() (values []string, known bool) {
	if f.among.label != "" {
		return f.among.values, true
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

func (f filter) matchValue(v string) bool {
	return f.matchFixed(v) && (f.among.label == "" || f.among.has(v))
}

// matchFixed is matchValue for a value that fixed returned.
func (f filter) matchFixed(v string) bool {
	for _, m := range f.matchers {
		if !m.Matches(v) {
			return false
		}
	}
	return true
}

func (f filter) match(l labels.Labels) bool {
	for _, m := range f.matchers {
		if !m.Matches(l.Get(m.Name)) {
			return false
		}
	}
	return f.among.label == "" || f.among.has(l.Get(f.among.label))
}
