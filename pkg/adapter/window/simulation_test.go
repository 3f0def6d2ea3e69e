// Simulated traffic and scrapes.

package window

import (
	"math"
	"math/rand/v2"
	"time"
)

const (
	longest  = time.Minute
	interval = 2.0 // seconds between scrapes of a pod
	jitter   = 0.1 // greatest delay of a scrape in seconds
)

// trueLoad is the true rate of a group at a time, in requests per second and seconds.
type trueLoad func(t float64) float64

func steadyLoad(rate float64) trueLoad { return func(float64) float64 { return rate } }

func stepLoad(from, to, at float64) trueLoad {
	return func(t float64) float64 {
		if t < at {
			return from
		}
		return to
	}
}

func rampLoad(from, to, at, lasting float64) trueLoad {
	return func(t float64) float64 { return from + (to-from)*max(0, min(1, (t-at)/lasting)) }
}

func burstLoad(off, on, offFor, onFor float64) trueLoad {
	return func(t float64) float64 {
		if math.Mod(t, offFor+onFor) < offFor {
			return off
		}
		return on
	}
}

// trafficSimulation is Poisson traffic spread evenly over pods, with scrapes of each pod at a phase of its own.
type trafficSimulation struct {
	pods []History
	seen []int     // by pod: the number of its scraped increments
	view []History // by pod: its history as a store would have it
}

func simulateTraffic(seed uint64, pods int, seconds float64, truth trueLoad) *trafficSimulation {
	r := rand.New(rand.NewPCG(seed, 7))
	expected := expectedRequests(truth, seconds)
	s := &trafficSimulation{pods: make([]History, pods), seen: make([]int, pods), view: make([]History, pods)}
	for p := range s.pods {
		phase, last := interval*r.Float64(), -1.0
		for due := phase; ; due += interval {
			at := due + jitter*r.Float64()
			if at > seconds {
				break
			}
			if last >= 0 {
				n := drawPoisson(r, (expected(at)-expected(last))/float64(pods))
				s.pods[p] = append(s.pods[p], Increment{From: int64(1000 * last), To: int64(1000 * at), Count: n})
			}
			last = at
		}
	}
	return s
}

// simulateSpreadBatches is steady traffic in batches, each of which is spread over the pods at random.
func simulateSpreadBatches(seed uint64, pods int, seconds, rate, batch float64) *trafficSimulation {
	s := simulateTraffic(seed, pods, seconds, steadyLoad(0))
	r := rand.New(rand.NewPCG(seed, 11))
	next := make([]int, pods)
	for t := r.ExpFloat64() * batch / rate; t < seconds; t += r.ExpFloat64() * batch / rate {
		for range int(batch) {
			p := r.IntN(pods)
			h := s.pods[p]
			for next[p] < len(h) && float64(h[next[p]].To) <= 1000*t {
				next[p]++
			}
			if next[p] < len(h) && float64(h[next[p]].From) <= 1000*t {
				h[next[p]].Count++
			}
		}
	}
	return s
}

// simulateJumps is a counter of each pod that jumps by size every period seconds, up to a tenth sooner or later, at a
// phase of its own.
func simulateJumps(seed uint64, pods int, seconds, size, period float64) *trafficSimulation {
	s := simulateTraffic(seed, pods, seconds, steadyLoad(0))
	r := rand.New(rand.NewPCG(seed, 13))
	for _, h := range s.pods {
		i := 0
		for due := period * r.Float64(); due < seconds; due += period {
			at := int64(1000 * (due + 0.2*period*(r.Float64()-0.5)))
			for i < len(h) && h[i].To <= at {
				i++
			}
			if i < len(h) && h[i].From <= at {
				h[i].Count += size
			}
		}
	}
	return s
}

// multiplyCounts makes each event a batch that stays on its pod.
func (s *trafficSimulation) multiplyCounts(batch float64) *trafficSimulation {
	for _, h := range s.pods {
		for i := range h {
			h[i].Count *= batch
		}
	}
	return s
}

// expectedRequests returns the expected number of requests from 0 to a time.
func expectedRequests(truth trueLoad, seconds float64) func(float64) float64 {
	const fine = 0.02
	sums := make([]float64, int(seconds/fine)+3)
	for i := 1; i < len(sums); i++ {
		sums[i] = sums[i-1] + fine*truth((float64(i)-0.5)*fine)
	}
	return func(t float64) float64 {
		i := int(t / fine)
		return sums[i] + (t/fine-float64(i))*(sums[i+1]-sums[i])
	}
}

// drawPoisson draws a number of events (Knuth's product of uniforms, in parts whose exponential does not vanish).
func drawPoisson(r *rand.Rand, mean float64) (n float64) {
	for mean > 0 {
		part := min(mean, 30)
		mean -= part
		for limit, p := math.Exp(-part), r.Float64(); p > limit; p *= r.Float64() {
			n++
		}
	}
	return n
}

// advanceTo lets time pass until now, in milliseconds, which must not decrease.
func (s *trafficSimulation) advanceTo(now int64) {
	const kept = 40 // 76 s, as the store keeps
	for p, h := range s.pods {
		for s.seen[p] < len(h) && h[s.seen[p]].To <= now {
			s.seen[p]++
		}
		s.view[p] = h[max(0, s.seen[p]-kept):s.seen[p]]
	}
}

// autoTotal returns the served total with the window of Choose.
func (s *trafficSimulation) autoTotal(now int64) (total float64, window time.Duration) {
	window = Choose(Counter{Pods: s.view}, now, longest)
	return s.windowTotal(now, window), window
}

// windowTotal returns the sum of the pods' rates over a window, as rate computes them: from the increments within it,
// at least the newest.
func (s *trafficSimulation) windowTotal(now int64, window time.Duration) (total float64) {
	for _, h := range s.view {
		n, span := 0.0, int64(0)
		for i := len(h) - 1; i >= 0 && (span == 0 || h[i].From > now-window.Milliseconds()); i-- {
			n += h[i].Count
			span += h[i].To - h[i].From
		}
		if span > 0 {
			total += 1000 * n / float64(span)
		}
	}
	return total
}

// informedTotal returns the total over a window that begins at the step at a time in seconds. It includes the newest
// increment of each pod: as good as windows can be.
func (s *trafficSimulation) informedTotal(now int64, at float64) float64 {
	since := float64(now)/1000 - at
	return s.windowTotal(now, time.Duration(max(since, 2*interval)*float64(time.Second)))
}
