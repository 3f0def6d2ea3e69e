// Measurements on simulated traffic, shared by the report and the asserted targets.

package window

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// loadStep is a step, with the seconds until the served total must be right; 0 without a promise.
type loadStep struct {
	from, to, deadline float64
}

const (
	settleSeconds      = 70                 // seconds before a step, so that the longest window is full
	upWithin           = 2*interval + 0.5   // seconds: the promise for steps up of ×3 or more, from 40/s or more
	downWithin         = 4 * interval       // seconds: the promise for steps down
	pollMillis         = int64(100)         // milliseconds between two reads of the served total
	maxReactionSeconds = 60.0               // seconds after a step until the measurement ends
	syncMillis         = int64(15_000)      // milliseconds between two reads of the HPA
	hourMillis         = int64(3600 * 1000) // milliseconds
)

var loadSteps = []loadStep{
	{40, 60, 0}, {40, 120, upWithin}, {40, 400, upWithin}, {400, 600, 0}, {400, 1200, upWithin}, {400, 4000, upWithin},
	{5, 15, 0}, {5, 50, 0}, {0, 40, 0}, {0, 400, 0},
	{60, 40, 0}, {120, 40, downWithin}, {400, 40, downWithin}, {600, 400, 0}, {1200, 400, downWithin}, {4000, 400, downWithin},
	{15, 5, 0}, {50, 5, 0}, {40, 0, downWithin}, {400, 0, downWithin},
}

// isWithinTolerance returns whether a total is within 10 % of the truth. After a step to zero it allows 1 % of the
// former load.
func (c loadStep) isWithinTolerance(total float64) bool {
	if c.to == 0 {
		return total <= 0.01*c.from
	}
	return math.Abs(total-c.to) <= 0.1*c.to
}

// stepReaction describes how served totals follow a step, over several seeds.
type stepReaction struct {
	lags []float64 // seconds until the first right total, ascending
}

func (r stepReaction) lagQuantile(q float64) float64 {
	return r.lags[min(len(r.lags)-1, int(q*float64(len(r.lags))))]
}

// String returns the median and the 95th percentile.
func (r stepReaction) String() string {
	return fmt.Sprintf("%.1f, %.1f", r.lagQuantile(0.5), r.lagQuantile(0.95))
}

// lagShare returns the per cent of lags up to a limit.
func (r stepReaction) lagShare(seconds float64) float64 {
	i, _ := slices.BinarySearch(r.lags, seconds+1e-9)
	return 100 * float64(i) / float64(len(r.lags))
}

// observeTotal evaluates the total some seconds after the step of the newest seed, unless an earlier total was right.
func (r *stepReaction) observeTotal(c loadStep, since float64, total func() float64) {
	if newest := &r.lags[len(r.lags)-1]; *newest == maxReactionSeconds && c.isWithinTolerance(total()) {
		*newest = since
	}
}

// measureReactions returns the reactions with the window of Choose, and with a window that begins at the step.
func (c loadStep) measureReactions(pods, seeds int) (auto, informed stepReaction) {
	for seed := range uint64(seeds) {
		at := settleSeconds + interval*rand.New(rand.NewPCG(seed, 3)).Float64()
		s := simulateTraffic(seed, pods, settleSeconds+maxReactionSeconds+interval, stepLoad(c.from, c.to, at))
		auto.lags, informed.lags = append(auto.lags, maxReactionSeconds), append(informed.lags, maxReactionSeconds)
		for now := int64(1000*at)/pollMillis*pollMillis + pollMillis; ; now += pollMillis {
			since := float64(now)/1000 - at
			if known := auto.lags[seed] < maxReactionSeconds && informed.lags[seed] < maxReactionSeconds; since >= maxReactionSeconds || known {
				break
			}
			s.advanceTo(now)
			auto.observeTotal(c, since, func() float64 { total, _ := s.autoTotal(now); return total })
			informed.observeTotal(c, since, func() float64 { return s.informedTotal(now, at) })
		}
	}
	for _, r := range []*stepReaction{&auto, &informed} {
		slices.Sort(r.lags)
	}
	return auto, informed
}

// measureManySteps returns the reactions to steps up and down between two rates, 10 s to 18 s after each other, in ten minutes of each seed.
func measureManySteps(low, high float64, pods, seeds int) (up, down stepReaction) {
	const seconds = 600.0
	for seed := range uint64(seeds) {
		r := rand.New(rand.NewPCG(seed, 41))
		var steps []float64
		for at := settleSeconds + 10.0; at < seconds; at += 10 + 8*r.Float64() {
			steps = append(steps, at)
		}
		load := func(t float64) float64 {
			if i, _ := slices.BinarySearch(steps, t+1e-9); i%2 == 1 {
				return high
			}
			return low
		}
		s := simulateTraffic(seed, pods, seconds, load)
		for i, at := range steps[:len(steps)-1] {
			reaction, c := &up, loadStep{from: low, to: high}
			if i%2 == 1 {
				reaction, c = &down, loadStep{from: high, to: low}
			}
			reaction.lags = append(reaction.lags, maxReactionSeconds)
			for now := int64(1000*at)/pollMillis*pollMillis + pollMillis; float64(now) < 1000*steps[i+1]; now += pollMillis {
				s.advanceTo(now)
				reaction.observeTotal(c, float64(now)/1000-at, func() float64 { total, _ := s.autoTotal(now); return total })
			}
		}
	}
	slices.Sort(up.lags)
	slices.Sort(down.lags)
	return up, down
}

// steadyVariation describes how much served totals vary at a steady rate.
type steadyVariation struct {
	ratio                   float64 // standard deviation, as a multiple of the longest window's
	shortShare              float64 // per cent of reads with a shorter window than the longest
	maxRatio, plainMaxRatio float64 // the greatest total, as a multiple of the truth; plain: over the longest window
}

// measureSteady measures a steady rate of requests that come in batches, each to one pod.
func measureSteady(rate, batch float64, pods int, seconds float64) steadyVariation {
	return simulateTraffic(1, pods, seconds, steadyLoad(rate/batch)).multiplyCounts(batch).measureVariation(rate, seconds)
}

// measureVariation measures the served totals of a simulation at a steady rate.
func (s *trafficSimulation) measureVariation(rate, seconds float64) steadyVariation {
	var c steadyVariation
	var auto, plain float64
	reads := 0
	for now := int64(settleSeconds * 1000); now < int64(seconds*1000); now += 500 {
		s.advanceTo(now)
		total, w := s.autoTotal(now)
		auto += (total - rate) * (total - rate)
		over := s.windowTotal(now, longest)
		plain += (over - rate) * (over - rate)
		if w < longest {
			c.shortShare++
		}
		c.maxRatio, c.plainMaxRatio = max(c.maxRatio, total/rate), max(c.plainMaxRatio, over/rate)
		reads++
	}
	c.ratio = math.Sqrt(auto / plain)
	c.shortShare *= 100 / float64(reads)
	return c
}

// meanErrors returns the mean error of the served total in requests per second, with the window of Choose and with
// the longest.
func meanErrors(truth trueLoad, pods int, seconds float64) (auto, plain float64) {
	s := simulateTraffic(1, pods, seconds, truth)
	reads := 0.0
	for now := int64(settleSeconds * 1000); now < int64(seconds*1000); now += 500 {
		s.advanceTo(now)
		total, _ := s.autoTotal(now)
		auto += math.Abs(total - truth(float64(now)/1000))
		plain += math.Abs(s.windowTotal(now, longest) - truth(float64(now)/1000))
		reads++
	}
	return auto / reads, plain / reads
}

// simHPA follows the HorizontalPodAutoscaler's rule with Kubernetes' defaults: a tolerance of 10 %, up at once, down
// to the greatest recommendation of the last 300 s.
type simHPA struct {
	target      float64 // requests per second and pod
	replicas    float64
	recommended []float64 // newest last
}

func (h *simHPA) observeTotal(total float64) {
	recommended := h.replicas
	if ratio := total / (h.replicas * h.target); math.Abs(ratio-1) > 0.1 {
		recommended = math.Ceil(h.replicas * ratio)
	}
	h.recommended = append(h.recommended, recommended)
	if kept := int(300_000 / syncMillis); len(h.recommended) > kept {
		h.recommended = h.recommended[1:]
	}
	h.replicas = slices.Max(h.recommended)
}

// requestedReplicas are the replicas that an HPA requests in an hour: the most, and the mean.
type requestedReplicas struct{ maximum, mean float64 }

// measureHPA runs two HPAs for an hour of steady traffic for four replicas, with the window of Choose and with the
// longest. Each reads at a phase of its own.
func measureHPA(rate float64, pods int, seed uint64) (auto, plain requestedReplicas) {
	s := simulateTraffic(seed, pods, settleSeconds+3601, steadyLoad(rate))
	a, p := simHPA{target: rate / 4, replicas: 4}, simHPA{target: rate / 4, replicas: 4}
	looks := float64(hourMillis / syncMillis)
	for now := int64(settleSeconds * 1000); now < settleSeconds*1000+hourMillis; now += syncMillis {
		s.advanceTo(now)
		total, _ := s.autoTotal(now)
		a.observeTotal(total)
		p.observeTotal(s.windowTotal(now, longest))
		auto = requestedReplicas{max(auto.maximum, a.replicas), auto.mean + a.replicas/looks}
		plain = requestedReplicas{max(plain.maximum, p.replicas), plain.mean + p.replicas/looks}
	}
	return auto, plain
}
