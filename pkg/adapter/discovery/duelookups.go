// This file orders the lookups that are due.

package discovery

import (
	"cmp"
	"slices"
	"time"
)

// dueLookup is a lookup that is due since a time; needed is true if an autoscaler depends on it.
type dueLookup struct {
	key    objectKey
	needed bool
	spent  int // lookups of its namespace lately; 0 for readers', which have a limit of their own
	since  time.Time
}

// newDueLookup returns the lookup of an entry. The caller holds mu.
func (s *podSelectorCache) newDueLookup(key objectKey, e *selectorEntry, now time.Time) dueLookup {
	l := dueLookup{key: key, needed: e.needed, since: e.due}
	if e.needed {
		l.spent = s.standingLimit.countSpentLookups(key.namespace, now)
	}
	return l
}

// compareDueSelectorLookups orders autoscalers' before readers', then those of namespaces with few lookups lately, then the longest due first.
func compareDueSelectorLookups(a, b dueLookup) int {
	switch {
	case a.needed == b.needed:
		return cmp.Or(cmp.Compare(a.spent, b.spent), a.since.Compare(b.since))
	case a.needed:
		return -1
	default:
		return 1
	}
}

// insertDueSelectorLookup inserts a lookup into a sorted slice, and keeps its first ones up to the limit.
func insertDueSelectorLookup(due []dueLookup, l dueLookup, limit int) []dueLookup {
	i, _ := slices.BinarySearchFunc(due, l, compareDueSelectorLookups)
	if i >= limit {
		return due
	}
	due = slices.Insert(due, i, l)
	return due[:min(len(due), limit)]
}
