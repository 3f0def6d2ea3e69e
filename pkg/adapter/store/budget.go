package store

// The budget: series and bytes in all, and each namespace's part of them. In a full store the namespace with the most gives way to
// namespaces with less, and never the other way round.

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"

	"github.com/prometheus/prometheus/model/value"
)

const (
	// seriesOverheadBytes is the memory of a series besides its labels and chunks: the series itself, and its entries in the index and
	// in the tables.
	seriesOverheadBytes = 240
	// chunkCost is the memory of a chunk: its block, its slice header, and spare room for headers.
	chunkCost = chunkBytes + 32
	// prepaidChunks are the chunks that a series pays for from its beginning, as many as a steady counter holds. Room that only grows with
	// the samples would be given away twice.
	prepaidChunks = 2
	// spareParts is the part of each bound that the namespace with the most leaves to the others: a sixteenth. A pod of another
	// namespace that starts finds room at once.
	spareParts = 16
	// parsedParts is the part of the bytes that Reserve gives out: a half, as a parser needs no more for a series than the store. Pages that
	// are read cannot fill the store before it has their series.
	parsedParts = 2
	// parsedRatio is how many times the reserved bytes of a namespace may exceed the free ones. So many greedy namespaces, which
	// nothing evicts from their parsers, still leave room to the next.
	parsedRatio = 8
	// evictedParts is the part of a bound that an eviction frees at least, so that evictions stay rare.
	evictedParts = 64
)

// namespaceUsage is a namespace's part of the store. Store.mu guards series and reserved.
type namespaceUsage struct {
	namespace string
	series    int64
	reserved  int64        // bytes of series outside of the store
	bytes     atomic.Int64 // of series in the store; samples change it without Store.mu
}

// storeDimension is a bounded quantity of the store: series, or bytes.
type storeDimension struct {
	name   string
	limit  int64
	total  int64
	wanted int64
	held   func(*namespaceUsage) int64
}

// FullError rejects a series or a sample without room in the store. It is an ErrTooManySeries.
type FullError struct {
	// Namespace holds the most. If Own, it is the namespace that was rejected.
	Namespace string
	Own       bool
	// Bound is the exceeded bound and its unit: "200000 series".
	Bound string
}

// Error returns the reason in the words of the rejected namespace.
func (e *FullError) Error() string {
	if e.Own {
		return fmt.Sprintf("too many series: namespace %s has its share of %s", e.Namespace, e.Bound)
	}
	return "too many series: the store is full; most series are of namespace " + e.Namespace
}

// Is reports that the error is an ErrTooManySeries.
func (e *FullError) Is(target error) bool { return errors.Is(ErrTooManySeries, target) }

// storedNamespaceUsage returns the usage of a namespace. The caller holds s.mu.
func (s *Store) storedNamespaceUsage(namespace string) *namespaceUsage {
	u := s.usages[namespace]
	if u == nil {
		u = &namespaceUsage{namespace: namespace}
		s.usages[namespace] = u
	}
	return u
}

// forgetEmptyUsage removes the usage of a namespace that holds nothing. The caller holds s.mu.
func (s *Store) forgetEmptyUsage(u *namespaceUsage) {
	if u.series == 0 && u.reserved == 0 && u.bytes.Load() == 0 {
		delete(s.usages, u.namespace)
	}
}

// chargeSeriesBytes adds bytes, or takes them off if negative.
func (s *Store) chargeSeriesBytes(u *namespaceUsage, bytes int64) {
	u.bytes.Add(bytes)
	s.byteCount.Add(bytes)
}

// Reserve takes memory for the series of a namespace outside of the store from the budget, or gives it back if bytes is negative. Its
// error is a *FullError.
func (s *Store) Reserve(namespace string, bytes int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.storedNamespaceUsage(namespace)
	defer s.forgetEmptyUsage(u)
	if bytes > 0 {
		if err := s.checkReservedBytes(u, bytes); err != nil {
			return err
		}
		if err := s.makeStoreSeriesRoom(u, 0, bytes); err != nil {
			return err
		}
	}
	u.reserved += bytes
	s.reserved += bytes
	s.byteCount.Add(bytes)
	return nil
}

// checkReservedBytes returns a *FullError if a namespace may not reserve so much more. The caller holds s.mu.
func (s *Store) checkReservedBytes(u *namespaceUsage, bytes int64) error {
	limit := s.options.Load().MaxBytes / parsedParts
	if u.reserved+bytes <= parsedRatio*(limit-s.reserved-bytes) {
		return nil
	}
	most := s.findGreediestUsage(func(u *namespaceUsage) int64 { return u.reserved })
	return &FullError{Namespace: most.namespace, Own: most == u, Bound: fmt.Sprintf("%d bytes", limit)}
}

// makeStoreSeriesRoom returns nil if a namespace may hold so much more, after it has made room at the expense of the namespace with the most
// if necessary. Else it returns a *FullError. The caller holds s.mu.
func (s *Store) makeStoreSeriesRoom(u *namespaceUsage, series, bytes int64) error {
	o := s.options.Load()
	for _, d := range [...]storeDimension{
		{"series", int64(o.MaxSeries), int64(s.seriesCount), series, func(u *namespaceUsage) int64 { return u.series }},
		{"bytes", o.MaxBytes, s.byteCount.Load(), bytes, func(u *namespaceUsage) int64 { return u.bytes.Load() }},
	} {
		if d.wanted == 0 || d.total+d.wanted <= d.limit-d.limit/spareParts {
			continue // the ordinary case
		}
		if err := s.makeStoreRoomForBound(d, u); err != nil {
			return err
		}
	}
	return nil
}

// makeStoreRoomForBound is makeStoreSeriesRoom for one bound, of which at most the spare part is free.
func (s *Store) makeStoreRoomForBound(d storeDimension, u *namespaceUsage) error {
	most := s.findGreediestUsage(d.held)
	excess := d.total + d.wanted - d.limit
	own := most == u || d.held(u)+d.wanted > d.held(most)
	switch {
	case own && len(s.usages) > 1 && (most == u || excess > 0), own && excess > 0:
		return &FullError{Namespace: most.namespace, Own: most == u, Bound: fmt.Sprintf("%d %s", d.limit, d.name)}
	case excess <= 0:
		return nil
	}
	// Not so much that the two change places.
	free := min(excess+d.limit/evictedParts, max(excess, (d.held(most)-d.held(u)-d.wanted)/2))
	if s.evictStoredSeries(most, d, free) < excess {
		return &FullError{Namespace: most.namespace, Bound: fmt.Sprintf("%d %s", d.limit, d.name)}
	}
	return nil
}

// findGreediestUsage returns the usage that holds the most; among equals, the first by name. The caller holds s.mu.
func (s *Store) findGreediestUsage(held func(*namespaceUsage) int64) *namespaceUsage {
	var most *namespaceUsage
	for _, u := range s.usages {
		if most == nil || held(u) > held(most) || held(u) == held(most) && u.namespace < most.namespace {
			most = u
		}
	}
	return most
}

// evictStoredSeries drops series of a namespace until it has freed so much of a dimension: first series that ended, then the newest. It
// returns the freed bytes. The caller holds s.mu.
func (s *Store) evictStoredSeries(u *namespaceUsage, d storeDimension, free int64) (freed int64) {
	type candidate struct {
		series *storedSeries
		order  int64 // the time of creation; of ended series, the end of all times
	}
	var candidates []candidate
	for _, series := range s.slots {
		if series != nil && series.usage == u {
			order := series.createdAt
			if series.hasSeriesEnded() {
				order = math.MaxInt64
			}
			candidates = append(candidates, candidate{series, order})
		}
	}
	slices.SortFunc(candidates, func(a, b candidate) int {
		switch {
		case a.order > b.order:
			return -1
		case a.order < b.order:
			return 1
		}
		return 0
	})
	before := d.held(u)
	for _, c := range candidates {
		if freed = before - d.held(u); freed >= free {
			break
		}
		if s.removeStoredSeries(c.series, math.MaxInt64) {
			s.metrics.evictedSeries.Inc()
		}
	}
	freed = before - d.held(u)
	s.forgetEmptyUsage(u)
	return freed
}

// hasSeriesEnded reports whether the newest sample is a staleness marker.
func (s *storedSeries) hasSeriesEnded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.chunks) > 0 && value.IsStaleNaN(s.newestSample.v)
}

// shedSeriesOverflow evicts series of the namespace with the most bytes until the store is within its bytes: samples of known series are
// not rejected, so that their chunks may exceed the bound.
func (s *Store) shedSeriesOverflow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	limit := s.options.Load().MaxBytes
	d := storeDimension{name: "bytes", limit: limit, held: func(u *namespaceUsage) int64 { return u.bytes.Load() }}
	if excess := s.byteCount.Load() - limit; excess > 0 {
		s.evictStoredSeries(s.findGreediestUsage(d.held), d, excess+limit/evictedParts)
	}
}

// NamespaceUsage is the part of the store that a namespace holds.
type NamespaceUsage struct {
	Namespace     string
	Series, Bytes int64
}

// TopNamespaces returns the n namespaces with the most bytes, most first.
func (s *Store) TopNamespaces(n int) []NamespaceUsage {
	s.mu.RLock()
	all := make([]NamespaceUsage, 0, len(s.usages))
	for _, u := range s.usages {
		all = append(all, NamespaceUsage{u.namespace, u.series, u.bytes.Load() + u.reserved})
	}
	s.mu.RUnlock()
	slices.SortFunc(all, func(a, b NamespaceUsage) int {
		if a.Bytes != b.Bytes {
			return int(max(-1, min(1, b.Bytes-a.Bytes)))
		}
		return cmp.Compare(a.Namespace, b.Namespace)
	})
	return all[:min(n, len(all))]
}
