package window

import (
	"slices"
	"testing"
	"time"
)

// TestChangeIsShared: a step of all pods is one of the group, and load that moves from pod to pod is not.
func TestChangeIsShared(t *testing.T) {
	t.Parallel()
	const step, longest = int64(116), time.Minute
	pods := func(after ...float64) (c Counter) {
		for i, rate := range after { // two phases
			c.Pods = append(c.Pods, regularHistory(int64(i), steppedRate(step, 100, rate)))
		}
		return c
	}
	twice := func(after, since float64) History { // a step from 10/s to 100/s before
		h := regularHistory(0, steppedRate(90, 10, 100))
		for i := range 2 {
			h[len(h)-2+i].Count = []float64{2 * after, 2 * since}[i]
		}
		return h
	}
	back := func(first, then, since float64) History { // load moved between two pods before, too
		return regularHistory(0, func(at int64) float64 {
			if at < step {
				return steppedRate(80, first, then)(at)
			}
			return since
		})
	}
	for name, tc := range map[string]struct {
		counter Counter
		want    bool
	}{
		"load moves back":                  {Counter{Pods: []History{back(200, 360, 290), back(200, 30, 200)}}, false},
		"a step of all":                    {pods(200, 200, 200, 200), true},
		"a step down, unevenly":            {pods(20, 50, 60, 30), true},
		"a step of all, but for one in 30": {pods(append(slices.Repeat([]float64{200}, 29), 100)...), true},
		"load moves to one not seen yet":   {pods(67, 67, 67, 100), false},
		"load moves to one":                {pods(160, 80, 80, 80), false},
		"load moves between two":           {pods(150, 50), false},
		"load moves after a step of all":   {Counter{Pods: []History{twice(150, 150), twice(100, 75)}}, false},
		"a step of all after another":      {Counter{Pods: []History{twice(200, 200), twice(200, 200)}}, true},
		"one of two alone":                 {pods(145, 100), false},
		"a single pod":                     {pods(145), true},
		"no pod":                           {Counter{}, true},
		"the first events":                 {Counter{Pods: []History{regularHistory(0, steppedRate(step, 0, 9)), regularHistory(1, steppedRate(step, 0, 0))}}, true},
		"load moves to a late one":         {Counter{Pods: []History{regularHistory(0, steppedRate(step, 100, 50)), regularHistory(1, steppedRate(step, 100, 150))[:57]}}, false},
		"a young pod takes no part": {Counter{Pods: append(pods(50, 50).Pods, History{
			{From: 116_000, To: 118_000, Count: 200}, {From: 118_000, To: 120_000, Count: 200},
		})}, true},
	} {
		if got := ChangeIsShared(tc.counter, now, time.Duration(now-1000*step)*time.Millisecond, longest); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestCounterUntil: an earlier change of a part of the events is judged by how much all events vary, as in Choose.
func TestCounterUntil(t *testing.T) {
	t.Parallel()
	h := regularHistory(0, evenRate(25))
	half := h[len(h)/2].To
	for name, c := range map[string]Counter{"all events": {Pods: []History{h}}, "a part": {Pods: []History{h}, Among: []History{h, h}}} {
		until := c.endEventCounterAt(half)
		if len(until.Pods) != len(c.Pods) || len(until.Among) != len(c.Among) || (until.Among == nil) != (c.Among == nil) {
			t.Errorf("%s: %d pods among %d", name, len(until.Pods), len(until.Among))
		}
		for _, u := range append(until.Among, until.Pods...) {
			if u[len(u)-1].To != half {
				t.Errorf("%s: an increment ends at %d, after %d", name, u[len(u)-1].To, half)
			}
		}
	}
}
