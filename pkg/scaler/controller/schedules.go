package controller

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/schedule"
)

const (
	// reapplyInterval is the interval at which schedules are applied again, for workloads created or released by hand since.
	reapplyInterval = time.Minute
	// applyTimeout bounds the time for one workload, and maxParallelApplies how many workloads have it at once: an API server that does not respond
	// for one namespace, such as for a webhook on Holds there, must not delay the windows of all others.
	applyTimeout       = 10 * time.Second
	maxParallelApplies = 16
	// reapplyRetryInterval is the interval after a failure.
	reapplyRetryInterval = 5 * time.Second
)

// applySchedulesAtChanges applies the schedules at each of their changes, until ctx ends.
func (c *Controller) applySchedulesAtChanges(ctx context.Context) error {
	for {
		at := time.Now()
		c.Metrics.countFailingGates(c.Caches.ListAllHolds())
		next := at.Add(reapplyInterval)
		if !c.applySchedulesAt(ctx, at) {
			next = at.Add(reapplyRetryInterval)
		}
		for i := range c.Schedules {
			if change, ok := c.Schedules[i].NextChange(at); ok && change.Before(next) {
				next = change
			}
		}
		timer := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// applySchedulesAt sets the holds of all schedules for a time. It reports whether all succeeded.
func (c *Controller) applySchedulesAt(ctx context.Context, at time.Time) bool {
	var mu sync.Mutex // guards applied
	applied := map[hold.Workload]map[string]bool{}
	var applies []func(context.Context) error
	for i := range c.Schedules {
		s := &c.Schedules[i]
		for _, t := range s.Workloads {
			applies = append(applies, func(ctx context.Context) error {
				on, err := c.applyScheduleToWorkload(ctx, s, t, at)
				mu.Lock()
				defer mu.Unlock()
				if on && applied[t] == nil {
					applied[t] = map[string]bool{}
				}
				if on {
					applied[t][hold.SchedulePrefix+s.Name] = true
				}
				return err
			})
		}
	}
	done := runParallelApplies(ctx, applies)
	paused := runParallelApplies(ctx, c.listPausesOfRules(c.Caches.ListAllHolds()))
	return c.endStaleScheduleHolds(ctx, at, applied) && done && paused
}

// listPausesOfRules returns the changes that pause the holds of paused rules, and resume the holds of rules that are no longer paused.
func (c *Controller) listPausesOfRules(all []hold.Object) (changes []func(context.Context) error) {
	for i := range all {
		h := &all[i]
		if r := c.findRuleOfHold(h); r != nil {
			changes = append(changes, func(ctx context.Context) error { return c.pauseOrResumeHold(ctx, h, r.Paused) })
		}
	}
	return changes
}

// pauseOrResumeHold pauses a hold of a paused rule, or resumes it.
func (c *Controller) pauseOrResumeHold(ctx context.Context, h *hold.Object, paused bool) error {
	changed, err := c.Engine.PauseByOwner(ctx, h, paused)
	switch {
	case err != nil && !errors.Is(context.Cause(ctx), context.Canceled):
		klog.FromContext(ctx).Error(err, "Pause of a rule cannot be applied", "hold", h.HoldID(), "workload", h.HeldWorkload().String(), "retryIn", reapplyRetryInterval)
	case changed:
		klog.FromContext(ctx).Info("Hold follows the pause of its rule", "hold", h.HoldID(), "workload", h.HeldWorkload().String(), "paused", paused)
	}
	return err
}

// runParallelApplies calls functions at the same time, up to maxParallelApplies, each with a context of applyTimeout. It returns after all of them, and
// reports whether all succeeded.
func runParallelApplies(ctx context.Context, applies []func(context.Context) error) bool {
	var failures atomic.Int64
	var running sync.WaitGroup
	room := make(chan struct{}, maxParallelApplies)
	for _, apply := range applies {
		room <- struct{}{} // a place is free again within applyTimeout, and with the end of ctx
		running.Go(func() {
			defer func() { <-room }()
			limited, cancel := context.WithTimeout(ctx, applyTimeout)
			defer cancel()
			if apply(limited) != nil {
				failures.Add(1)
			}
		})
	}
	running.Wait()
	return failures.Load() == 0
}

// applyScheduleToWorkload sets the hold of a schedule on one of its workloads. It reports whether a window of the schedule is active.
func (c *Controller) applyScheduleToWorkload(ctx context.Context, s *schedule.Schedule, t hold.Workload, at time.Time) (on bool, err error) {
	want, on := c.getActiveWindowOfWorkload(ctx, s, t, at)
	if !on {
		return false, nil
	}
	err = c.Raise(ctx, t, c.newScheduleHold(s, want))
	if err != nil && !errors.Is(context.Cause(ctx), context.Canceled) {
		klog.FromContext(ctx).Error(err, "Schedule cannot be applied", "schedule", s.Name, "workload", t.String(), "retryIn", reapplyRetryInterval)
	}
	return true, err
}

// getActiveWindowOfWorkload returns the window of a schedule for one of its workloads.
func (c *Controller) getActiveWindowOfWorkload(ctx context.Context, s *schedule.Schedule, t hold.Workload, at time.Time) (schedule.ActiveWindow, bool) {
	others := c.listSchedulesOfWorkload(t)
	w, on := s.ActiveBeside(others, at)
	if on && s.RampsBesideWindow(others, at) {
		if was, known, err := c.Engine.GetOriginalReplicas(ctx, t, at); err == nil && known {
			w, on = s.ActiveFrom(others, at, was)
			w.Ramping = false
		}
	}
	return c.startRampAtOriginal(ctx, t, w, at), on
}

// startRampAtOriginal returns the window for one workload: a ramp that no window precedes begins at the workload's own number.
func (c *Controller) startRampAtOriginal(ctx context.Context, t hold.Workload, w schedule.ActiveWindow, at time.Time) schedule.ActiveWindow {
	if !w.Ramping {
		return w
	}
	was, known, err := c.Engine.GetOriginalReplicas(ctx, t, at)
	if err != nil || !known {
		klog.FromContext(ctx).V(1).Info("Workload cannot be read, its ramp does not lower it", "workload", t.String(), "err", err)
		return w
	}
	w = w.From(was)
	w.Ramping = false
	return w
}

// newScheduleHold returns the hold of a schedule's active window. It may lower the workload, for nights, except in a ramp that counts
// from 0.
func (c *Controller) newScheduleHold(s *schedule.Schedule, w schedule.ActiveWindow) hold.Hold {
	h := hold.Hold{
		ID: hold.SchedulePrefix + s.Name, Reason: w.Window, By: c.HoldsBy,
		Replicas: w.Replicas, MinReplicas: w.MinReplicas, MaxReplicas: w.MaxReplicas, Lower: !w.Ramping, Until: w.Until.Add(hold.WindowOverlap), WindowStart: w.Start, Notify: s.Notify,
		Gates: s.Gates, Paused: s.Paused,
	}
	if len(s.Gates) > 0 && len(s.Workloads) > 1 { // they open over all its workloads, or not at all
		h.Group, h.GroupSize = h.ID, len(s.Workloads)
	}
	if spec, ok := c.Verifications[s.Verify]; ok {
		h.Verify = &spec
	}
	return h
}

// endStaleScheduleHolds ends this controller's schedule holds if their schedule or window is no longer in the configuration. Between two
// windows a paused hold stays, so that the next window is paused too.
func (c *Controller) endStaleScheduleHolds(ctx context.Context, at time.Time, applied map[hold.Workload]map[string]bool) bool {
	var releases []func(context.Context) error
	for _, h := range c.Caches.ListAllHolds() {
		t, id := h.HeldWorkload(), h.HoldID()
		if h.Labels[hold.OwnerLabel] != c.Engine.Owner || !strings.HasPrefix(id, hold.SchedulePrefix) || h.DeletionTimestamp != nil || applied[t][id] ||
			h.IsPaused(at) && c.isScheduleConfigured(strings.TrimPrefix(id, hold.SchedulePrefix)) {
			continue
		}
		releases = append(releases, func(ctx context.Context) error {
			err := c.Release(ctx, t, id, "no active schedule has this hold")
			if err != nil && !errors.Is(context.Cause(ctx), context.Canceled) {
				klog.FromContext(ctx).Error(err, "Hold cannot be ended", "hold", id, "workload", t.String())
			}
			return err
		})
	}
	return runParallelApplies(ctx, releases)
}

func (c *Controller) listSchedulesOfWorkload(t hold.Workload) (all []*schedule.Schedule) {
	for i := range c.Schedules {
		if slices.ContainsFunc(c.Schedules[i].Workloads, t.IsSameObject) {
			all = append(all, &c.Schedules[i])
		}
	}
	return all
}

// isScheduleConfigured reports whether the configuration has the schedule.
func (c *Controller) isScheduleConfigured(name string) bool {
	return slices.ContainsFunc(c.Schedules, func(s schedule.Schedule) bool { return s.Name == name })
}
