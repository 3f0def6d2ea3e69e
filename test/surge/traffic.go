// Package surge plays the surge lane over simulated traffic: hours of steady load, in which it must raise nothing, and steps, which it
// must see at once. The window is the adapter's, the arithmetic the HPA's, and time is virtual.
package surge

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/window"
)

const (
	scrapeInterval = 2.0 // seconds
	scrapeJitter   = 0.1 // greatest delay of a scrape, in seconds
	longestWindow  = time.Minute
	// keptIncrements of a pod are a little more than the longest window.
	keptIncrements  = 40
	adapterReplicas = 2
	leastStretch    = 4 * time.Second  // two scrape intervals
	settlesAfter    = 10 * time.Second // five scrape intervals
)

// arrival is a number of requests at a time, in seconds. pod is the only pod that gets them; -1: each goes to any pod.
type arrival struct {
	at    float64
	count int
	pod   int
}

// trafficKind is a kind of load at one mean rate, in requests per second.
type trafficKind struct {
	name string
	rate float64
	// leastHours are played in any case.
	leastHours float64
	// next returns the arrival after a time.
	next func(r *rand.Rand, pods int, after float64) arrival
}

// poissonKind returns requests that arrive alone.
func poissonKind(name string, rate float64) trafficKind { return batchKind(name, rate, 1, true) }

// batchKind returns requests in batches. A batch is spread over the pods, or stays on one.
func batchKind(name string, rate, size float64, isSpread bool) trafficKind {
	return trafficKind{name: name, rate: rate, next: func(r *rand.Rand, pods int, after float64) arrival {
		a := arrival{at: after + r.ExpFloat64()*size/rate, count: int(size), pod: -1}
		if !isSpread {
			a.pod = r.IntN(pods)
		}
		return a
	}}
}

// cronKind returns a job on each pod that sends size requests at once every period seconds, a tenth sooner or later.
func cronKind(name string, size int, period float64, pods int) trafficKind {
	return trafficKind{name: name, rate: float64(size*pods) / period, next: func(r *rand.Rand, _ int, after float64) arrival {
		slot := period / float64(pods) // the pods' jobs are apart
		i := math.Floor(after/slot) + 1
		return arrival{at: i*slot + 0.2*slot*(r.Float64()-0.5), count: size, pod: int(i) % pods}
	}}
}

// selfSimilarKind returns requests of many sources that are on and off for times without a typical length (Pareto, exponent 1.4).
func selfSimilarKind(name string, rate float64) trafficKind {
	const sources, shape, shortest = 20, 1.4, 1.0
	type source struct {
		until float64
		isOn  bool
	}
	all, on := make([]source, sources), 0
	return trafficKind{name: name, rate: rate, next: func(r *rand.Rand, _ int, after float64) arrival {
		for i := range all {
			for s := &all[i]; s.until <= after; {
				if s.isOn {
					on--
				}
				s.isOn = !s.isOn
				if s.isOn {
					on++
				}
				s.until += shortest * math.Pow(1-r.Float64(), -1/shape)
			}
		}
		perSource := 2 * rate / sources // half of the sources are on
		return arrival{at: after + r.ExpFloat64()/(perSource*math.Max(1, float64(on))), count: 1, pod: -1}
	}}
}

// podTraffic is the traffic of some pods, as the replicas of an adapter scrape it. A read goes to any of them, or to another than the last.
type podTraffic struct {
	replicas []*adapterReplica
	reads    *rand.Rand // choose the replica
	answered int        // replica of the latest read
	// restartedAt is the time, in milliseconds, at which the adapter began anew, without a history.
	restartedAt int64
	// youngAt and movedAt are the times, in milliseconds, at which the first and the last of some pods began; 0: none did.
	youngAt, movedAt int64
}

// adapterReplica has the increments that a replica of the adapter sees, between scrapes at phases of its own.
type adapterReplica struct {
	pods []window.History // all increments
	seen []int            // increments of each pod that are scraped
	view []window.History // what the adapter keeps
}

// trafficPhase is a kind of load until a time, in seconds.
type trafficPhase struct {
	trafficKind
	until float64
}

// playTraffic plays a kind of load for some seconds on pods that are scraped at phases of their own.
func playTraffic(k trafficKind, seed uint64, pods int, seconds float64) *podTraffic {
	return playTrafficPhases(seed, pods, trafficPhase{k, seconds})
}

// playTrafficPhases is playTraffic with one kind of load after another.
func playTrafficPhases(seed uint64, pods int, phases ...trafficPhase) *podTraffic {
	r := rand.New(rand.NewPCG(seed, 17))
	t, began := &podTraffic{reads: rand.New(rand.NewPCG(seed, 37))}, 0.0
	for range adapterReplicas {
		t.replicas = append(t.replicas, scheduleScrapes(r, pods, phases[len(phases)-1].until))
	}
	for _, phase := range phases {
		for a := phase.next(r, pods, began); a.at < phase.until; a = phase.next(r, pods, a.at) {
			t.countArrival(r, a)
		}
		began = phase.until
	}
	return t
}

// scheduleScrapes returns pods with their scrapes, and no requests.
func scheduleScrapes(r *rand.Rand, pods int, seconds float64) *adapterReplica {
	t := &adapterReplica{pods: make([]window.History, pods), seen: make([]int, pods), view: make([]window.History, pods)}
	for p := range t.pods {
		last := -1.0
		for due := scrapeInterval * r.Float64(); due < seconds+scrapeInterval; due += scrapeInterval {
			at := due + scrapeJitter*r.Float64()
			if last >= 0 {
				t.pods[p] = append(t.pods[p], window.Increment{From: int64(1000 * last), To: int64(1000 * at)})
			}
			last = at
		}
	}
	return t
}

func (t *podTraffic) countArrival(r *rand.Rand, a arrival) {
	if a.pod >= 0 {
		t.countOnPod(a.pod, a.at, float64(a.count))
		return
	}
	for range a.count {
		t.countOnPod(r.IntN(len(t.replicas[0].pods)), a.at, 1)
	}
}

func (t *podTraffic) countOnPod(pod int, at, count float64) {
	millis := int64(1000 * at)
	for _, a := range t.replicas {
		h := a.pods[pod]
		i := sort.Search(len(h), func(i int) bool { return h[i].To > millis })
		if i < len(h) && h[i].From <= millis {
			h[i].Count += count
		}
	}
}

// nameReplica returns the name of the replica of the latest read.
func (t *podTraffic) nameReplica() string { return fmt.Sprint("adapter-", t.answered) }

// chooseReplica lets any replica answer, but the one with a name.
func (t *podTraffic) chooseReplica(otherThan string) *adapterReplica {
	if t.answered = t.reads.IntN(len(t.replicas)); t.nameReplica() == otherThan {
		t.answered = (t.answered + 1) % len(t.replicas)
	}
	return t.replicas[t.answered]
}

// readTotal returns the total rate that a replica of the adapter other than the named one serves at a time in milliseconds, its window, and
// the time of the newest sample.
func (t *podTraffic) readTotal(now int64, otherThan string) (total float64, over time.Duration, newest int64) {
	a := t.chooseReplica(otherThan)
	end := a.scrapeUntil(now, t.restartedAt)
	for _, h := range a.view {
		if len(h) > 0 {
			newest = max(newest, h[len(h)-1].To)
		}
	}
	over = min(window.Choose(window.Counter{Pods: a.view}, now, longestWindow), time.Duration(now-t.restartedAt)*time.Millisecond)
	if t.isOverStretch(now, over) {
		over = max(window.ChooseTotal(window.Counter{Pods: a.view}, end, longestWindow), leastStretch)
		return a.countBetween(end-over.Milliseconds(), end) / over.Seconds(), over, newest
	}
	for _, h := range a.view {
		n, span := 0.0, int64(0)
		for i := len(h) - 1; i >= 0 && (span == 0 || h[i].From > now-over.Milliseconds()); i-- {
			n += h[i].Count
			span += h[i].To - h[i].From
		}
		if span > 0 {
			total += 1000 * n / float64(span)
		}
	}
	return total, over, newest
}

// beginPods notes that pods begin.
func (t *podTraffic) beginPods(at int64) {
	if at >= t.movedAt+longestWindow.Milliseconds() {
		t.youngAt = at
	}
	t.movedAt = at
}

// isOverStretch reports whether the adapter reads all pods over a common stretch: pods began within the longest window, and no step that
// came after their load had settled has ended the window.
func (t *podTraffic) isOverStretch(now int64, over time.Duration) bool {
	isYoung := t.youngAt > 0 && now > t.youngAt && now < t.movedAt+longestWindow.Milliseconds()
	return isYoung && (over == longestWindow || now-over.Milliseconds() < t.movedAt+settlesAfter.Milliseconds())
}

// scrapeUntil lets the replica see what it scrapes until now, without what is before a restart. It returns the time until which it has seen
// all pods.
func (a *adapterReplica) scrapeUntil(now, restartedAt int64) (end int64) {
	end = now
	for p, h := range a.pods {
		for a.seen[p] < len(h) && h[a.seen[p]].To <= now {
			a.seen[p]++
		}
		a.view[p] = h[max(0, a.seen[p]-keptIncrements):a.seen[p]]
		for len(a.view[p]) > 0 && a.view[p][0].From < restartedAt {
			a.view[p] = a.view[p][1:]
		}
		if seen := a.view[p]; len(seen) > 0 {
			end = min(end, seen[len(seen)-1].To)
		}
	}
	return end
}

// countBetween returns the requests of all pods between two times, by interpolation.
func (a *adapterReplica) countBetween(from, to int64) (count float64) {
	for _, h := range a.view {
		for _, i := range h {
			count += i.Count * float64(max(0, min(i.To, to)-max(i.From, from))) / float64(i.To-i.From)
		}
	}
	return count
}
