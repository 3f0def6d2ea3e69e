// This file has the index of pods by namespace, node and label.

package discovery

import (
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// podScope describes a set of pods. An empty field does not narrow it.
type podScope struct {
	namespace, node, name string
	// selector narrows by labels; nil selects all.
	selector labels.Selector
}

// indexedPods is a set of pods under one value of an index.
type indexedPods map[*storedPod]struct{}

// anyIndexedPod returns any pod of the set; nil if it is empty.
func (s indexedPods) anyIndexedPod() *storedPod {
	for p := range s {
		return p
	}
	return nil
}

// labelPair is a label of the pods in a namespace.
type labelPair struct{ namespace, key, value string }

// podIndex holds pods, with indexes by namespace, node and label, so that finding a group of pods needs no walk through
// its namespace. It is not safe for concurrent use.
type podIndex struct {
	pods        map[metric.Object]*storedPod
	byNamespace map[string]indexedPods
	byNode      map[string]indexedPods
	byLabel     map[labelPair]indexedPods
}

func newPodIndex() podIndex {
	return podIndex{
		pods:        map[metric.Object]*storedPod{},
		byNamespace: map[string]indexedPods{},
		byNode:      map[string]indexedPods{},
		byLabel:     map[labelPair]indexedPods{},
	}
}

// insertIndexedPod adds a pod; its key must be free.
func (t *podIndex) insertIndexedPod(p *storedPod) {
	t.pods[p.storedPodKey()] = p
	addToIndexedPodSet(t.byNamespace, p.Namespace, p)
	addToIndexedPodSet(t.byNode, p.Node, p)
	for key, value := range p.labels {
		addToIndexedPodSet(t.byLabel, labelPair{p.Namespace, key, value}, p)
	}
}

// removeIndexedPod removes and returns the pod with the key; nil if there is none.
func (t *podIndex) removeIndexedPod(key metric.Object) *storedPod {
	p := t.pods[key]
	if p == nil {
		return nil
	}
	delete(t.pods, key)
	removeFromIndexedPodSet(t.byNamespace, p.Namespace, p)
	removeFromIndexedPodSet(t.byNode, p.Node, p)
	for key, value := range p.labels {
		removeFromIndexedPodSet(t.byLabel, labelPair{p.Namespace, key, value}, p)
	}
	return p
}

// internPodStrings replaces the strings and labels of a new pod by equal strings and labels of stored pods: pods of one
// group differ in little but their names. It saves 400 of 1,250 bytes a pod in BenchmarkTableMemory. It returns false if it
// found no pod with the same labels.
func (t *podIndex) internPodStrings(p *storedPod) (sameLabels bool) {
	if q := t.byNamespace[p.Namespace].anyIndexedPod(); q != nil {
		p.Namespace = q.Namespace
	}
	if q := t.byNode[p.Node].anyIndexedPod(); q != nil {
		p.Node = q.Node
	}
	for key, value := range p.labels { // check one pod for each label: some label tells groups apart
		if q := t.byLabel[labelPair{p.Namespace, key, value}].anyIndexedPod(); q != nil && maps.Equal(p.labels, q.labels) {
			p.labels = q.labels
			return true
		}
	}
	return false
}

func addToIndexedPodSet[K comparable](index map[K]indexedPods, key K, p *storedPod) {
	set := index[key]
	if set == nil {
		set = indexedPods{}
		index[key] = set
	}
	set[p] = struct{}{}
}

// removeFromIndexedPodSet removes a pod from its set, and an empty set too: pods come and go under ever new label values.
func removeFromIndexedPodSet[K comparable](index map[K]indexedPods, key K, p *storedPod) {
	set := index[key]
	if delete(set, p); len(set) == 0 {
		delete(index, key)
	}
}

// visitIndexedPods calls f for every pod of the scope, unsorted.
func (t *podIndex) visitIndexedPods(s podScope, f func(*storedPod)) {
	if s.name != "" {
		if p := t.pods[metric.Object{Namespace: s.namespace, Name: s.name}]; p != nil && s.matchesScopedPod(p) {
			f(p)
		}
		return
	}
	if s.namespace == "" && s.node == "" {
		for _, p := range t.pods {
			if s.matchesScopedPod(p) && !p.ofRule { // it is a pod of the cluster already, or none
				f(p)
			}
		}
		return
	}
	for _, set := range t.chooseIndexedPods(s) {
		for p := range set {
			if s.matchesScopedPod(p) {
				f(p)
			}
		}
	}
}

func (s podScope) matchesScopedPod(p *storedPod) bool {
	return (s.namespace == "" || s.namespace == p.Namespace) && (s.node == "" || s.node == p.Node) &&
		(s.selector == nil || s.selector.Matches(labels.Set(p.labels)))
}

// chooseIndexedPods returns the sets of the most selective index: together they hold every pod of the scope, once.
func (t *podIndex) chooseIndexedPods(s podScope) []indexedPods {
	best, size := []indexedPods{t.byNamespace[s.namespace]}, len(t.byNamespace[s.namespace])
	if s.namespace == "" {
		best, size = []indexedPods{t.byNode[s.node]}, len(t.byNode[s.node])
	}
	if s.namespace == "" || s.selector == nil {
		return best
	}
	requirements, selectable := s.selector.Requirements()
	if !selectable {
		return nil
	}
	for i := range requirements {
		if sets, n, ok := t.lookupPodRequirement(s.namespace, &requirements[i]); ok && n < size {
			best, size = sets, n
		}
	}
	return best
}

// lookupPodRequirement returns the sets of pods that meet an equality requirement, and false for any other operator. A
// pod has one value for a key, so that the sets share no pod.
func (t *podIndex) lookupPodRequirement(namespace string, r *labels.Requirement) (sets []indexedPods, size int, ok bool) {
	switch r.Operator() {
	case selection.Equals, selection.DoubleEquals, selection.In:
	default:
		return nil, 0, false
	}
	values := r.ValuesUnsorted()
	slices.Sort(values) // a client may name a value twice
	for _, value := range slices.Compact(values) {
		if set := t.byLabel[labelPair{namespace, r.Key(), value}]; set != nil {
			sets, size = append(sets, set), size+len(set)
		}
	}
	return sets, size, true
}
