// The shares of namespaces in the standing queries: a reader with ever new selectors takes nothing from others.

package remote

import "container/list"

// queryBounds bound standing queries and the bytes of their selectors, which come from requests. A parsed selector takes some ten times
// its text.
type queryBounds struct{ queries, selectorBytes int }

var (
	// maxAllQueries are the bounds of all namespaces together: the memory, and the load of the server, which gets each query every
	// refresh interval.
	maxAllQueries = queryBounds{10_000, 2 << 20}
	// maxNamespaceQueries are those of a namespace.
	maxNamespaceQueries = queryBounds{1000, 128 << 10}
	// maxCommonQueries are those of the queries that belong to no namespace, such as of external metrics of all.
	maxCommonQueries = queryBounds{5000, 1 << 20}
)

func (m queryBounds) exceededByRemoteShare(s *queryShare) bool {
	return s.order.Len() > m.queries || s.selectorBytes > m.selectorBytes
}

// queryShare are the standing queries that a namespace was the first to read.
type queryShare struct {
	order         list.List // of *standingQuery, the one that was read last in front
	selectorBytes int
}

// queryShares are the shares of all namespaces. Its zero value is empty and ready. Backend.mu guards it.
type queryShares struct {
	byNamespace map[string]*queryShare
	all         queryBounds // what is used
}

// addRemoteQueryShare adds a query to the share of its namespace.
func (s *queryShares) addRemoteQueryShare(sq *standingQuery) {
	if s.byNamespace == nil {
		s.byNamespace = map[string]*queryShare{}
	}
	share := s.byNamespace[sq.owner]
	if share == nil {
		share = &queryShare{}
		s.byNamespace[sq.owner] = share
	}
	for _, m := range sq.query.Selector {
		sq.selectorBytes += len(m.Name) + len(m.Value)
	}
	sq.element = share.order.PushFront(sq)
	share.selectorBytes += sq.selectorBytes
	s.all.queries, s.all.selectorBytes = s.all.queries+1, s.all.selectorBytes+sq.selectorBytes
}

// markRemoteQueryRead makes a query the last one to give way.
func (s *queryShares) markRemoteQueryRead(sq *standingQuery) {
	s.byNamespace[sq.owner].order.MoveToFront(sq.element)
}

func (s *queryShares) removeRemoteQueryShare(sq *standingQuery) {
	share := s.byNamespace[sq.owner]
	share.order.Remove(sq.element)
	share.selectorBytes -= sq.selectorBytes
	s.all.queries, s.all.selectorBytes = s.all.queries-1, s.all.selectorBytes-sq.selectorBytes
	if share.order.Len() == 0 {
		delete(s.byNamespace, sq.owner)
	}
}

// findRemoteQueryToDrop returns the query that gives way to the one that a namespace has just added, or nil while all bounds hold: the
// namespace's own that was not read for longest, or that of the namespace with the most.
func (s *queryShares) findRemoteQueryToDrop(owner string) *standingQuery {
	bounds := maxNamespaceQueries
	if owner == "" {
		bounds = maxCommonQueries
	}
	if share := s.byNamespace[owner]; bounds.exceededByRemoteShare(share) {
		return share.order.Back().Value.(*standingQuery)
	}
	overCount, overBytes := s.all.queries > maxAllQueries.queries, s.all.selectorBytes > maxAllQueries.selectorBytes
	if !overCount && !overBytes {
		return nil
	}
	var greediest *queryShare
	size := func(q *queryShare) int {
		if overCount {
			return q.order.Len()
		}
		return q.selectorBytes
	}
	for _, share := range s.byNamespace {
		if greediest == nil || size(share) > size(greediest) {
			greediest = share
		}
	}
	return greediest.order.Back().Value.(*standingQuery)
}
