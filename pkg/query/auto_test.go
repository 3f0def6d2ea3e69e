package query

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func samplesOf(pairs ...float64) (s []sample) {
	for i := 0; i < len(pairs); i += 2 {
		s = append(s, sample{int64(pairs[i]), pairs[i+1]})
	}
	return s
}

func TestHistoryAdd(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		series [][]sample
		want   history
	}{
		"one sample":      {[][]sample{samplesOf(0, 7)}, nil},
		"increments":      {[][]sample{samplesOf(0, 7, 2, 9, 4, 9)}, history{{0, 2, 2}, {2, 4, 0}}},
		"a counter reset": {[][]sample{samplesOf(0, 7, 2, 3)}, history{{0, 2, 3}}},
		"NaN is nothing":  {[][]sample{samplesOf(0, 7, 2, math.NaN(), 4, 8, 6, 9)}, history{{4, 6, 1}}},
		"series of one page add up": {
			[][]sample{samplesOf(0, 7, 2, 9, 4, 9), samplesOf(0, 1, 2, 2, 4, 4)}, history{{0, 2, 3}, {2, 4, 2}},
		},
		"a series that begins late": {
			[][]sample{samplesOf(0, 7, 2, 9, 4, 9), samplesOf(2, 1, 4, 4)}, history{{0, 2, 2}, {2, 4, 3}},
		},
		"and the other way around": {
			[][]sample{samplesOf(2, 1, 4, 4), samplesOf(0, 7, 2, 9, 4, 9)}, history{{0, 2, 2}, {2, 4, 3}},
		},
		"pages of their own": {
			[][]sample{samplesOf(0, 1, 2, 2), samplesOf(1, 1, 3, 3)}, history{{0, 2, 1}, {1, 3, 2}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var h history
			for _, s := range tc.series {
				h.add(s)
			}
			if d := cmp.Diff(tc.want, h, cmp.AllowUnexported(increment{})); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestChooseWindow(t *testing.T) {
	t.Parallel()
	// steady is a pod with n events every 2 s for two minutes.
	steady := func(n float64) history {
		var h history
		for at := int64(0); at < 120_000; at += 2000 {
			h = append(h, increment{at, at + 2000, n})
		}
		return h
	}
	const now = 120_500
	for name, tc := range map[string]struct {
		counters [][]history
		want     time.Duration
	}{
		"nothing counted":             {nil, time.Minute},
		"idle":                        {[][]history{{steady(0)}}, time.Minute},
		"50 events in two increments": {[][]history{{steady(50)}}, 6 * time.Second},
		"49 are too few for that":     {[][]history{{steady(49)}}, 10 * time.Second},
		"ten pods together":           {[][]history{{steady(5), steady(5), steady(5), steady(5), steady(5), steady(5), steady(5), steady(5), steady(5), steady(5)}}, 6 * time.Second},
		"quiet":                       {[][]history{{steady(7.2)}}, 30 * time.Second},
		"very quiet":                  {[][]history{{steady(1)}}, time.Minute},
		"the rarest decides":          {[][]history{{steady(500)}, {steady(7.2)}}, 30 * time.Second},
		"a burst a moment ago":        {[][]history{{append(steady(0)[:59], increment{118_000, 120_000, 100})}}, 6 * time.Second},
		"a burst long ago":            {[][]history{{append(history{{0, 2000, 1e6}}, steady(1)[1:]...)}}, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := chooseWindow(candidates(2*time.Second, time.Minute), now, tc.counters); got != tc.want {
				t.Errorf("chooseWindow = %s, want %s", got, tc.want)
			}
		})
	}
}

func TestCandidates(t *testing.T) {
	t.Parallel()
	s := time.Second
	for _, tc := range []struct {
		interval, longest time.Duration
		want              []time.Duration
	}{
		{2 * s, 60 * s, []time.Duration{6 * s, 10 * s, 30 * s, 60 * s}},
		{time.Second / 2, 300 * s, []time.Duration{3 * s / 2, 10 * s, 30 * s, 60 * s, 300 * s}},
		{15 * s, 75 * s, []time.Duration{45 * s, 60 * s, 75 * s}},
		{30 * s, 60 * s, []time.Duration{60 * s}},
		{2 * s, 20 * s, []time.Duration{6 * s, 10 * s, 20 * s}},
	} {
		if d := cmp.Diff(tc.want, candidates(tc.interval, tc.longest)); d != "" {
			t.Errorf("interval %s, longest %s (-want +got):\n%s", tc.interval, tc.longest, d)
		}
	}
}
