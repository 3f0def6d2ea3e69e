package controller

import (
	"context"
	"slices"
	"strings"
	"time"

	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/schedule"
)

const (
	// reapplyInterval is the interval at which schedules are applied again, for workloads created or released by hand since.
	reapplyInterval = time.Minute
	// holdOverlap is the time by which a hold outlasts its window, unless the controller replaces or ends it at the end of the window.
	// Without it, a workload between two windows would be restored and raised again.
	holdOverlap = 2 * time.Minute
	// reapplyRetryInterval is the interval after a failure.
	reapplyRetryInterval = 5 * time.Second
)

// runControllerSchedules applies the schedules at each of their changes, until ctx ends.
func (c *Controller) runControllerSchedules(ctx context.Context) error {
	for {
		at := time.Now()
		next := at.Add(reapplyInterval)
		if !c.applyControllerSchedules(ctx, at) {
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

// applyControllerSchedules sets the holds of all schedules for a time. It reports whether all succeeded.
func (c *Controller) applyControllerSchedules(ctx context.Context, at time.Time) bool {
	done := true
	applied := map[hold.Workload]map[string]bool{}
	for i := range c.Schedules {
		s := &c.Schedules[i]
		for _, t := range s.Workloads {
			want, on := c.activeControllerWindow(ctx, s, t, at)
			if !on {
				continue
			}
			if applied[t] == nil {
				applied[t] = map[string]bool{}
			}
			applied[t][hold.SchedulePrefix+s.Name] = true
			if err := c.Raise(ctx, t, c.newControllerScheduleHold(s, want)); err != nil && ctx.Err() == nil {
				klog.FromContext(ctx).Error(err, "Schedule cannot be applied", "schedule", s.Name, "workload", t.String(), "retryIn", reapplyRetryInterval)
				done = false
			}
		}
	}
	return c.endStaleControllerHolds(ctx, at, applied) && done
}

// activeControllerWindow returns the window of a schedule for one of its workloads.
func (c *Controller) activeControllerWindow(ctx context.Context, s *schedule.Schedule, t hold.Workload, at time.Time) (schedule.ActiveWindow, bool) {
	others := c.listControllerSchedules(t)
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

// newControllerScheduleHold returns the hold of a schedule's active window. It may lower the workload, for nights, except in a ramp that counts
// from 0.
func (c *Controller) newControllerScheduleHold(s *schedule.Schedule, w schedule.ActiveWindow) hold.Hold {
	h := hold.Hold{
		ID: hold.SchedulePrefix + s.Name, Reason: w.Window, By: c.HoldsBy,
		Replicas: w.Replicas, MinReplicas: w.MinReplicas, MaxReplicas: w.MaxReplicas, Lower: !w.Ramping, Until: w.Until.Add(holdOverlap), Notify: s.Notify,
		Paused: s.Paused,
	}
	if spec, ok := c.Verifications[s.Verify]; ok {
		h.Verify = &spec
	}
	return h
}

// endStaleControllerHolds ends this controller's schedule holds whose schedule or window is no longer in the configuration. Between two
// windows a paused hold stays, so that the next window is paused too.
func (c *Controller) endStaleControllerHolds(ctx context.Context, at time.Time, applied map[hold.Workload]map[string]bool) bool {
	done := true
	for _, h := range c.Caches.ListAllHolds() {
		t, id := h.HeldWorkload(), h.HoldID()
		if h.Labels[hold.OwnerLabel] != c.Engine.Owner || !strings.HasPrefix(id, hold.SchedulePrefix) || h.DeletionTimestamp != nil || applied[t][id] ||
			h.IsPaused(at) && c.hasControllerSchedule(strings.TrimPrefix(id, hold.SchedulePrefix)) {
			continue
		}
		if err := c.Release(ctx, t, id, "no active schedule has this hold"); err != nil && ctx.Err() == nil {
			klog.FromContext(ctx).Error(err, "Hold cannot be ended", "hold", id, "workload", t.String())
			done = false
		}
	}
	return done
}

// listControllerSchedules lists the schedules of a workload.
func (c *Controller) listControllerSchedules(t hold.Workload) (all []*schedule.Schedule) {
	for i := range c.Schedules {
		if slices.ContainsFunc(c.Schedules[i].Workloads, t.IsSameObject) {
			all = append(all, &c.Schedules[i])
		}
	}
	return all
}

// hasControllerSchedule reports whether the configuration has the schedule.
func (c *Controller) hasControllerSchedule(name string) bool {
	return slices.ContainsFunc(c.Schedules, func(s schedule.Schedule) bool { return s.Name == name })
}
