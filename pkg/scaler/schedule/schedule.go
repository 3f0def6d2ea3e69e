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
	Name      string
	Workloads []hold.Target
	// Zone is whose clocks and calendar the windows and exceptions mean.
	Zone    *time.Location
	Windows []Window
	// Except are days; windows that begin on them do not happen.
	Except []Date
	// Verify is the name of a verification, Notify those of who is told; empty: none.
	Verify string
	Notify []string
}

// ActiveWindow is what a schedule wants of each of its targets.
type ActiveWindow struct {
	MinReplicas int32
	// MaxReplicas is the least that an autoscaler's maximum must be; 0: nothing is said of it.
	MaxReplicas int32
	// Replicas are asked for at once.
	Replicas int32
	// Window is the window's name or, without one, its text.
	Window string
	// Since and Until are the window's begin and end, in the schedule's zone.
	Since, Until time.Time
	// Ramping tells that Floor is a step on the way to the window's floor, up or down.
	Ramping bool
}

// ActiveAt is what is wanted now; false: nothing. Of several windows the highest floor wins, of equal ones the first.
func (s *Schedule) ActiveAt(now time.Time) (ActiveWindow, bool) {
	want, found := ActiveWindow{}, false
	for _, o := range s.runningOccurrences(now) {
		if w, ok := s.evaluateOccurrence(o, now); ok && (!found || w.MinReplicas > want.MinReplicas) {
			want, found = w, true
		}
	}
	return want, found
}

// NextChange is when At changes next after now; false: never.
func (s *Schedule) NextChange(now time.Time) (time.Time, bool) {
	want, found := s.ActiveAt(now)
	for t, ok := s.nextBoundary(now); ok; t, ok = s.nextBoundary(t) {
		if w, any := s.ActiveAt(t); any != found || w != want {
			return t, true
		}
	}
	return time.Time{}, false
}

// nextBoundary is the first begin, end or step of any window after now.
func (s *Schedule) nextBoundary(now time.Time) (first time.Time, found bool) {
	meet := func(t time.Time) {
		if t.After(now) && (!found || t.Before(first)) {
			first, found = t, true
		}
	}
	for _, o := range s.runningOccurrences(now) {
		meet(o.until)
		for k := 1; k <= o.window.Ramp.Steps; k++ {
			if step := o.since.Add(o.window.Ramp.stepOffset(k)); step.Before(o.until) {
				meet(step)
			}
		}
	}
	for i := range s.Windows {
		if t, ok := s.nextStart(&s.Windows[i], now); ok {
			meet(t)
		}
	}
	return first, found
}

// evaluateOccurrence is what an occurrence that runs wants now; false for the part of a ramp before its first step if nothing was
// wanted before it.
func (s *Schedule) evaluateOccurrence(o windowOccurrence, now time.Time) (ActiveWindow, bool) {
	w := o.window
	want := ActiveWindow{MinReplicas: w.MinReplicas, MaxReplicas: w.MaxReplicas, Window: w.String(), Since: o.since, Until: o.until}
	into := now.Sub(o.since)
	if w.Ramp.Steps > 0 && into < w.Ramp.Over {
		base, any := s.minReplicasBefore(o.since)
		done := w.Ramp.completedSteps(into)
		if !any && done == 0 {
			return ActiveWindow{}, false
		}
		want.MinReplicas = w.Ramp.rampedReplicas(base, w.MinReplicas, done)
		want.Ramping = !any || base != w.MinReplicas
	}
	if want.MaxReplicas > 0 { // a ramp downwards begins above
		want.MaxReplicas = max(want.MaxReplicas, want.MinReplicas)
	}
	want.Replicas = want.MinReplicas
	return want, true
}

// minReplicasBefore is the highest floor of the windows that ran just before t; false if none did. A ramp under way counts as arrived:
// else each would depend on all that came before it.
func (s *Schedule) minReplicasBefore(t time.Time) (floor int32, any bool) {
	for _, o := range s.runningOccurrences(t.Add(-1)) {
		floor, any = max(floor, o.window.MinReplicas), true
	}
	return floor, any
}

// Ramp moves a floor in equal steps from the value before a window; the first comes after Over/Steps, the last after Over.
type Ramp struct {
	Over  time.Duration
	Steps int // 0: none
}

// stepOffset is how long after the window's begin step k comes, from 1.
func (r Ramp) stepOffset(k int) time.Duration {
	return r.Over * time.Duration(k) / time.Duration(r.Steps)
}

// completedSteps is how many steps have come.
func (r Ramp) completedSteps(into time.Duration) int {
	k := 0
	for k < r.Steps && r.stepOffset(k+1) <= into {
		k++
	}
	return k
}

// rampedReplicas is base + (floor - base) * done/steps, rounded up.
func (r Ramp) rampedReplicas(base, floor int32, done int) int32 {
	way := (int(floor) - int(base)) * done
	if way > 0 {
		way += r.Steps - 1
	}
	return base + int32(way/r.Steps) //nolint:gosec // between base and floor
}
