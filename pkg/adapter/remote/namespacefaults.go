// Namespaces with faults: series of one namespace that permit no number take none from the others that share a query.

package remote

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/memorybounds"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

const (
	// maxHalvingQueries bounds the queries of a fetch that look for namespaces with faults: two for each halving of maxQueryNamespaces.
	maxHalvingQueries = 28
	// maxFaultRetries bounds the queries of a fetch for namespaces with known faults.
	maxFaultRetries = 8
	// halvingPause is the time without halving after a query in which every namespace failed.
	halvingPause = time.Minute
)

// mayConcernOneNamespace reports whether series of a single namespace may be the cause.
func (f *backendRequestFailure) mayConcernOneNamespace() bool {
	return f.outcome == outcomeBadResult || f.outcome == outcomeBadQuery || f.outcome == outcomeTooLarge
}

// fetchNamespaceScope queries the servers for the scope of a fetch. If series of a single namespace may have caused a failure, it
// halves the scope until only such namespaces have a fault. Later fetches query them singly. If no namespace has an answer, the
// failure is the query's.
func (b *Backend) fetchNamespaceScope(ctx context.Context, sq *standingQuery, f *queryFetch, now time.Time) (*queryResult, *backendRequestFailure) {
	if !isPartitionedServerResult(sq.query.Rule) || f.scope.allNamespaces {
		return b.fetchQueryResult(ctx, sq, f.scope, now)
	}
	if f.extends == nil {
		maps.DeleteFunc(sq.faults, func(n string, _ error) bool { return !f.scope.namespaces[n] })
	}
	s := b.newNamespaceSearch(sq, f, now)
	for len(s.groups) > 0 {
		if failure := s.fetchNextNamespaces(ctx); failure != nil {
			return nil, failure
		}
	}
	if s.result == nil {
		s.recordFailedNamespaces()
		return nil, s.failure
	}
	return s.mergeNamespaceFaults(), nil
}

// faultyNamespaceSearch is the search of a fetch for the namespaces with faults.
type faultyNamespaceSearch struct {
	*Backend
	sq    *standingQuery
	fetch *queryFetch
	now   time.Time

	groups   [][]string // to query, in order
	queries  int        // that are left
	mayHalve bool

	result  *queryResult           // of the groups with an answer; nil without any
	failure *backendRequestFailure // of the last group with a fault
	faults  map[string]error       // by namespace
}

func (b *Backend) newNamespaceSearch(sq *standingQuery, f *queryFetch, now time.Time) *faultyNamespaceSearch {
	s := &faultyNamespaceSearch{Backend: b, sq: sq, fetch: f, now: now, result: f.extends, groups: sq.groupScopeNamespaces(f.scope), faults: map[string]error{}}
	s.queries = len(s.groups) + maxHalvingQueries
	s.mayHalve = len(f.scope.namespaces) != sq.failedNamespaces || !now.Before(sq.nextHalving)
	return s
}

// fetchNextNamespaces queries the servers for the next group. If that fails, it halves the group, or keeps the fault of its namespaces. It returns a
// failure for which no namespace can be the cause.
func (s *faultyNamespaceSearch) fetchNextNamespaces(ctx context.Context) *backendRequestFailure {
	group := s.groups[0]
	s.groups, s.queries = s.groups[1:], s.queries-1
	result, failure := s.fetchQueryResult(ctx, s.sq, newServerNamespaceScope(group), s.now)
	if failure == nil {
		result, failure = s.mergeBoundedResult(result, s.result)
	}
	switch half := len(group) / 2; {
	case failure == nil:
		s.result = result
		s.sq.recordNamespaceFaults(group, nil)
	case !failure.mayConcernOneNamespace():
		return failure
	case half > 0 && s.queries > len(s.groups)+1 && s.mayHalve:
		s.groups = append([][]string{group[:half], group[half:]}, s.groups...)
	default:
		s.failure = failure
		for _, n := range group {
			s.faults[n] = s.newNamespaceFault(s.sq, failure)
		}
		s.sq.recordNamespaceFaults(group, s.faults)
	}
	return nil
}

// recordFailedNamespaces forgets the faults of single namespaces, since every one failed.
func (s *faultyNamespaceSearch) recordFailedNamespaces() {
	s.sq.faults = map[string]error{}
	if s.mayHalve {
		s.sq.failedNamespaces, s.sq.nextHalving = len(s.fetch.scope.namespaces), s.now.Add(halvingPause)
	}
}

// mergeNamespaceFaults returns the result with the faults, also those that were not queried again.
func (s *faultyNamespaceSearch) mergeNamespaceFaults() *queryResult {
	s.sq.failedNamespaces = 0
	for n := range s.fetch.scope.namespaces {
		if fault := s.sq.faults[n]; fault != nil {
			s.faults[n] = fault
		}
	}
	return s.result.mergeQueryResult(&queryResult{
		namespaceScope: newServerNamespaceScope(slices.Collect(maps.Keys(s.faults))), evaluatedAt: s.now, faults: s.faults,
	})
}

// mergeBoundedResult returns a result with the namespaces of both; before may be nil. Together they are no larger than a single
// response may be.
func (b *Backend) mergeBoundedResult(r, before *queryResult) (*queryResult, *backendRequestFailure) {
	merged := r.mergeQueryResult(before)
	if before != nil && int64(merged.measureResultValues()) > memorybounds.DecodedRatio*b.config.MaxResponseBytes {
		return nil, newRequestFailuref(outcomeTooLarge, "the answers take too much memory together: query fewer results, or raise maxResponseBytes")
	}
	return merged, nil
}

// groupScopeNamespaces returns the namespaces of a scope as they are queried: together, but each with a known fault alone. Of
// those it returns the next maxFaultRetries.
func (sq *standingQuery) groupScopeNamespaces(s namespaceScope) [][]string {
	var sound, faulty []string
	for _, n := range slices.Sorted(maps.Keys(s.namespaces)) {
		if sq.faults[n] == nil {
			sound = append(sound, n)
		} else {
			faulty = append(faulty, n)
		}
	}
	var groups [][]string
	if len(sound) > 0 {
		groups = append(groups, sound)
	}
	from, _ := slices.BinarySearch(faulty, sq.retriedFault+"\x00")
	for i := range min(len(faulty), maxFaultRetries) {
		sq.retriedFault = faulty[(from+i)%len(faulty)]
		groups = append(groups, []string{sq.retriedFault})
	}
	return groups
}

// recordNamespaceFaults records the fault of a namespace that was queried alone, or that a group has none.
func (sq *standingQuery) recordNamespaceFaults(group []string, faults map[string]error) {
	for _, n := range group {
		if faults == nil {
			delete(sq.faults, n)
		} else if len(group) == 1 {
			sq.faults[n] = faults[n]
		}
	}
}

// newNamespaceFault returns the error of reads of a namespace whose own query failed.
func (b *Backend) newNamespaceFault(sq *standingQuery, f *backendRequestFailure) error {
	return metric.Errorf(f.chooseErrorKind(), "rule %q: backend %s: %s", sq.query.Rule.Name, b.name, f.text)
}

func newServerNamespaceScope(namespaces []string) namespaceScope {
	s := namespaceScope{namespaces: make(map[string]bool, len(namespaces))}
	for _, n := range namespaces {
		s.namespaces[n] = true
	}
	return s
}
