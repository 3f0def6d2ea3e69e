package store

import "github.com/prometheus/prometheus/model/labels"

// Visit calls visit for every series that all matchers match and whose label has one of the values, which ascend, with its
// samples in [mint, maxt], milliseconds, oldest first; staleness markers are among them. An empty label leaves out what
// it says of values. The slices are Visit's own again when visit returns. Each series is seen at one moment, and those of
// one metric name and one pod one after the other, in the order in which Select has them.
//
// It is Select, the iterators and the reading of samples in one, without a call through an interface for a sample, and
// without an allocation for a series.
func (s *Store) Visit(mint, maxt int64, matchers []*labels.Matcher, label string, values []string,
	visit func(l labels.Labels, times []int64, values []float64),
) {
	f := splitMatchers(matchers)
	if label != "" {
		f.filterFor(label).valueSet = labelValueSet{label, values}
	}
	r := s.visitBuffers.Get().(*visitBuffers)
	defer func() {
		clear(r.found) // what is dropped meanwhile must not be kept
		s.visitBuffers.Put(r)
	}()
	r.found = r.found[:0]
	s.mu.RLock()
	s.index.forEachMatch(f, func(of *memSeries) { r.found = append(r.found, of) })
	s.mu.RUnlock()
	for _, of := range r.found {
		r.readSamples(of, mint, maxt)
		visit(of.labels, r.times, r.values)
	}
}

// visitBuffers is the memory of one Visit, used again by others.
type visitBuffers struct {
	found []*memSeries
	// times and values are the samples of one series.
	times  []int64
	values []float64
}

// readSamples takes the samples of a series. It holds the series' lock for as long: less than a microsecond.
func (r *visitBuffers) readSamples(of *memSeries, mint, maxt int64) {
	r.times, r.values = r.times[:0], r.values[:0]
	of.mu.Lock()
	defer of.mu.Unlock()
	for i, ch := range of.chunks {
		if i+1 < len(of.chunks) && of.chunks[i+1].startTime() <= mint {
			continue
		}
		if ch.startTime() > maxt {
			return
		}
		r.times, r.values = ch.decodeRange(r.times, r.values, mint, maxt)
	}
}
