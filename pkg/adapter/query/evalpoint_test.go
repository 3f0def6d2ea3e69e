// The planning of evalPoints, on tables and on drawn sample times.

package query

import (
	"math"
	"math/rand/v2"
	"testing"
)

// regularSampleTimes returns a sample every 2 s from the first time to the last, except at missing.
func regularSampleTimes(first, last int64, missing ...int64) (t evaluatedTimes) {
samples:
	for at := first; at <= last; at += 2000 {
		for _, m := range missing {
			if m == at {
				continue samples
			}
		}
		t = append(t, at)
	}
	return t
}

func TestPlan(t *testing.T) {
	t.Parallel()
	itself := func(window int64) int64 { return window }
	for name, tc := range map[string]struct {
		tracks []evaluatedTimes
		now    int64
		window int64
		fixed  bool
		change bool // anchored
		span   func(int64) int64
		want   evalPoint
		none   bool
	}{
		"covered":                                 {tracks: []evaluatedTimes{regularSampleTimes(0, 100_000)}, now: 101_000, window: 10_000, want: evalPoint{101_000, 10_000}},
		"the newest sample comes in time":         {tracks: []evaluatedTimes{regularSampleTimes(0, 100_000)}, now: 102_199, window: 10_000, want: evalPoint{102_199, 10_000}},
		"the newest sample is late":               {tracks: []evaluatedTimes{regularSampleTimes(0, 100_000)}, now: 102_200, window: 10_000, want: evalPoint{100_200, 10_000}},
		"it is very late":                         {tracks: []evaluatedTimes{regularSampleTimes(0, 100_000)}, now: 108_900, window: 10_000, want: evalPoint{100_900, 10_000}},
		"late, and the window begins at a change": {tracks: []evaluatedTimes{regularSampleTimes(0, 100_000)}, now: 102_200, window: 10_000, change: true, want: evalPoint{100_200, 8000}},
		"very late, and it begins at a change":    {tracks: []evaluatedTimes{regularSampleTimes(0, 100_000)}, now: 108_900, window: 10_000, change: true, want: evalPoint{100_900, 2912}},
		"in time, and it begins at a change":      {tracks: []evaluatedTimes{regularSampleTimes(0, 100_000)}, now: 101_000, window: 10_000, change: true, want: evalPoint{101_000, 10_000}},
		"one pod of several is late":              {tracks: []evaluatedTimes{regularSampleTimes(0, 90_000), regularSampleTimes(1, 100_001)}, now: 101_000, window: 10_000, want: evalPoint{101_000, 10_000}},
		"a scrape is missing in the midst":        {tracks: []evaluatedTimes{regularSampleTimes(0, 100_000, 96_000)}, now: 101_000, window: 10_000, want: evalPoint{101_000, 10_000}},
		"a scrape is missing at the start":        {tracks: []evaluatedTimes{regularSampleTimes(0, 100_000, 92_000)}, now: 101_000, window: 10_000, want: evalPoint{101_000, 11_008}},
		"one is, of a short window":               {tracks: []evaluatedTimes{regularSampleTimes(0, 100_000, 96_000)}, now: 101_900, window: 6000, want: evalPoint{101_900, 7936}},
		"a short window has one pair, on time":    {tracks: []evaluatedTimes{regularSampleTimes(0, 100_000)}, now: 101_900, window: 5900, want: evalPoint{101_900, 5900}},
		"a short window has them all":             {tracks: []evaluatedTimes{regularSampleTimes(0, 100_000)}, now: 101_400, window: 6000, want: evalPoint{101_400, 6000}},
		"several are: start behind them": {
			tracks: []evaluatedTimes{regularSampleTimes(0, 100_000, 80_000, 82_000, 84_000, 86_000, 88_000, 90_000, 92_000, 94_000)},
			now:    101_000, window: 10_000, want: evalPoint{101_000, 5056},
		},
		"all but one are: start before them": {
			tracks: []evaluatedTimes{regularSampleTimes(0, 100_000, 84_000, 86_000, 88_000, 90_000, 92_000, 94_000, 96_000, 98_000)},
			now:    100_000, window: 10_000, want: evalPoint{100_000, 18_176},
		},
		"watched for less than the window": {tracks: []evaluatedTimes{regularSampleTimes(60_000, 100_000)}, now: 101_000, window: 60_000, want: evalPoint{101_000, 41_472}},
		"two samples":                      {tracks: []evaluatedTimes{{98_300, 100_000}}, now: 100_500, window: 60_000, want: evalPoint{100_500, 2208}},
		"two samples, and late":            {tracks: []evaluatedTimes{{98_300, 100_000}}, now: 101_900, window: 60_000, want: evalPoint{100_900, 2624}},
		"one sample":                       {tracks: []evaluatedTimes{{100_000}}, now: 100_500, window: 60_000, none: true},
		"one sample each":                  {tracks: []evaluatedTimes{{100_000}, {99_000}}, now: 100_500, window: 60_000, none: true},
		"the eldest pod decides":           {tracks: []evaluatedTimes{regularSampleTimes(60_000, 100_000), regularSampleTimes(80_001, 100_001)}, now: 101_000, window: 60_000, want: evalPoint{101_000, 41_472}},
		"one covered pod is enough":        {tracks: []evaluatedTimes{regularSampleTimes(0, 100_000), regularSampleTimes(80_001, 100_001)}, now: 101_000, window: 60_000, want: evalPoint{101_000, 60_000}},
		"fixed and covered":                {tracks: []evaluatedTimes{regularSampleTimes(0, 100_000)}, now: 101_000, window: 60_000, fixed: true, want: evalPoint{101_000, 60_000}},
		"fixed and not covered":            {tracks: []evaluatedTimes{regularSampleTimes(60_000, 100_000)}, now: 101_000, window: 60_000, fixed: true, none: true},
		"fixed, a little too low":          {tracks: []evaluatedTimes{regularSampleTimes(0, 100_000, 42_000)}, now: 101_000, window: 60_000, fixed: true, want: evalPoint{101_000, 60_000}},
		"fixed, much too low":              {tracks: []evaluatedTimes{regularSampleTimes(0, 100_000, 92_000)}, now: 101_000, window: 10_000, fixed: true, none: true},
		"wider than the window": {
			tracks: []evaluatedTimes{regularSampleTimes(60_000, 100_000)}, now: 100_000, window: 30_000,
			span: func(w int64) int64 { return w + 20_000 }, want: evalPoint{100_000, 20_448},
		},
		"wider than the window, and too young": {
			tracks: []evaluatedTimes{regularSampleTimes(80_000, 100_000)}, now: 100_000, window: 30_000,
			span: func(w int64) int64 { return w + 20_000 }, none: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := pointPlanner{now: tc.now, interval: 2000, window: tc.window, fixedWindow: tc.fixed, anchored: tc.change, span: tc.span}
			if p.span == nil {
				p.span = itself
			}
			got, ok := p.planQueryEvalPoint(tc.tracks)
			if ok == tc.none || ok && got != tc.want {
				t.Errorf("plan = %+v, %v, want %+v, %v", got, ok, tc.want, !tc.none)
			}
		})
	}
}

// prometheusRate returns the rate of a counter that grows by 1 a millisecond since zero: 1 if all is well. It follows
// the documentation of the function, independent of the engine.
func prometheusRate(t evaluatedTimes, zero int64, s evalPoint) (float64, bool) {
	start := s.at - s.window
	in := t[t.sampleIndexAfter(start):]
	for len(in) > 0 && in.lastSampleTime() > s.at {
		in = in[:len(in)-1]
	}
	if len(in) < 2 {
		return 0, false
	}
	limit := 1.1 * in.meanSampleStep()
	d0, d1 := float64(in[0]-start), float64(s.at-in.lastSampleTime())
	if d0 >= limit {
		d0 = in.meanSampleStep() / 2
	}
	if d1 >= limit {
		d1 = in.meanSampleStep() / 2
	}
	d0 = min(d0, float64(in[0]-zero))
	return (d0 + float64(in.lastSampleTime()-in[0]) + d1) / float64(s.window), true
}

// Whatever the sample times and the counter's begin, the evalPoint gives the right rate.
func TestPlanGivesTheRightRate(t *testing.T) {
	t.Parallel()
	for seed := range uint64(100_000) {
		checkDrawnPlan(t, seed)
	}
}

func FuzzPlan(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(checkDrawnPlan)
}

func checkDrawnPlan(t *testing.T, seed uint64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 99))
	interval := 1000 + r.Int64N(14_000)
	tr := evaluatedTimes{r.Int64N(1000)}
	for range 1 + r.IntN(60) {
		step := interval * (8 + r.Int64N(5)) / 10 // jitter
		if r.IntN(6) == 0 {
			step *= 1 + r.Int64N(6) // missed scrapes
		}
		tr = append(tr, tr.lastSampleTime()+step)
	}
	now := tr.lastSampleTime() + r.Int64N(5*interval)
	zero := tr[0] - r.Int64N(2)*r.Int64N(1e9)
	p := pointPlanner{now: now, interval: interval, window: 2*interval + r.Int64N(60_000), span: func(w int64) int64 { return w }}
	if r.IntN(5) == 0 {
		p.interval *= 1 + r.Int64N(5) // as reconfigured
	}
	s, ok := p.planQueryEvalPoint([]evaluatedTimes{tr})
	if !ok {
		t.Fatalf("seed %d: no slot for %v at %d, window %d", seed, tr, now, p.window)
	}
	got, ok := prometheusRate(tr, zero, s)
	if !ok || math.Abs(got-1) > 1.0/64+1e-9 {
		t.Fatalf("seed %d: rate %.4f, %v in slot %+v for %v at %d, zero %d, interval %d, window %d",
			seed, got, ok, s, tr, now, zero, p.interval, p.window)
	}
	if s.at > now || s.at < tr.lastSampleTime() || s.window <= 0 {
		t.Fatalf("seed %d: slot %+v for samples up to %d at %d", seed, s, tr.lastSampleTime(), now)
	}
}

func TestAlign(t *testing.T) {
	t.Parallel()
	for ms := int64(1); ms < 1_000_000; ms += 1 + ms/50 {
		got := roundUpWindowMillis(ms)
		if got < ms || float64(got) > float64(ms)*(1+1.0/64) {
			t.Errorf("align(%d) = %d", ms, got)
		}
		if roundUpWindowMillis(got) != got {
			t.Errorf("align(%d) = %d, and aligned again %d", ms, got, roundUpWindowMillis(got))
		}
	}
}
