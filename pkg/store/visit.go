package store

import "github.com/prometheus/prometheus/model/labels"

// Visit calls visit for every series that all matchers match and whose label has one of the values, which ascend, with its
// samples in [mint, maxt], milliseconds, oldest first; staleness markers are among them. An empty label leaves out what
// it says of values. The slices are Visit's own again when visit returns. Each series is seen at one moment, and those of
// one pod in the order in which Select has them.
//
// It is Select, the iterators and the reading of samples in one: a third of what they cost, and no allocation for a
// series.
func (s *Store) Visit(mint, maxt int64, matchers []*labels.Matcher, label string, values []string,
	visit func(l labels.Labels, times []int64, values []float64),
) {
	f := split(matchers)
	if label != "" {
		f.of(label).among = among{label, values}
	}
	var found []*series
	s.mu.RLock()
	s.index.find(f, func(of *series) { found = append(found, of) })
	s.mu.RUnlock()
	const enough = 64 // for a minute at 2 s and what is kept beyond it
	r := reading{mint: mint, maxt: maxt, times: make([]int64, 0, enough), values: make([]float64, 0, enough)}
	for _, of := range found {
		r.read(of)
		visit(of.labels, r.times, r.values)
	}
}

// reading is the samples of one series between two times.
type reading struct {
	mint, maxt int64
	times      []int64
	values     []float64
}

// read takes the samples of a series. It holds the series' lock for as long: less than a microsecond.
func (r *reading) read(of *series) {
	r.times, r.values = r.times[:0], r.values[:0]
	of.mu.Lock()
	defer of.mu.Unlock()
	for i, ch := range of.chunks {
		if i+1 < len(of.chunks) && of.chunks[i+1].start() <= r.mint {
			continue
		}
		if ch.start() > r.maxt {
			return
		}
		r.add(ch)
	}
}

// add appends the samples of a chunk.
func (r *reading) add(ch chunk) {
	var c cursor
	for pos := ch.first(&c); ; pos = ch.next(&c, pos) {
		if c.t > r.maxt {
			return
		}
		if c.t >= r.mint {
			r.times, r.values = append(r.times, c.t), append(r.values, c.v)
		}
		if pos >= len(ch) {
			return
		}
	}
}
