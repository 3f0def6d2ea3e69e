package store

// The fast way to read: all samples of many series in a single call.

import "github.com/prometheus/prometheus/model/labels"

// Visit calls visit for every series that all matchers match and with a value of label among the ascending values. If label is
// empty, Visit ignores values. visit gets the samples in [mint, maxt], milliseconds, oldest first, with staleness markers; its
// slices are valid only during the call. Each series is read at a single moment. The series of a metric name and a pod come in
// succession, in the order of Select.
//
// Visit combines Select, the iterators and the reading of samples, without a call through an interface for a sample, and
// without an allocation for a series.
func (s *Store) Visit(mint, maxt int64, matchers []*labels.Matcher, label string, values []string,
	visit func(l labels.Labels, times []int64, values []float64),
) {
	f := splitMatchersByLevel(matchers)
	if label != "" {
		f.filterForIndexLevel(label).valueSet = labelValueSet{label, values}
	}
	r := s.visitBuffers.Get().(*visitBuffers)
	defer func() {
		clear(r.found) // keep no dropped series alive
		s.visitBuffers.Put(r)
	}()
	r.found = r.found[:0]
	s.mu.RLock()
	s.index.forEachIndexMatch(f, func(series *storedSeries) { r.found = append(r.found, series) })
	s.mu.RUnlock()
	for _, series := range r.found {
		r.readSeriesSamples(series, mint, maxt)
		visit(series.labels, r.times, r.values)
	}
}

// visitBuffers is the memory of a Visit, reused by later calls.
type visitBuffers struct {
	found []*storedSeries
	// times and values are the samples of a series.
	times  []int64
	values []float64
}

// readSeriesSamples reads the samples of a series. It holds the series' lock meanwhile: less than a microsecond.
func (r *visitBuffers) readSeriesSamples(series *storedSeries, mint, maxt int64) {
	r.times, r.values = r.times[:0], r.values[:0]
	series.mu.Lock()
	defer series.mu.Unlock()
	for _, ch := range series.chunksBetween(mint, maxt) {
		r.times, r.values = ch.decodeChunkRange(r.times, r.values, mint, maxt)
	}
}
