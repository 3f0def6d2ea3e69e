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
func (f *requestFailure) mayConcernOneNamespace() bool {
	return f.outcome == outcomeBadResult || f.outcome == outcomeBadQuery || f.outcome == outcomeTooLarge
}

// fetchNamespaceScope queries the servers for the scope of a fetch. If series of a single namespace may have caused a failure, it
// halves the scope until only such namespaces have a fault. Later fetches query them singly. If no namespace has an answer, the
// failure is the query's.
func (b *Backend) fetchNamespaceScope(ctx context.Context, sq *standingQuery, f *queryFetch, now time.Time) (*queryResult, *requestFailure) {
	if !isPartitionedResult(sq.query.Rule) || f.scope.allNamespaces {
		return b.fetchQueryResult(ctx, sq, f.scope, now)
	}
	if f.extends == nil {
		maps.DeleteFunc(sq.faults, func(n string, _ error) bool { return !f.scope.namespaces[n] })
	}
	result, groups, faults := f.extends, sq.groupScopeNamespaces(f.scope), map[string]error{}
	mayHalve := len(f.scope.namespaces) != sq.failedNamespaces || !now.Before(sq.nextHalving)
	var failure *requestFailure
	for queries := len(groups) + maxHalvingQueries; len(groups) > 0; queries-- {
		group := groups[0]
		groups = groups[1:]
		r, why := b.fetchQueryResult(ctx, sq, newNamespaceScope(group), now)
		if why == nil {
			r, why = b.mergeBoundedResult(r, result)
		}
		switch half := len(group) / 2; {
		case why == nil:
			result = r
			sq.recordNamespaceFaults(group, nil)
		case !why.mayConcernOneNamespace():
			return nil, why
		case half > 0 && queries > len(groups)+2 && mayHalve:
			groups = append([][]string{group[:half], group[half:]}, groups...)
		default:
			failure = why
			for _, n := range group {
				faults[n] = b.newNamespaceFault(sq, why)
			}
			sq.recordNamespaceFaults(group, faults)
		}
	}
	if result == nil {
		sq.faults = map[string]error{}
		if mayHalve {
			sq.failedNamespaces, sq.nextHalving = len(f.scope.namespaces), now.Add(halvingPause)
		}
		return nil, failure
	}
	sq.failedNamespaces = 0
	for n := range f.scope.namespaces { // known faults that were not queried again
		if fault := sq.faults[n]; fault != nil {
			faults[n] = fault
		}
	}
	return result.mergeQueryResult(&queryResult{
		namespaceScope: newNamespaceScope(slices.Collect(maps.Keys(faults))), evaluatedAt: now, faults: faults,
	}), nil
}

// mergeBoundedResult returns a result with the namespaces of both; before may be nil. Together they are no larger than a single
// response may be.
func (b *Backend) mergeBoundedResult(r, before *queryResult) (*queryResult, *requestFailure) {
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
func (b *Backend) newNamespaceFault(sq *standingQuery, f *requestFailure) error {
	return metric.Errorf(f.chooseErrorKind(), "rule %q: backend %s: %s", sq.query.Rule.Name, b.name, f.text)
}

func newNamespaceScope(namespaces []string) namespaceScope {
	s := namespaceScope{namespaces: make(map[string]bool, len(namespaces))}
	for _, n := range namespaces {
		s.namespaces[n] = true
	}
	return s
}
