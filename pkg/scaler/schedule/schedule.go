// Package schedule decodes calendars (cron patterns, windows, ramps, time zones), computes the replicas that they set for workloads at a
// time, and previews them.
package schedule

import (
	"slices"
	"time"

	_ "time/tzdata" // an image from scratch has no zones of its own

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// Schedule sets a minimum of replicas for some workloads during its windows. Its methods are pure functions of the given time: after
// downtime, a caller of ActiveAt gets the current window. Decode returns it complete; it does not change afterwards, so it may be used
// concurrently.
type Schedule struct {
	Name      string
	Workloads []hold.Workload
	// Zone is the time zone of the windows and exceptions.
	Zone    *time.Location
	Windows []Window
	// Except are days on which windows do not start.
	Except []Exception
	// Paused makes its holds count for nothing.
	Paused bool
	// Verify is the name of a verification, Gates and Notify are the names of gates and notifiers; all are optional.
	Verify        string
	Gates, Notify []string
}

// ActiveWindow is the state that a schedule sets for each of its workloads.
type ActiveWindow struct {
	MinReplicas int32
	// MaxReplicas is the lowest permitted maximum of an autoscaler; 0: no limit.
	MaxReplicas int32
	// Replicas is the number to scale to at once.
	Replicas int32
	// Window is the window's name, or its times if it has no name.
	Window string
	// Since and Until are the start and end of the time for which the schedule sets it, in the schedule's zone. Start is the window's own start: before Since
	// if it goes on over the start of another one, on the day of an exception.
	Since, Until, Start time.Time
	// Step counts the completed steps of the window's ramp, of Steps. Steps is 0 before and after a ramp.
	Step, Steps int
	// Ramping marks a ramp that no window precedes: it begins at the workload's own replicas. MinReplicas counts from 0 then; see From.
	Ramping bool
	// Target is the window's minimum, at the end of the ramp; 0 without Steps.
	Target int32
}

// From returns the window for a workload that had this many replicas before the schedule. Only a ramp that no window precedes depends on them.
func (w ActiveWindow) From(replicas int32) ActiveWindow {
	if !w.Ramping {
		return w
	}
	w.MinReplicas = Ramp{Steps: w.Steps}.rampReplicas(replicas, w.Target, w.Step)
	w.Replicas = w.MinReplicas
	if w.MaxReplicas > 0 {
		w.MaxReplicas = max(w.MaxReplicas, w.MinReplicas)
	}
	return w
}

// ActiveAt returns the window in effect at now, or false if no window is active. Of several windows the highest minReplicas wins, and the
// first window among equals.
func (s *Schedule) ActiveAt(now time.Time) (ActiveWindow, bool) { return s.ActiveBeside(nil, now) }

// ActiveBeside returns the window in effect at now for a workload that other schedules have too: a ramp begins at the highest minReplicas that any of
// them set just before.
func (s *Schedule) ActiveBeside(others []*Schedule, now time.Time) (ActiveWindow, bool) {
	want, found := ActiveWindow{}, false
	for _, w := range s.listActiveOccurrences(others, now) {
		if !w.isUnbegunRamp() && (!found || w.MinReplicas > want.MinReplicas) {
			want, found = w, true
		}
	}
	return want, found
}

// ActiveFrom is ActiveBeside for a workload that had this many replicas before its schedules. It differs where RampsBesideWindow says so.
func (s *Schedule) ActiveFrom(others []*Schedule, now time.Time, replicas int32) (ActiveWindow, bool) {
	want, found := s.ActiveBeside(others, now)
	want = want.From(replicas)
	for _, w := range s.listActiveOccurrences(others, now) {
		if w = w.From(replicas); found && w.MinReplicas > want.MinReplicas {
			want = w
		}
	}
	return want, found
}

// RampsBesideWindow reports whether a ramp that no window precedes runs beside another window: which of them is higher depends on the workload's own
// replicas.
func (s *Schedule) RampsBesideWindow(others []*Schedule, now time.Time) bool {
	all := s.listActiveOccurrences(others, now)
	return len(all) > 1 && slices.ContainsFunc(all, func(w ActiveWindow) bool { return w.Ramping })
}

// listActiveOccurrences lists the settings of the running windows at now.
func (s *Schedule) listActiveOccurrences(others []*Schedule, now time.Time) (all []ActiveWindow) {
	for _, o := range s.runningOccurrences(now, others) {
		all = append(all, s.evaluateOccurrence(o, others, now))
	}
	return all
}

// isUnbegunRamp reports whether the window is before the first step of a ramp that no window precedes: alone it sets nothing.
func (w ActiveWindow) isUnbegunRamp() bool { return w.Ramping && w.Step == 0 }

// NextChange returns the next time after now at which the result of ActiveAt changes, or false if it never does.
func (s *Schedule) NextChange(now time.Time) (time.Time, bool) {
	want, found := s.ActiveAt(now)
	for t, ok := s.nextWindowBoundary(now); ok; t, ok = s.nextWindowBoundary(t) {
		if w, any := s.ActiveAt(t); any != found || w != want {
			return t, true
		}
	}
	return time.Time{}, false
}

// nextWindowBoundary returns the first start, end or ramp step of any window after now.
func (s *Schedule) nextWindowBoundary(now time.Time) (first time.Time, found bool) {
	offer := func(t time.Time) {
		if t.After(now) && (!found || t.Before(first)) {
			first, found = t, true
		}
	}
	for _, o := range s.plannedOccurrences(now) { // of an exception too: the window of another schedule may stand in
		offer(o.until)
		for k := 1; k <= o.window.Ramp.Steps && o.exception == nil; k++ {
			if step := o.since.Add(o.window.Ramp.rampStepOffset(k)); step.Before(o.until) {
				offer(step)
			}
		}
	}
	for i := range s.Windows {
		if t, ok := s.nextWindowStart(&s.Windows[i], now); ok {
			offer(t)
		}
	}
	return first, found
}

// evaluateOccurrence returns the state that a running occurrence sets at now.
func (s *Schedule) evaluateOccurrence(o windowOccurrence, others []*Schedule, now time.Time) ActiveWindow {
	w := o.window
	want := ActiveWindow{MinReplicas: w.MinReplicas, MaxReplicas: w.MaxReplicas, Window: w.String(), Since: o.since, Until: o.until, Start: o.occurrenceStart()}
	into := now.Sub(o.since)
	if w.Ramp.Steps > 0 && into < w.Ramp.Over && o.exception == nil {
		base, any := s.minReplicasBefore(o.since, others)
		for _, other := range others {
			if n, ok := other.minReplicasBefore(o.since, others); ok && other != s && !other.Paused {
				base, any = max(base, n), true
			}
		}
		done := w.Ramp.completedRampSteps(into)
		want.MinReplicas = w.Ramp.rampReplicas(base, w.MinReplicas, done)
		if want.Ramping = !any; !any || base != w.MinReplicas {
			want.Step, want.Steps, want.Target = done, w.Ramp.Steps, w.MinReplicas
		}
	}
	if want.MaxReplicas > 0 { // a downward ramp starts above the maximum
		want.MaxReplicas = max(want.MaxReplicas, want.MinReplicas)
	}
	want.Replicas = want.MinReplicas
	return want
}

// minReplicasBefore returns the highest minimum of the windows that ran just before t, or false if no window did. An unfinished ramp
// counts with its final value; otherwise each ramp would depend on all earlier windows.
func (s *Schedule) minReplicasBefore(t time.Time, others []*Schedule) (minReplicas int32, any bool) {
	for _, o := range s.runningOccurrences(t.Add(-1), others) {
		minReplicas, any = max(minReplicas, o.window.MinReplicas), true
	}
	return minReplicas, any
}

// Ramp moves minReplicas in equal steps from the value before a window. The first step comes after Over/Steps, the last after Over.
type Ramp struct {
	Over  time.Duration
	Steps int // 0: none
}

// rampStepOffset returns the time from the window's start to step k, counted from 1.
func (r Ramp) rampStepOffset(k int) time.Duration {
	return r.Over * time.Duration(k) / time.Duration(r.Steps)
}

// completedRampSteps returns the number of steps completed after the time into of the window.
func (r Ramp) completedRampSteps(into time.Duration) int {
	k := 0
	for k < r.Steps && r.rampStepOffset(k+1) <= into {
		k++
	}
	return k
}

// rampReplicas returns base + (minReplicas - base) * done/steps, rounded up.
func (r Ramp) rampReplicas(base, minReplicas int32, done int) int32 {
	delta := (int(minReplicas) - int(base)) * done
	if delta > 0 {
		delta += r.Steps - 1
	}
	return base + int32(delta/r.Steps) //nolint:gosec // between base and minReplicas
}
