package discovery

import (
	"slices"
	"strings"
)

// familySet names a set of metric families; noFamilies is the empty one.
type familySet int

const noFamilies familySet = 0

// maxFamilySets is when the sets are forgotten and built anew: families that nobody demands any more must
// not pile up. Real clusters have tens of sets.
const maxFamilySets = 10_000

// familySets gives every distinct set of families one number and one shared slice, and remembers unions:
// thousands of pods share a few sets, so that collecting what each pod owes to all demands costs no
// allocation. Not safe for concurrent use.
type familySets struct {
	lists  [][]string
	ids    map[string]familySet
	unions map[[2]familySet]familySet
}

func newFamilySets() *familySets {
	return &familySets{lists: [][]string{nil}, ids: map[string]familySet{"": noFamilies}, unions: map[[2]familySet]familySet{}}
}

// internFamilies returns the set of those families, in any order.
func (s *familySets) internFamilies(families []string) familySet {
	sorted := slices.Compact(slices.Sorted(slices.Values(families)))
	text := strings.Join(sorted, "\x00")
	if id, ok := s.ids[text]; ok {
		return id
	}
	id := familySet(len(s.lists))
	s.lists, s.ids[text] = append(s.lists, sorted), id
	return id
}

// unionSets returns the set that holds the families of both.
func (s *familySets) unionSets(a, b familySet) familySet {
	switch {
	case a == b, b == noFamilies:
		return a
	case a == noFamilies:
		return b
	}
	key := [2]familySet{min(a, b), max(a, b)}
	id, ok := s.unions[key]
	if !ok {
		id = s.internFamilies(slices.Concat(s.lists[a], s.lists[b]))
		s.unions[key] = id
	}
	return id
}

// listFamilies returns the families of a set, sorted. It is shared: nobody may change it.
func (s *familySets) listFamilies(id familySet) []string { return s.lists[id] }

// isFull tells that the sets should be built anew.
func (s *familySets) isFull() bool { return len(s.lists) > maxFamilySets }
