// The shares of namespaces in the standing queries: a reader with ever new selectors takes nothing from others.

package remote

import (
	"container/list"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/memorybounds"
)

// queryBounds bound standing queries, the bytes of their selectors, which come from requests, and of their results. A parsed selector
// takes some ten times its text.
type queryBounds struct{ queries, selectorBytes, resultBytes int }

var (
	// maxAllQueries are the bounds of all namespaces together: the memory, and the load of the server, which gets each query every refresh
	// interval.
	maxAllQueries = queryBounds{10_000, memorybounds.ServerSelectors, memorybounds.ServerResults}
	// maxNamespaceQueries are the bounds of a namespace: five metrics of 5,000 pods.
	maxNamespaceQueries = queryBounds{1000, memorybounds.ServerSelectors / 4, memorybounds.ServerResults / 2}
	// maxCommonQueries are the bounds of the queries that belong to no namespace, such as of external metrics of all.
	maxCommonQueries = queryBounds{5000, memorybounds.ServerSelectors / 2, memorybounds.ServerResults / 2}
)

// exceededByStandingQuery reports whether a share is too large. A single query may have any result that the server may send.
func (m queryBounds) exceededByStandingQuery(s *queryShare) bool {
	return s.order.Len() > m.queries || s.selectorBytes > m.selectorBytes || s.resultBytes > m.resultBytes && s.order.Len() > 1
}

// queryShare are the standing queries that a namespace was the first to read.
type queryShare struct {
	order         list.List // of *standingQuery, the last read in front
	selectorBytes int
	resultBytes   int
}

// queryShares are the shares of all namespaces. Its zero value is empty and ready. Backend.mu guards it.
type queryShares struct {
	byNamespace map[string]*queryShare
	all         queryBounds // in use
}

// addQueryToShare adds a query to the share of its namespace.
func (s *queryShares) addQueryToShare(sq *standingQuery) {
	if s.byNamespace == nil {
		s.byNamespace = map[string]*queryShare{}
	}
	share := s.byNamespace[sq.owner]
	if share == nil {
		share = &queryShare{}
		s.byNamespace[sq.owner] = share
	}
	for _, m := range sq.query.Selector {
		sq.selectorBytes += matcherBytes + len(m.Name) + len(m.Value)
	}
	sq.element = share.order.PushFront(sq)
	share.selectorBytes += sq.selectorBytes
	s.all.queries, s.all.selectorBytes = s.all.queries+1, s.all.selectorBytes+sq.selectorBytes
	s.measureQueryResult(sq)
}

// measureQueryResult counts the bytes of a query's new result, and of the names of its objects, in its share.
func (s *queryShares) measureQueryResult(sq *standingQuery) {
	size := len(sq.key)
	for _, name := range sq.query.Objects {
		size += len(name)
	}
	if sq.result != nil {
		size += sq.result.measureResultValues()
	}
	s.byNamespace[sq.owner].resultBytes += size - sq.resultBytes
	s.all.resultBytes += size - sq.resultBytes
	sq.resultBytes = size
}

// markQueryRead makes a query the last one to give way.
func (s *queryShares) markQueryRead(sq *standingQuery) {
	s.byNamespace[sq.owner].order.MoveToFront(sq.element)
}

func (s *queryShares) removeQueryFromShare(sq *standingQuery) {
	share := s.byNamespace[sq.owner]
	share.order.Remove(sq.element)
	share.selectorBytes -= sq.selectorBytes
	share.resultBytes -= sq.resultBytes
	s.all.queries, s.all.selectorBytes, s.all.resultBytes = s.all.queries-1, s.all.selectorBytes-sq.selectorBytes, s.all.resultBytes-sq.resultBytes
	if share.order.Len() == 0 {
		delete(s.byNamespace, sq.owner)
	}
}

// findQueryToDrop returns the query that gives way to a new query or result of a namespace, or nil while all bounds hold: the
// namespace's own that was not read for longest, or the one from the namespace with the most.
func (s *queryShares) findQueryToDrop(owner string) *standingQuery {
	bounds := maxNamespaceQueries
	if owner == "" {
		bounds = maxCommonQueries
	}
	if share := s.byNamespace[owner]; share != nil && bounds.exceededByStandingQuery(share) {
		return share.order.Back().Value.(*standingQuery)
	}
	size := s.findExceededShareBound()
	if size == nil {
		return nil
	}
	var greediest *queryShare
	for _, share := range s.byNamespace {
		if greediest == nil || size(share) > size(greediest) {
			greediest = share
		}
	}
	if size(greediest) == 0 {
		greediest = s.findLargestSingleShare()
	}
	if greediest == nil {
		return nil
	}
	return greediest.order.Back().Value.(*standingQuery)
}

// findLargestSingleShare returns the share with the largest result, if all that exceed a bound have a single query; nil if a namespace is
// alone: its query stays.
func (s *queryShares) findLargestSingleShare() (largest *queryShare) {
	if len(s.byNamespace) < 2 {
		return nil
	}
	for _, share := range s.byNamespace {
		if largest == nil || share.resultBytes > largest.resultBytes {
			largest = share
		}
	}
	return largest
}

// findExceededShareBound returns the size of a share by which the bound of all namespaces is exceeded; nil if none is.
func (s *queryShares) findExceededShareBound() (size func(*queryShare) int) {
	switch {
	case s.all.queries > maxAllQueries.queries:
		return func(q *queryShare) int { return q.order.Len() }
	case s.all.selectorBytes > maxAllQueries.selectorBytes:
		return func(q *queryShare) int { return q.selectorBytes }
	case s.all.resultBytes > maxAllQueries.resultBytes:
		return func(q *queryShare) int { return q.resultBytes * min(1, q.order.Len()-1) } // a single query stays
	}
	return nil
}

const (
	// matcherBytes are a matcher's bytes beside its texts, in selectorBytes. With ten times that it has room for a regular expression.
	matcherBytes = 32
	// valueBytes are a value's bytes beside its texts, labelledBytes the bytes of the map of its labels, and labelBytes a label's.
	valueBytes, labelledBytes, labelBytes = 256, 256, 32
)

// measureResultValues returns about the bytes that the values take.
func (r *queryResult) measureResultValues() int {
	size := 0
	for _, values := range r.valuesByNamespace {
		for i := range values {
			size += valueBytes + len(values[i].Object.Name)
			if values[i].Labels != nil {
				size += labelledBytes
			}
			for name, value := range values[i].Labels {
				size += labelBytes + len(name) + len(value)
			}
		}
	}
	return size
}
