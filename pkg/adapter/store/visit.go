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
	f := split(matchers)
	if label != "" {
		f.of(label).among = among{label, values}
	}
	r := s.readings.Get().(*reading)
	defer func() {
		clear(r.found) // what is dropped meanwhile must not be kept
		s.readings.Put(r)
	}()
	r.found = r.found[:0]
	s.mu.RLock()
	s.index.find(f, func(of *series) { r.found = append(r.found, of) })
	s.mu.RUnlock()
	for _, of := range r.found {
		r.read(of, mint, maxt)
		visit(of.labels, r.times, r.values)
	}
}

// reading is the memory of one Visit, used again by others.
type reading struct {
	found []*series
	// times and values are the samples of one series.
	times  []int64
	values []float64
}

// read takes the samples of a series. It holds the series' lock for as long: less than a microsecond.
func (r *reading) read(of *series, mint, maxt int64) {
	r.times, r.values = r.times[:0], r.values[:0]
	of.mu.Lock()
	defer of.mu.Unlock()
	for i, ch := range of.chunks {
		if i+1 < len(of.chunks) && of.chunks[i+1].start() <= mint {
			continue
		}
		if ch.start() > maxt {
			return
		}
		r.times, r.values = ch.appendTo(r.times, r.values, mint, maxt)
	}
}
