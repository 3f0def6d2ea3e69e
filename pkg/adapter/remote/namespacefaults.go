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

// mayConcernOneRemoteNamespace reports whether series of a single namespace may be the cause.
func (f *requestFailure) mayConcernOneRemoteNamespace() bool {
	return f.outcome == outcomeBadResult || f.outcome == outcomeBadQuery || f.outcome == outcomeTooLarge
}

// fetchRemoteNamespaces queries the servers for the scope of a fetch. A failure with which series of a single namespace may be to
// blame halves the scope, until such namespaces alone have a fault. Later fetches query them singly. If no namespace has an
// answer, the failure is the query's.
func (b *Backend) fetchRemoteNamespaces(ctx context.Context, sq *standingQuery, f *queryFetch, now time.Time) (*queryResult, *requestFailure) {
	if !isRemoteResultPartitioned(sq.query.Rule) || f.scope.allNamespaces {
		return b.fetchRemoteQueryResult(ctx, sq, f.scope, now)
	}
	if f.extends == nil {
		maps.DeleteFunc(sq.faults, func(n string, _ error) bool { return !f.scope.namespaces[n] })
	}
	result, groups, faults := f.extends, sq.groupRemoteNamespaces(f.scope), map[string]error{}
	mayHalve := len(f.scope.namespaces) != sq.failedNamespaces || !now.Before(sq.nextHalving)
	var failure *requestFailure
	for queries := len(groups) + maxHalvingQueries; len(groups) > 0; queries-- {
		group := groups[0]
		groups = groups[1:]
		r, why := b.fetchRemoteQueryResult(ctx, sq, newRemoteNamespaceScope(group), now)
		if why == nil {
			r, why = b.mergeBoundedRemoteResult(r, result)
		}
		switch half := len(group) / 2; {
		case why == nil:
			result = r
			sq.recordRemoteNamespaceFaults(group, nil)
		case !why.mayConcernOneRemoteNamespace():
			return nil, why
		case half > 0 && queries > len(groups)+2 && mayHalve:
			groups = append([][]string{group[:half], group[half:]}, groups...)
		default:
			failure = why
			for _, n := range group {
				faults[n] = b.newRemoteNamespaceFault(sq, why)
			}
			sq.recordRemoteNamespaceFaults(group, faults)
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
	return result.mergeRemoteResult(&queryResult{
		namespaceScope: newRemoteNamespaceScope(slices.Collect(maps.Keys(faults))), evaluatedAt: now, faults: faults,
	}), nil
}

// mergeBoundedRemoteResult returns a result with the namespaces of both; before may be nil. Together they are no larger than a single
// response may be.
func (b *Backend) mergeBoundedRemoteResult(r, before *queryResult) (*queryResult, *requestFailure) {
	merged := r.mergeRemoteResult(before)
	if before != nil && int64(merged.measureRemoteValues()) > memorybounds.DecodedRatio*b.config.MaxResponseBytes {
		return nil, newRemoteFailuref(outcomeTooLarge, "the answers take too much memory together: query fewer results, or raise maxResponseBytes")
	}
	return merged, nil
}

// groupRemoteNamespaces returns the namespaces of a scope as they are queried: together, but each with a known fault alone. Of
// those it returns the next maxFaultRetries.
func (sq *standingQuery) groupRemoteNamespaces(s namespaceScope) [][]string {
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

// recordRemoteNamespaceFaults records the fault of a namespace that was queried alone, or that a group has none.
func (sq *standingQuery) recordRemoteNamespaceFaults(group []string, faults map[string]error) {
	for _, n := range group {
		if faults == nil {
			delete(sq.faults, n)
		} else if len(group) == 1 {
			sq.faults[n] = faults[n]
		}
	}
}

// newRemoteNamespaceFault returns the error of reads of a namespace whose own query failed.
func (b *Backend) newRemoteNamespaceFault(sq *standingQuery, f *requestFailure) error {
	return metric.Errorf(f.remoteErrorKind(), "rule %q: backend %s: %s", sq.query.Rule.Name, b.name, f.text)
}

func newRemoteNamespaceScope(namespaces []string) namespaceScope {
	s := namespaceScope{namespaces: make(map[string]bool, len(namespaces))}
	for _, n := range namespaces {
		s.namespaces[n] = true
	}
	return s
}
