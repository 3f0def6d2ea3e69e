// Choose on regular increments, and its bounds on any increments.

package window

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

const now = 120_500

// regularHistory returns increments of 2 s up to 120 s, with rate(t) requests/s, since a time in seconds.
func regularHistory(since int64, rate func(at int64) float64) (h History) {
	for at := since * 1000; at < 120_000; at += 2000 {
		h = append(h, Increment{From: at, To: at + 2000, Count: 2 * rate(at/1000)})
	}
	return h
}

func evenRate(rate float64) func(int64) float64 { return func(int64) float64 { return rate } }

// steppedRate changes the rate at a time in seconds.
func steppedRate(at int64, before, after float64) func(int64) float64 {
	return func(t int64) float64 {
		if t < at {
			return before
		}
		return after
	}
}

// mergeAtScrape removes the scrape at a time in seconds.
func mergeAtScrape(h History, at int64) History {
	i := slices.IndexFunc(h, func(i Increment) bool { return i.To == at*1000 })
	h[i] = Increment{From: h[i].From, To: h[i+1].To, Count: h[i].Count + h[i+1].Count}
	return slices.Delete(h, i+1, i+2)
}

func TestChoose(t *testing.T) {
	t.Parallel()
	s := time.Second
	for name, tc := range map[string]struct {
		pods     []History
		longest  time.Duration // 0: a minute
		from, to time.Duration
	}{
		"no pods":              {nil, 0, time.Minute, time.Minute},
		"nothing known of any": {[]History{nil, {}}, 0, time.Minute, time.Minute},
		"idle":                 {[]History{regularHistory(0, evenRate(0))}, 0, time.Minute, time.Minute},
		"steady":               {[]History{regularHistory(0, evenRate(40)), regularHistory(0, evenRate(3))}, 0, time.Minute, time.Minute},
		"longest of two intervals": {
			[]History{regularHistory(0, steppedRate(110, 10, 1000))}, 4 * s, 4 * s, 4 * s,
		},
		// The increment from 118 s on began 2.5 s ago, but windows are at least 4 s.
		"a step an interval ago":     {[]History{regularHistory(0, steppedRate(118, 10, 100))}, 0, 4 * s, 4 * s},
		"a step two intervals ago":   {[]History{regularHistory(0, steppedRate(116, 10, 100))}, 0, 4500 * time.Millisecond, 6 * s},
		"a step 20 s ago":            {[]History{regularHistory(0, steppedRate(100, 10, 100))}, 0, 20500 * time.Millisecond, 22 * s},
		"a step down 20 s ago":       {[]History{regularHistory(0, steppedRate(100, 100, 10))}, 0, 20500 * time.Millisecond, 22 * s},
		"a step a minute ago":        {[]History{regularHistory(0, steppedRate(60, 10, 100))}, 0, time.Minute, time.Minute},
		"to nothing":                 {[]History{regularHistory(0, steppedRate(110, 40, 0))}, 0, 10500 * time.Millisecond, 12 * s},
		"from nothing":               {[]History{regularHistory(0, steppedRate(110, 0, 40))}, 0, 10500 * time.Millisecond, 12 * s},
		"the newest of two steps":    {[]History{regularHistory(0, func(t int64) float64 { return 10 + 90*float64(t/90) + 900*float64(t/110) })}, 0, 10500 * time.Millisecond, 12 * s},
		"too few events to tell":     {[]History{regularHistory(0, steppedRate(116, 1, 2))}, 0, time.Minute, time.Minute},
		"a pod of many steps alone":  {[]History{regularHistory(0, evenRate(400)), regularHistory(0, steppedRate(100, 5, 50))}, 0, 20500 * time.Millisecond, 22 * s},
		"load moves between pods":    {[]History{regularHistory(0, steppedRate(100, 40, 80)), regularHistory(0, steppedRate(100, 80, 40))}, 0, time.Minute, time.Minute},
		"uneven pods miss scrapes":   {[]History{mergeAtScrape(mergeAtScrape(regularHistory(0, evenRate(400)), 110), 90), regularHistory(0, evenRate(10))}, 0, time.Minute, time.Minute},
		"the heavy one is late":      {[]History{regularHistory(0, evenRate(400))[:58], regularHistory(0, evenRate(10))}, 0, time.Minute, time.Minute},
		"a late pod among many":      {[]History{regularHistory(0, steppedRate(116, 10, 100))[:59], regularHistory(0, steppedRate(116, 10, 100)), regularHistory(0, steppedRate(116, 10, 100))}, 0, 4500 * time.Millisecond, 6 * s},
		"one that is gone":           {[]History{regularHistory(0, evenRate(400))[:20], regularHistory(0, evenRate(10))}, 0, time.Minute, time.Minute},
		"a busy pod starts":          {[]History{regularHistory(110, evenRate(400)), regularHistory(0, evenRate(10))}, 0, time.Minute, time.Minute},
		"all are young":              {[]History{regularHistory(110, evenRate(400)), regularHistory(112, evenRate(10))}, 0, time.Minute, time.Minute},
		"young, and a step":          {[]History{regularHistory(104, steppedRate(114, 10, 400)), regularHistory(104, steppedRate(114, 10, 400))}, 0, 6500 * time.Millisecond, 8 * s},
		"a new pod takes half":       {[]History{regularHistory(0, steppedRate(110, 80, 40)), regularHistory(110, evenRate(40))}, 0, 10500 * time.Millisecond, 12 * s},
		"a new pod takes half later": {[]History{regularHistory(0, steppedRate(110, 80, 40)), regularHistory(104, steppedRate(110, 0, 40))}, 0, 10500 * time.Millisecond, 12 * s},
		"a pod goes, others take on": {[]History{regularHistory(0, steppedRate(110, 40, 80))}, 0, 10500 * time.Millisecond, 12 * s},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			longest := tc.longest
			if longest == 0 {
				longest = time.Minute
			}
			got := Choose(Counter{Pods: tc.pods}, now, longest)
			if got < tc.from || got > tc.to {
				t.Errorf("Choose = %s, want %s to %s", got, tc.from, tc.to)
			}
		})
	}
}

// Whatever the increments, the window is in its bounds, and holds the newest increment of every punctual pod.
func FuzzChoose(f *testing.F) {
	for seed := range uint64(200) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 5))
		step := 100 + r.Int64N(20_000)
		longest := time.Duration(1+r.Int64N(1+100*step)) * time.Millisecond
		pods := make([]History, r.IntN(8))
		for p := range pods {
			for at := r.Int64N(now); at < now; {
				to := at + step*(8+r.Int64N(5))/10
				if r.IntN(10) == 0 {
					to += r.Int64N(10 * step)
				}
				if to > now {
					break
				}
				pods[p] = append(pods[p], Increment{From: at, To: to, Count: drawPoisson(r, 200*r.Float64()*r.Float64())})
				at = to
			}
		}
		got := Choose(Counter{Pods: pods}, now, longest)
		if got <= 0 || got > longest {
			t.Fatalf("Choose = %s, longest %s", got, longest)
		}
		if again := Choose(Counter{Pods: pods}, now, longest); again != got {
			t.Fatalf("Choose = %s, and the second time %s", got, again)
		}
		for _, h := range pods {
			if len(h) > 0 && got < longest && now-h[len(h)-1].From <= step && got.Milliseconds() <= now-h[len(h)-1].From {
				t.Fatalf("Choose = %s does not hold %+v", got, h[len(h)-1])
			}
		}
	})
}

func BenchmarkChoose(b *testing.B) {
	for _, pods := range []int{4, 50, 5000} {
		for name, truth := range map[string]trueLoad{"steady": steadyLoad(40 * float64(pods)), "step": stepLoad(10, 400, 80)} {
			b.Run(fmt.Sprintf("%s/pods=%d", name, pods), func(b *testing.B) {
				b.ReportAllocs()
				s := simulateTraffic(1, pods, 100, truth)
				s.advanceTo(95_000)
				for b.Loop() {
					Choose(Counter{Pods: s.view}, 95_000, longest)
				}
			})
		}
	}
}

func TestChooseSettled(t *testing.T) {
	t.Parallel()
	even := regularHistory(0, evenRate(25))
	batchMore := slices.Clone(even)
	batchMore[len(batchMore)-1].Count = 101 // and no multiple of the others
	for name, tc := range map[string]struct {
		pod  History
		want time.Duration
	}{
		"a batch more in the newest increment": {batchMore, time.Minute},
		"a step an interval ago":               {regularHistory(0, steppedRate(118, 25, 250)), 4 * time.Second},
		"steady":                               {even, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := ChooseSettled(Counter{Pods: []History{tc.pod}}, now, time.Minute); got != tc.want {
				t.Errorf("ChooseSettled() = %v, want %v", got, tc.want)
			}
		})
	}
	if got := Choose(Counter{Pods: []History{batchMore}}, now, time.Minute); got == time.Minute {
		t.Error("Choose() takes no batch for a step either: ChooseSettled is needless")
	}
}

// TestBatchesBesideEvenLoad: a pod with a batch each ten seconds, beside one with an even load, makes no step of their total: each pod's batches have a
// size of their own. A step of the even load is one.
func TestBatchesBesideEvenLoad(t *testing.T) {
	t.Parallel()
	const batch, period = 100, 10
	pods := func(until, step int64) []History {
		pods := make([]History, 2)
		for at := range until {
			load, events := 25.0, 0.0
			if at >= step {
				load = 250
			}
			if at%period == period-1 {
				events = batch
			}
			pods[0] = append(pods[0], Increment{From: at * 1000, To: (at + 1) * 1000, Count: load})
			pods[1] = append(pods[1], Increment{From: at * 1000, To: (at + 1) * 1000, Count: events})
		}
		return pods
	}
	for until := int64(12); until <= 120; until++ {
		if got := Choose(Counter{Pods: pods(until, until)}, until*1000, time.Minute); got != time.Minute {
			t.Errorf("after %d s: Choose() = %v, want a minute", until, got)
		}
	}
	if got := Choose(Counter{Pods: pods(120, 110)}, 120_000, time.Minute); got < 10*time.Second || got > 11*time.Second {
		t.Errorf("a step 10 s ago: Choose() = %v", got)
	}
}

// TestPeriodicBatches: pods whose batches come nearly once in an interval have two batches in some increments, at times in the same ones: this is
// no step. A step of such a load is one.
func TestPeriodicBatches(t *testing.T) {
	t.Parallel()
	batches := func(rate float64, until int64) (pods []History) {
		for pod := range 3 {
			var h History
			count := func(at int64) float64 { return 100 * math.Floor((rate*float64(at)/1000+float64(5*pod))/100) }
			for at := until - 70_000; at < until; at += 1000 {
				h = append(h, Increment{From: at, To: at + 1000, Count: count(at+1000) - count(at)})
			}
			pods = append(pods, h)
		}
		return pods
	}
	for until := int64(100_000); until < 130_000; until += 1000 {
		if got := Choose(Counter{Pods: batches(108, until)}, until, time.Minute); got != time.Minute {
			t.Errorf("%d ms: %s, want the longest window", until, got)
		}
	}
	stepped := batches(108, 100_000)
	for i := range stepped {
		for k := range stepped[i][64:] {
			stepped[i][64+k].Count *= 4
		}
	}
	if got := Choose(Counter{Pods: stepped}, 100_000, time.Minute); got > 8*time.Second {
		t.Errorf("a step 6 s ago: %s", got)
	}
}

// The newest page of a sole pod may be up to an interval old: what it alone shows is no change of the load.
func TestPageOfUnknownAge(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		before float64   // the rate until 42 s ago; since then 1818/s
		newest []float64 // the newest counts, of increments of 2 s
		to     time.Duration
	}{
		"a page from a cache":     {571, []float64{2 * 1818 * 0.55}, 44 * time.Second},
		"a process that is away":  {1818, []float64{0}, time.Minute},
		"no longer from a cache":  {571, []float64{2 * 1818 * 1.45}, 44 * time.Second},
		"and the page after":      {571, []float64{2 * 1818 * 1.45, 2 * 1818}, 44 * time.Second},
		"a load that has ended":   {571, []float64{0, 0}, 6 * time.Second},
		"a load that has doubled": {571, []float64{4 * 1818, 4 * 1818}, 6 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := regularHistory(0, steppedRate(78, tc.before, 1818))
			for i, n := range tc.newest {
				h[len(h)-len(tc.newest)+i].Count = n
			}
			got := Choose(Counter{Pods: []History{h}, Sole: true}, now, time.Minute)
			if got > tc.to || got < tc.to-4*time.Second {
				t.Errorf("Choose = %s, want about %s", got, tc.to)
			}
		})
	}
}

// TestTotalBeginsAtAStep: the window of a total begins at a step, within half an increment, until the step has left the longest window.
func TestTotalBeginsAtAStep(t *testing.T) {
	t.Parallel()
	const end = 120
	for step := int64(62); step <= 100; step += 2 {
		h := regularHistory(0, steppedRate(step, 250, 30))
		if got := ChooseTotal(Counter{Pods: []History{h, h}}, end*1000, time.Minute); got > time.Duration(end-step+1)*time.Second {
			t.Errorf("a step %d s ago: the window is %v", end-step, got)
		}
	}
	if got := ChooseTotal(Counter{Pods: []History{regularHistory(0, evenRate(30))}}, end*1000, 0); got != 0 {
		t.Errorf("a stretch of no time: the window is %v", got)
	}
}
