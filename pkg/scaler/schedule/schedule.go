// Package schedule tells what a calendar wants of targets at a time.
package schedule

import (
	"time"

	_ "time/tzdata" // an image from scratch has no zones of its own

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// Schedule states for some targets how many replicas there are at least, during its windows. Its methods are pure
// functions of the time given: whoever was away meanwhile asks At and does the right thing. Decode makes it; it is
// not changed after, and may be used concurrently.
type Schedule struct {
	Name    string
	Targets []hold.Target
	// Zone is whose clocks and calendar the windows and exceptions mean.
	Zone    *time.Location
	Windows []Window
	// Except are days; windows that begin on them do not happen.
	Except []Date
	// Verify is the name of a verification, Notify those of who is told; empty: none.
	Verify string
	Notify []string
}

// Want is what a schedule wants of each of its targets.
type Want struct {
	Floor int32
	// Ceiling is the least that an autoscaler's maximum must be; 0: nothing is said of it.
	Ceiling int32
	// Replicas are asked for at once.
	Replicas int32
	// Window is the window's name or, without one, its text.
	Window string
	// Since and Until are the window's begin and end, in the schedule's zone.
	Since, Until time.Time
	// Ramping tells that Floor is a step on the way to the window's floor, up or down.
	Ramping bool
}

// At is what is wanted now; false: nothing. Of several windows the highest floor wins, of equal ones the first.
func (s *Schedule) At(now time.Time) (Want, bool) {
	want, found := Want{}, false
	for _, o := range s.running(now) {
		if w, ok := s.want(o, now); ok && (!found || w.Floor > want.Floor) {
			want, found = w, true
		}
	}
	return want, found
}

// Next is when At changes next after now; false: never.
func (s *Schedule) Next(now time.Time) (time.Time, bool) {
	want, found := s.At(now)
	for t, ok := s.boundary(now); ok; t, ok = s.boundary(t) {
		if w, any := s.At(t); any != found || w != want {
			return t, true
		}
	}
	return time.Time{}, false
}

// boundary is the first begin, end or step of any window after now.
func (s *Schedule) boundary(now time.Time) (first time.Time, found bool) {
	meet := func(t time.Time) {
		if t.After(now) && (!found || t.Before(first)) {
			first, found = t, true
		}
	}
	for _, o := range s.running(now) {
		meet(o.until)
		for k := 1; k <= o.window.Ramp.Steps; k++ {
			if step := o.since.Add(o.window.Ramp.step(k)); step.Before(o.until) {
				meet(step)
			}
		}
	}
	for i := range s.Windows {
		if t, ok := s.upcoming(&s.Windows[i], now); ok {
			meet(t)
		}
	}
	return first, found
}

// want is what an occurrence that runs wants now; false for the part of a ramp before its first step if nothing was
// wanted before it.
func (s *Schedule) want(o occurrence, now time.Time) (Want, bool) {
	w := o.window
	want := Want{Floor: w.Floor, Ceiling: w.Ceiling, Window: w.String(), Since: o.since, Until: o.until}
	into := now.Sub(o.since)
	if w.Ramp.Steps > 0 && into < w.Ramp.Over {
		base, any := s.before(o.since)
		done := w.Ramp.done(into)
		if !any && done == 0 {
			return Want{}, false
		}
		want.Floor = w.Ramp.value(base, w.Floor, done)
		want.Ramping = !any || base != w.Floor
	}
	if want.Ceiling > 0 { // a ramp downwards begins above
		want.Ceiling = max(want.Ceiling, want.Floor)
	}
	want.Replicas = want.Floor
	return want, true
}

// before is the highest floor of the windows that ran just before t; false if none did. A ramp under way counts as arrived:
// else each would depend on all that came before it.
func (s *Schedule) before(t time.Time) (floor int32, any bool) {
	for _, o := range s.running(t.Add(-1)) {
		floor, any = max(floor, o.window.Floor), true
	}
	return floor, any
}

// Ramp moves a floor in equal steps from the value before a window; the first comes after Over/Steps, the last after Over.
type Ramp struct {
	Over  time.Duration
	Steps int // 0: none
}

// step is how long after the window's begin step k comes, from 1.
func (r Ramp) step(k int) time.Duration { return r.Over * time.Duration(k) / time.Duration(r.Steps) }

// done is how many steps have come.
func (r Ramp) done(into time.Duration) int {
	k := 0
	for k < r.Steps && r.step(k+1) <= into {
		k++
	}
	return k
}

// value is base + (floor - base) * done/steps, rounded up.
func (r Ramp) value(base, floor int32, done int) int32 {
	way := (int(floor) - int(base)) * done
	if way > 0 {
		way += r.Steps - 1
	}
	return base + int32(way/r.Steps) //nolint:gosec // between base and floor
}
