// This file interns sets of metric families.

package discovery

import (
	"slices"
	"strings"
)

// familySet identifies a set of metric families; noFamilies is the empty set.
type familySet int

const noFamilies familySet = 0

// maxFamilySets is the number of sets after which the loop rebuilds them: families without demand must not pile up.
// Real clusters have tens of sets.
const maxFamilySets = 10_000

// familySets assigns every distinct set of families a number and a shared slice, and remembers unions. Thousands of
// pods share a few sets, so that merging the families of all demands on a pod costs no allocation. It is not safe for
// concurrent use.
type familySets struct {
	lists  [][]string
	ids    map[string]familySet
	unions map[[2]familySet]familySet
}

func newDiscoveryDemandFamilySets() *familySets {
	return &familySets{lists: [][]string{nil}, ids: map[string]familySet{"": noFamilies}, unions: map[[2]familySet]familySet{}}
}

// internDiscoveryDemandFamilies returns the set of the families, which may come in any order.
func (s *familySets) internDiscoveryDemandFamilies(families []string) familySet {
	sorted := slices.Compact(slices.Sorted(slices.Values(families)))
	text := strings.Join(sorted, "\x00")
	if id, ok := s.ids[text]; ok {
		return id
	}
	id := familySet(len(s.lists))
	s.lists, s.ids[text] = append(s.lists, sorted), id
	return id
}

// unionDiscoveryDemandFamilies returns the union of two sets.
func (s *familySets) unionDiscoveryDemandFamilies(a, b familySet) familySet {
	switch {
	case a == b, b == noFamilies:
		return a
	case a == noFamilies:
		return b
	}
	key := [2]familySet{min(a, b), max(a, b)}
	id, ok := s.unions[key]
	if !ok {
		id = s.internDiscoveryDemandFamilies(slices.Concat(s.lists[a], s.lists[b]))
		s.unions[key] = id
	}
	return id
}

// listDiscoveryDemandFamilies returns the families of a set, sorted. The slice is shared and must not be changed.
func (s *familySets) listDiscoveryDemandFamilies(id familySet) []string { return s.lists[id] }

// hasTooManyDiscoveryFamilySets reports whether the sets must be rebuilt.
func (s *familySets) hasTooManyDiscoveryFamilySets() bool { return len(s.lists) > maxFamilySets }
