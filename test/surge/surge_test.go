package surge

import (
	"flag"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	lane "github.com/tachometer-metrics/tachometer/pkg/scaler/surge"
)

var (
	hours = flag.Float64("hours", 0.25, "simulated `hours` of each kind of traffic, each hour on its own; docs/surge.md has 50")
	seeds = flag.Int("seeds", 2, "least simulations of a kind, each with a seed of its own")
	steps = flag.Int("steps", 200, "simulated steps")
)

const simPods = 4

// splitHours returns the number of simulations for some hours, and the end of each, in milliseconds. Each has an hour at most, and all of them
// have at least the hours.
func splitHours(hours float64) (simulations int, end int64) {
	return max(*seeds, int(math.Ceil(hours))), settleMillis + int64(3_600_000*min(hours, 1))
}

// countHours returns the hours of all simulations.
func countHours(hours float64) float64 {
	simulations, _ := splitHours(hours)
	return float64(simulations) * min(hours, 1)
}

// steadyKinds are the kinds of steady traffic of pkg/adapter/window/REPORT.md.
func steadyKinds() []trafficKind {
	rare := batchKind("4 requests/s in batches of 20, spread", 4, 20, true)
	rare.leastHours = 3 // in these the shortened window alone would raise
	return []trafficKind{
		poissonKind("1 request/s", 1), poissonKind("5 requests/s", 5), poissonKind("40 requests/s", 40), poissonKind("400 requests/s", 400),
		batchKind("40 requests/s in batches of 5, each on one pod", 40, 5, false),
		batchKind("40 requests/s in batches of 10, each on one pod", 40, 10, false),
		batchKind("400 requests/s in batches of 10, each on one pod", 400, 10, false),
		rare,
		batchKind("40 requests/s in batches of 10, spread", 40, 10, true),
		batchKind("400 requests/s in batches of 10, spread", 400, 10, true),
		cronKind("a job of 100 requests on each pod every 10 s", 100, 10, simPods),
		cronKind("a job of 50 requests on each pod every 30 s", 50, 30, simPods),
	}
}

// TestSteadyTraffic: steady traffic, for which an autoscaler keeps four pods, raises nothing.
func TestSteadyTraffic(t *testing.T) {
	t.Parallel()
	for _, k := range steadyKinds() {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			played := max(*hours, k.leastHours)
			for _, isQuick := range []bool{false, true} {
				raises, most := playHours(k, played, isQuick)
				t.Logf("quick way down %t: %d raises in %g h; at most %d replicas", isQuick, raises, countHours(played), most)
				if raises > 0 {
					t.Errorf("quick way down %t: %d raises in %g h, want none", isQuick, raises, countHours(played))
				}
			}
		})
	}
}

// playHours plays hours of a kind, each on its own, beside an autoscaler whose way down may be quick, and returns the raises and the most replicas.
func playHours(k trafficKind, hours float64, isQuick bool) (raises int, most int32) {
	simulations, end := splitHours(hours)
	for hour := range simulations {
		p := newLanePlayer(playTraffic(k, uint64(hour)+1, simPods, float64(end)/1000), k.rate/simPods, simPods, lane.ModeAct)
		if isQuick {
			p.quickenWayDown()
		}
		turn := rand.New(rand.NewPCG(uint64(hour), 5)).Int64N(periodMillis) / lookMillis
		for now := int64(70_000); now < end; now += lookMillis {
			p.lookAt(now, now/lookMillis%(periodMillis/lookMillis) == turn)
			most = max(most, p.replicas)
		}
		raises += p.raises
	}
	return raises, most
}

// TestStep: after a step from 40 to 400 requests/s the lane wants 18 of 20 pods, 95 times in 100 within 5 s.
func TestStep(t *testing.T) {
	t.Parallel()
	var lags []float64
	for seed := range uint64(*steps) {
		r := rand.New(rand.NewPCG(seed, 23))
		stepAt := float64(settleMillis)/1000 + scrapeInterval*r.Float64()
		p := newLanePlayer(playTrafficPhases(seed, 2, trafficPhase{poissonKind("before", 40), stepAt}, trafficPhase{poissonKind("after", 400), stepAt + 70}), 20, 2, lane.ModeAct)
		phase := int64(r.IntN(lookMillis))
		p.goal = 18
		for now := 70_000 + phase; float64(now) < 1000*stepAt+60_000 && p.reachedAt == 0; now += lookMillis {
			p.lookAt(now, false)
		}
		if p.reachedAt == 0 {
			t.Fatalf("seed %d: %d replicas 60 s after the step", seed, p.replicas)
		}
		lags = append(lags, float64(p.reachedAt)/1000-stepAt)
	}
	slices.Sort(lags)
	p50, p95 := lags[len(lags)/2], lags[len(lags)*95/100]
	t.Logf("18 pods wanted after %.1f s (median), %.1f s (95th percentile), %.1f s (greatest) of %d steps", p50, p95, lags[len(lags)-1], len(lags))
	if p95 > 5 {
		t.Errorf("the 95th percentile is %.1f s, want 5", p95)
	}
}

// TestStepAfterStep: a step is seen as soon as the first, however shortly it follows ways up and down.
func TestStepAfterStep(t *testing.T) {
	t.Parallel()
	const rounds = 6
	var lags []float64
	for seed := range uint64(max(4, *steps/rounds)) {
		lags = append(lags, playRounds(t, seed, rounds)...)
	}
	slices.Sort(lags)
	p50, p95 := lags[len(lags)/2], lags[len(lags)*95/100]
	t.Logf("18 pods wanted after %.1f s (median), %.1f s (95th percentile), %.1f s (greatest) of %d steps", p50, p95, lags[len(lags)-1], len(lags))
	if p95 > 5 || lags[len(lags)-1] > 12 {
		t.Errorf("the 95th percentile is %.1f s, want 5; the greatest is %.1f s, want 12", p95, lags[len(lags)-1])
	}
}

// playRounds steps the load up and down between 40 and 400 requests/s, beside an autoscaler that removes pods soon. It returns the
// seconds from each step up until 18 pods are wanted.
func playRounds(t *testing.T, seed uint64, rounds int) (lags []float64) {
	t.Helper()
	const high, leastLow, moreLow = 75.0, 30.0, 100.0 // seconds of the loads
	r := rand.New(rand.NewPCG(seed, 29))
	var phases []trafficPhase
	var stepsAt []float64
	for at := float64(settleMillis) / 1000; len(stepsAt) < rounds; at += high + leastLow + moreLow*r.Float64() {
		stepsAt = append(stepsAt, at)
		phases = append(phases, trafficPhase{poissonKind("low", 40), at}, trafficPhase{poissonKind("high", 400), at + high})
	}
	p := newLanePlayer(playTrafficPhases(seed, 2, phases...), 20, 2, lane.ModeAct)
	p.quickenWayDown()
	p.goal = 18
	turn := r.Int64N(periodMillis / lookMillis)
	for now := 70_000 + r.Int64N(lookMillis); len(lags) < rounds; now += lookMillis {
		switch since := float64(now)/1000 - stepsAt[len(lags)]; {
		case since < 0:
			p.reachedAt = 0
		case p.reachedAt > 0:
			lags = append(lags, float64(p.reachedAt)/1000-stepsAt[len(lags)])
			continue
		case since > 60:
			t.Fatalf("seed %d: %d replicas 60 s after step %d", seed, p.replicas, len(lags)+1)
		}
		p.lookAt(now, now/lookMillis%(periodMillis/lookMillis) == turn)
	}
	return lags
}

// TestRestartedAdapter: an adapter that begins anew serves steady traffic over short windows, and this raises nothing.
func TestRestartedAdapter(t *testing.T) {
	t.Parallel()
	for _, rate := range []float64{5, 40, 400} {
		for seed := range uint64(30) {
			traffic := playTraffic(poissonKind("steady", rate), seed, simPods, 280)
			p := newLanePlayer(traffic, rate/simPods, simPods, lane.ModeAct)
			for now := int64(70_000); now < 280_000; now += lookMillis {
				if now == 200_000 {
					traffic.restartedAt = now - 5000 // it serves after two scrapes of each pod
				}
				p.lookAt(now, now%periodMillis < lookMillis)
			}
			if p.raises > 0 {
				t.Errorf("%g requests/s, seed %d: %d raises", rate, seed, p.raises)
			}
		}
	}
}

// TestSelfSimilarTraffic: bursts without a typical length cost few raises, and hardly any pods more than the autoscaler alone.
func TestSelfSimilarTraffic(t *testing.T) {
	t.Parallel()
	const rate, replicas = 200, 10
	var podMillis [2]int64
	raises := 0
	simulations, end := splitHours(*hours)
	for hour := range simulations {
		for i, mode := range []lane.Mode{lane.ModeObserve, lane.ModeAct} {
			traffic := playTraffic(selfSimilarKind("self-similar", rate), uint64(hour), simPods, float64(end)/1000)
			p := newLanePlayer(traffic, rate/replicas, replicas, mode)
			for now := int64(70_000); now < end; now += lookMillis {
				p.lookAt(now, now%periodMillis < lookMillis)
			}
			podMillis[i] += p.podMillis
			if mode == lane.ModeAct {
				raises += p.raises
			}
		}
	}
	more := float64(podMillis[1])/float64(podMillis[0]) - 1
	t.Logf("%d raises in %g h; %.1f pod-hours, %.2f %% more than the autoscaler alone", raises, countHours(*hours), float64(podMillis[1])/3.6e6, 100*more)
	if more > 0.02 {
		t.Errorf("%.2f %% more pod-hours, want at most 2 %%", 100*more)
	}
}

// TestPodHoursOfSurges: over a day (-hours 24) with a surge of ten minutes each hour, the lane costs hardly any pods more than the autoscaler alone. The
// rest of each hour has two pods with and without it, and is not played.
func TestPodHoursOfSurges(t *testing.T) {
	t.Parallel()
	const length, end, restMillis, pods = 600.0, 1200.0, 2_400_000, 2 // seconds of the surge, and of what is played of an hour
	var podMillis [2]int64
	played := uint64(max(6, min(24, *hours)))
	for hour := range played {
		stepAt := settleMillis/1000 + 10*rand.New(rand.NewPCG(hour, 31)).Float64()
		for i, mode := range []lane.Mode{lane.ModeObserve, lane.ModeAct} {
			p := newLanePlayer(playTrafficPhases(hour, pods, trafficPhase{poissonKind("low", 40), stepAt},
				trafficPhase{poissonKind("high", 400), stepAt + length}, trafficPhase{poissonKind("low", 40), end}), 20, pods, mode)
			for now := int64(70_000); float64(now) < 1000*end; now += lookMillis {
				p.lookAt(now, now%periodMillis < lookMillis)
			}
			podMillis[i] += p.podMillis + pods*restMillis
			if mode == lane.ModeAct && p.raises != 1 {
				t.Errorf("hour %d: %d raises, want 1", hour, p.raises)
			}
		}
	}
	more := float64(podMillis[1])/float64(podMillis[0]) - 1
	t.Logf("%d hours with a surge each: %.1f pod-hours, %.2f %% more than the autoscaler alone", played, float64(podMillis[1])/3.6e6, 100*more)
	if more > 0.02 {
		t.Errorf("%.2f %% more pod-hours, want at most 2 %%", 100*more)
	}
}
