package truth

// The load of services and its counts: what happened, of which pages show a part.

import (
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"time"
)

// truthPoint is a cumulated count at a time.
type truthPoint struct {
	at    time.Time
	count float64
}

// truthHistory is a cumulated count over time, linear between its points.
type truthHistory []truthPoint

// recordCount appends a point, and replaces the last point of the same time.
func (h *truthHistory) recordCount(at time.Time, count float64) {
	if n := len(*h); n > 0 && !at.After((*h)[n-1].at) {
		(*h)[n-1].count = count
		return
	}
	*h = append(*h, truthPoint{at, count})
}

func (h truthHistory) countAt(at time.Time) float64 {
	i := sort.Search(len(h), func(i int) bool { return h[i].at.After(at) })
	switch {
	case len(h) == 0 || i == 0:
		return 0
	case i == len(h):
		return h[i-1].count
	}
	a, b := h[i-1], h[i]
	return a.count + (b.count-a.count)*float64(at.Sub(a.at))/float64(b.at.Sub(a.at))
}

// rateOver returns the mean rate of a window that ends at a time.
func (h truthHistory) rateOver(end time.Time, window time.Duration) float64 {
	return (h.countAt(end) - h.countAt(end.Add(-window))) / window.Seconds()
}

// metricFamily is a family that the pods of a service expose.
type metricFamily struct {
	name, kind string // kind: counter, gauge, histogram, summary
	typed      string // the TYPE on the page
	// rate is the offered load of the service in events a second; it changes by slope each second until rampEnd.
	rate, slope   float64
	rampEnd       time.Time
	batch         float64 // events that become visible, or arrive, together
	poisson       bool    // batches arrive at random
	spread        bool    // each event of a batch goes to any pod
	series        []string
	countsScrapes bool // each scrape is an event, too
	created       bool // the page says when each counter began
	rounding      bool // every other page is smaller by a rounding error
	dotted        bool // the name has dots where the scraper accepts them
	base          float64
	// value is the gauge of each pod, which moves by wobble.
	value, wobble float64
	timestamped   time.Duration // the gauge has its own timestamp, renewed so often
	latency       float64       // of histogram events, seconds

	history     truthHistory
	rateChanged time.Time
	changes     []valueChange // of latency or value
}

// valueChange is a new latency or gauge from a time on.
type valueChange struct {
	at    time.Time
	value float64
}

// changeRate sets the rate from now on, at once or by a ramp.
func (f *metricFamily) changeRate(now time.Time, rate float64, over time.Duration) {
	f.rate, f.slope, f.rampEnd, f.rateChanged = f.rateAt(now), 0, now, now
	if over <= 0 {
		f.rate = rate
		return
	}
	f.slope, f.rampEnd, f.rateChanged = (rate-f.rate)/over.Seconds(), now.Add(over), now.Add(over)
}

// rateAt returns the offered rate; the fields hold the rate at the last advance.
func (f *metricFamily) rateAt(time.Time) float64 { return f.rate }

// offerLoad returns the events offered between two times, and moves the rate along its ramp.
func (f *metricFamily) offerLoad(from, to time.Time) float64 {
	total := 0.0
	if f.slope != 0 {
		end := to
		if f.rampEnd.Before(end) {
			end = f.rampEnd
		}
		if d := end.Sub(from).Seconds(); d > 0 {
			total += f.rate*d + f.slope*d*d/2
			f.rate += f.slope * d
			from = end
		}
		if !to.Before(f.rampEnd) {
			f.slope = 0
		}
	}
	return total + f.rate*to.Sub(from).Seconds()
}

// podCounts are a pod's counts of a family since its process began.
type podCounts struct {
	bySeries map[string]float64
	order    []string
	buckets  []float64 // of latencyBounds, not cumulated
	sum      float64
	phase    float64            // of batches, in events
	carried  map[string]float64 // into a new series: the batch that is under way, in events
	shifts   map[string]float64 // added to series on the page, by an URL change
	history  truthHistory
	total    float64
	began    map[string]time.Time // of series
}

// shiftSeries makes the page show more of each series than was counted.
func (c *podCounts) shiftSeries(n float64) {
	for _, s := range c.order {
		c.shifts[s] += n
	}
}

// expireSeries removes the series that are not active. A later event begins them again at zero.
func (c *podCounts) expireSeries(active []string) {
	c.order = slices.DeleteFunc(slices.Clone(c.order), func(s string) bool { return !slices.Contains(active, s) })
	for s := range c.bySeries {
		if !slices.Contains(active, s) {
			delete(c.bySeries, s)
			delete(c.carried, s)
			delete(c.shifts, s)
		}
	}
}

// latencyBounds are the buckets of histograms, in seconds.
var latencyBounds = []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5}

// countEvents adds events to the active series.
func (c *podCounts) countEvents(f *metricFamily, n float64) {
	for _, s := range f.series {
		if _, ok := c.bySeries[s]; !ok {
			c.carryBatch(f, s)
			c.order = append(c.order, s)
			c.began[s] = time.Now()
		}
		c.bySeries[s] += n / float64(len(f.series))
	}
	c.total += n
	if f.kind == "histogram" || f.kind == "summary" {
		c.buckets[sort.SearchFloat64s(latencyBounds, f.latency)] += n
		c.sum += n * f.latency
	}
}

// carryBatch makes the batch that is under way in the first series end in a new one.
func (c *podCounts) carryBatch(f *metricFamily, series string) {
	if f.batch > 1 && !f.poisson && len(c.order) > 0 {
		n := c.bySeries[c.order[0]] + c.phase + c.carried[c.order[0]]
		c.carried[series] = math.Mod(n, f.batch) - c.phase
	}
}

// newPodCounts returns the counts of a process that begins now.
func newPodCounts(f *metricFamily, rng *rand.Rand) *podCounts {
	c := &podCounts{bySeries: map[string]float64{}, carried: map[string]float64{}, shifts: map[string]float64{}, began: map[string]time.Time{}, buckets: make([]float64, len(latencyBounds)+1)}
	for _, s := range f.series {
		c.bySeries[s], c.began[s] = 0, time.Now()
		c.order = append(c.order, s)
	}
	if f.batch > 1 && !f.poisson {
		c.phase = rng.Float64() * f.batch
	}
	return c
}

// shownCount returns what the page shows of a series.
func (c *podCounts) shownCount(f *metricFamily, series string) float64 {
	n := c.bySeries[series]
	if f.batch > 1 && !f.poisson {
		return math.Floor((n+c.phase+c.carried[series])/f.batch) * f.batch
	}
	return math.Floor(n)
}

// spreadLoad shares the events between serving pods.
func spreadLoad(f *metricFamily, serving []*podProcess, offered float64, rng *rand.Rand) {
	weights := 0.0
	for _, p := range serving {
		weights += p.weight
	}
	if weights == 0 {
		return
	}
	if !f.poisson {
		for _, p := range serving {
			p.counts[f].countEvents(f, offered*p.weight/weights)
		}
		return
	}
	batch := max(1, f.batch)
	for range drawPoisson(offered/batch, rng) {
		p := drawPod(serving, weights, rng)
		if !f.spread {
			p.counts[f].countEvents(f, batch)
			continue
		}
		for range int(batch) {
			p = drawPod(serving, weights, rng)
			p.counts[f].countEvents(f, 1)
		}
	}
}

func drawPod(serving []*podProcess, weights float64, rng *rand.Rand) *podProcess {
	x := rng.Float64() * weights
	for _, p := range serving {
		if x -= p.weight; x < 0 {
			return p
		}
	}
	return serving[len(serving)-1]
}

// drawPoisson returns a Poisson number of mean m, by Knuth's product in parts that do not underflow.
func drawPoisson(m float64, rng *rand.Rand) int {
	n := 0
	for m > 0 {
		part := min(m, 20)
		m -= part
		for p := rng.Float64(); p > math.Exp(-part); p *= rng.Float64() {
			n++
		}
	}
	return n
}
