package window

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// change is a step, and until when the served total must be right after it, in seconds; 0 if nothing is promised.
type change struct {
	from, to, deadline float64
}

const (
	settled  = 70                 // seconds before a step, so that the longest window is full
	upWithin = 2*interval + 0.5   // seconds: what is promised of steps up of ×3 or more, from 40/s or more
	dnWithin = 4 * interval       // seconds: what is promised of steps down
	poll     = int64(100)         // milliseconds between two looks at the served total
	patience = 60.0               // seconds after a step, when nobody waits any longer
	syncs    = int64(15_000)      // milliseconds between two looks of the HPA
	hour     = int64(3600 * 1000) // milliseconds
)

var changes = []change{
	{40, 60, 0}, {40, 120, upWithin}, {40, 400, upWithin}, {400, 600, 0}, {400, 1200, upWithin}, {400, 4000, upWithin},
	{5, 15, 0}, {5, 50, 0}, {0, 40, 0}, {0, 400, 0},
	{60, 40, 0}, {120, 40, dnWithin}, {400, 40, dnWithin}, {600, 400, 0}, {1200, 400, dnWithin}, {4000, 400, dnWithin},
	{15, 5, 0}, {50, 5, 0}, {40, 0, dnWithin}, {400, 0, dnWithin},
}

// right reports whether a total is within 10 % of the truth; of none at all, within 1 % of what it was.
func (c change) right(total float64) bool {
	if c.to == 0 {
		return total <= 0.01*c.from
	}
	return math.Abs(total-c.to) <= 0.1*c.to
}

// reaction is how served totals follow a step, over several seeds.
type reaction struct {
	lags []float64 // seconds until a total is right first, ascending
	held float64   // share of the totals that are right at the deadline, in per cent
}

func (r reaction) quantile(q float64) float64 {
	return r.lags[min(len(r.lags)-1, int(q*float64(len(r.lags))))]
}

// String is the median and the 95th percentile.
func (r reaction) String() string {
	return fmt.Sprintf("%.1f, %.1f", r.quantile(0.5), r.quantile(0.95))
}

// within is the share, in per cent, that is no longer than that.
func (r reaction) within(seconds float64) float64 {
	i, _ := slices.BinarySearch(r.lags, seconds+1e-9)
	return 100 * float64(i) / float64(len(r.lags))
}

// observe looks at the total so many seconds after the step of the newest seed, if there is still something to learn
// from it.
func (r *reaction) observe(c change, since float64, total func() float64) {
	newest := &r.lags[len(r.lags)-1]
	last := since <= c.deadline && since > c.deadline-float64(poll)/1000
	if *newest < patience && !last || !c.right(total()) {
		return
	}
	*newest = min(*newest, since)
	if last {
		r.held++
	}
}

// measure returns the reactions with the window that Choose chooses, and with one that begins at the step.
func (c change) measure(pods, seeds int) (auto, informed reaction) {
	for seed := range uint64(seeds) {
		at := settled + interval*rand.New(rand.NewPCG(seed, 3)).Float64()
		s := simulate(seed, pods, settled+patience+interval, step(c.from, c.to, at))
		auto.lags, informed.lags = append(auto.lags, patience), append(informed.lags, patience)
		for now := int64(1000*at)/poll*poll + poll; ; now += poll {
			since := float64(now)/1000 - at
			if known := auto.lags[seed] < patience && informed.lags[seed] < patience; since >= patience || known && since > c.deadline {
				break
			}
			s.at(now)
			auto.observe(c, since, func() float64 { total, _ := s.auto(now); return total })
			informed.observe(c, since, func() float64 { return s.informed(now, at) })
		}
	}
	for _, r := range []*reaction{&auto, &informed} {
		slices.Sort(r.lags)
		r.held *= 100 / float64(seeds)
	}
	return auto, informed
}

// calm is how much served totals vary at a steady rate.
type calm struct {
	ratio           float64 // standard deviation, as a multiple of that of the longest window
	short           float64 // share of reads that got a shorter window than the longest, in per cent
	most, plainMost float64 // the greatest total, as a multiple of the truth, and that over the longest window
}

// measureCalm looks at a steady rate of requests that come in batches of that many.
func measureCalm(rate, batch float64, pods int, seconds float64) calm {
	s := simulate(1, pods, seconds, steady(rate/batch))
	for _, h := range s.pods {
		for i := range h {
			h[i].Count *= batch
		}
	}
	var c calm
	var auto, plain float64
	reads := 0
	for now := int64(settled * 1000); now < int64(seconds*1000); now += 500 {
		s.at(now)
		total, w := s.auto(now)
		auto += (total - rate) * (total - rate)
		over := s.total(now, longest)
		plain += (over - rate) * (over - rate)
		if w < longest {
			c.short++
		}
		c.most, c.plainMost = max(c.most, total/rate), max(c.plainMost, over/rate)
		reads++
	}
	c.ratio = math.Sqrt(auto / plain)
	c.short *= 100 / float64(reads)
	return c
}

// misses is by how much the served total is off on average, in requests per second, with the window that Choose chooses
// and with the longest.
func misses(truth load, pods int, seconds float64) (auto, plain float64) {
	s := simulate(1, pods, seconds, truth)
	reads := 0.0
	for now := int64(settled * 1000); now < int64(seconds*1000); now += 500 {
		s.at(now)
		total, _ := s.auto(now)
		auto += math.Abs(total - truth(float64(now)/1000))
		plain += math.Abs(s.total(now, longest) - truth(float64(now)/1000))
		reads++
	}
	return auto / reads, plain / reads
}

// hpa is the HorizontalPodAutoscaler's rule with Kubernetes' defaults: a tolerance of 10 %, up at once, down to the
// most that was recommended in 300 s.
type hpa struct {
	target      float64 // requests per second and pod
	replicas    float64
	recommended []float64 // newest last
}

func (h *hpa) see(total float64) {
	recommended := h.replicas
	if ratio := total / (h.replicas * h.target); math.Abs(ratio-1) > 0.1 {
		recommended = math.Ceil(h.replicas * ratio)
	}
	h.recommended = append(h.recommended, recommended)
	if kept := int(300_000 / syncs); len(h.recommended) > kept {
		h.recommended = h.recommended[1:]
	}
	h.replicas = slices.Max(h.recommended)
}

// asked is what an HPA asks for in an hour: the most replicas, and on average.
type asked struct{ most, mean float64 }

// measureHPA lets two HPAs look at an hour of steady traffic for four replicas, one with the window that Choose chooses
// and one with the longest. Each has the looks at a phase of its own.
func measureHPA(rate float64, pods int, seed uint64) (auto, plain asked) {
	s := simulate(seed, pods, settled+3601, steady(rate))
	a, p := hpa{target: rate / 4, replicas: 4}, hpa{target: rate / 4, replicas: 4}
	looks := float64(hour / syncs)
	for now := int64(settled * 1000); now < settled*1000+hour; now += syncs {
		s.at(now)
		total, _ := s.auto(now)
		a.see(total)
		p.see(s.total(now, longest))
		auto = asked{max(auto.most, a.replicas), auto.mean + a.replicas/looks}
		plain = asked{max(plain.most, p.replicas), plain.mean + p.replicas/looks}
	}
	return auto, plain
}
