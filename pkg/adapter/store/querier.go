package store

// The store as a storage.Queryable.

import (
	"context"
	"maps"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
)

// Querier returns a reader of the samples in [mint, maxt], milliseconds. It needs no closing, and may be used
// concurrently, also with Append.
func (s *Store) Querier(mint, maxt int64) (storage.Querier, error) {
	return &storeQuerier{store: s, mint: mint, maxt: maxt}, nil
}

type storeQuerier struct {
	store      *Store
	mint, maxt int64
}

var _ storage.Querier = (*storeQuerier)(nil)

// Select returns the series that all matchers match. A series without a sample in the querier's time range has an empty
// iterator. Each iterator is a consistent snapshot of its series. Select uses two hints: a narrower range, and the limit.
func (q *storeQuerier) Select(_ context.Context, sorted bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	mint, maxt := q.mint, q.maxt
	if hints != nil && !hints.DisableTrimming {
		mint, maxt = max(mint, hints.Start), min(maxt, hints.End)
	}
	set := &storedSeriesSet{}
	q.forEachMatchedSeries(matchers, func(s *storedSeries) {
		set.views = append(set.views, seriesView{series: s, mint: mint, maxt: maxt})
	})
	if sorted {
		slices.SortFunc(set.views, func(a, b seriesView) int { return labels.Compare(a.series.labels, b.series.labels) })
	}
	if hints != nil && hints.Limit > 0 && len(set.views) > hints.Limit {
		set.views = set.views[:hints.Limit]
	}
	return set
}

// LabelValues returns the values of a label in the matching series, sorted.
func (q *storeQuerier) LabelValues(_ context.Context, name string, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	values := map[string]struct{}{}
	q.forEachMatchedSeries(matchers, func(s *storedSeries) {
		if v := s.labels.Get(name); v != "" {
			values[v] = struct{}{}
		}
	})
	return sortAndLimitLabelNames(values, hints), nil, nil
}

// LabelNames returns the names of the labels of the matching series, sorted.
func (q *storeQuerier) LabelNames(_ context.Context, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	names := map[string]struct{}{}
	q.forEachMatchedSeries(matchers, func(s *storedSeries) {
		s.labels.Range(func(l labels.Label) { names[l.Name] = struct{}{} })
	})
	return sortAndLimitLabelNames(names, hints), nil, nil
}

// Close does nothing: a querier holds no resources.
func (q *storeQuerier) Close() error { return nil }

func (q *storeQuerier) forEachMatchedSeries(matchers []*labels.Matcher, visit func(*storedSeries)) {
	q.store.mu.RLock()
	defer q.store.mu.RUnlock()
	q.store.index.forEachIndexMatch(splitMatchersByLevel(matchers), visit)
}

func sortAndLimitLabelNames(set map[string]struct{}, hints *storage.LabelHints) []string {
	sorted := slices.Sorted(maps.Keys(set))
	if hints != nil && hints.Limit > 0 && len(sorted) > hints.Limit {
		return sorted[:hints.Limit]
	}
	return sorted
}
