package equal

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/query"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/store"
	"github.com/tachometer-metrics/tachometer/test/harness/servers"
)

const (
	// interval is the scrape interval, in milliseconds.
	interval = 2000
	// length is how long each pod is scraped, in milliseconds: for the longest window, and the samples that the embedded
	// engine looks at beyond it.
	length = 100_000
	// jitter is how late a scrape may be, in milliseconds; much more is a late sample, which the embedded engine makes up for.
	jitter = 80
)

// world is what was scraped of a few pods.
type world struct {
	rand   *rand.Rand
	series []servers.Series
	// end is when the last scrapes were made, within the interval. It is half a second after a whole one, and samples have
	// odd milliseconds: no range and no step of a subquery, all in whole seconds, begins at a sample, which would be in it
	// for a Prometheus 2 and not for a Prometheus 3.
	end int64
	// whole leaves out NaN and, mostly, fractions.
	whole bool
}

// newWorld draws a world that ends about now: a VictoriaMetrics takes nothing old.
func newWorld(seed uint64, whole bool) *world {
	w := &world{
		rand: rand.New(rand.NewPCG(seed, 0)), end: time.Now().Add(-3*time.Second).Unix()*1000 + 500, whole: whole,
	}
	for _, namespace := range []string{"shop", "bank"} {
		for i := range 2 + w.rand.IntN(3) {
			w.pod(namespace, fmt.Sprint("p-", i), w.end, false)
		}
	}
	// One that went before any window began.
	w.pod("shop", "gone", w.end-90_000, true)
	return w
}

// pod draws what a pod exposes until end.
func (w *world) pod(namespace, name string, end int64, goes bool) {
	p := w.page(namespace, name, end)
	p.goes = goes
	for _, route := range []string{"/", "/cart"} {
		for _, code := range []string{"200", "500"} {
			p.counter("http_requests_total", w.rand.IntN(300), "route", route, "code", code)
		}
	}
	p.counter("jobs_total", 1) // mostly idle
	p.gauge("queue_length")
	p.gauge("temperature", "sensor", "a")
	p.gauge("temperature", "sensor", "b")
	p.histogram("latency_seconds", "0.01", "0.1", "0.5", "2", "+Inf")
}

// page draws when a pod is scraped until end.
func (w *world) page(namespace, name string, end int64) page {
	p := page{world: w, namespace: namespace, pod: name}
	phase := 1 + w.rand.Int64N(interval-jitter)
	for at := end - length - phase; at <= end; at += interval {
		p.times = append(p.times, (at+w.rand.Int64N(jitter))|1)
	}
	return p
}

// page draws the series of a pod, which are scraped together.
type page struct {
	*world
	namespace, pod string
	times          []int64
	goes           bool // with staleness markers at the end
}

func (p page) add(name string, values []float64, more ...string) {
	l := labels.FromStrings(append([]string{model.MetricNameLabel, name, "namespace", p.namespace, "pod", p.pod}, more...)...)
	one := servers.Series{Labels: l}
	for i, at := range p.times {
		one.Samples = append(one.Samples, servers.Sample{T: at, V: values[i]})
	}
	if p.goes {
		one.Samples[len(one.Samples)-1].V = math.Float64frombits(value.StaleNaN)
	}
	p.series = append(p.series, one)
}

// counter counts up to step events between scrapes, and begins again now and then.
func (p page) counter(name string, step int, more ...string) {
	values := make([]float64, len(p.times))
	v := float64(p.rand.IntN(10_000))
	for i := range values {
		v += float64(p.rand.IntN(step + 1))
		if p.rand.IntN(40) == 0 {
			v = float64(p.rand.IntN(step + 1))
		}
		values[i] = v
	}
	p.add(name, values, more...)
}

func (p page) gauge(name string, more ...string) {
	values := make([]float64, len(p.times))
	for i := range values {
		values[i] = math.Round(p.rand.NormFloat64() * 100)
		switch {
		case p.whole:
		case p.rand.IntN(40) == 0:
			values[i] = math.NaN()
		default:
			values[i] /= 7
		}
	}
	p.add(name, values, more...)
}

// histogram counts events into buckets; like any process, it begins all its series again at once.
func (p page) histogram(name string, bounds ...string) {
	buckets := make([][]float64, len(bounds))
	sums := make([]float64, 0, len(p.times))
	counts, sum := make([]float64, len(bounds)), 0.0
	for range p.times {
		if p.rand.IntN(40) == 0 {
			clear(counts)
			sum = 0
		}
		for range p.rand.IntN(30) {
			within := p.rand.IntN(len(bounds))
			for b := within; b < len(bounds); b++ {
				counts[b]++
			}
			sum += float64(within)
		}
		for b := range bounds {
			buckets[b] = append(buckets[b], counts[b])
		}
		sums = append(sums, sum)
	}
	for b, bound := range bounds {
		p.add(name+"_bucket", buckets[b], "le", bound)
	}
	p.add(name+"_count", buckets[len(bounds)-1])
	p.add(name+"_sum", sums)
}

// now draws a time of evaluation near the end, in milliseconds.
func (w *world) now() time.Time {
	return time.UnixMilli(w.end - 1000*w.rand.Int64N(5))
}

// embedded is the embedded engine over the world.
func (w *world) embedded(t *testing.T) *query.Engine {
	t.Helper()
	s := store.New(store.Options{Retention: time.Hour})
	for _, one := range w.series {
		ref := uint64(0)
		for _, sample := range one.Samples {
			var err error
			if ref, err = s.Append(ref, one.Labels, sample.T, sample.V); err != nil {
				t.Fatal(err)
			}
		}
	}
	return query.New(s, query.Options{Settings: query.Settings{Interval: interval * time.Millisecond}})
}
