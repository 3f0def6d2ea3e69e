package controller

import (
	"context"
	"strings"
	"time"

	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/schedule"
)

const (
	// schedulePrefix begins the IDs of the holds of schedules.
	schedulePrefix = "schedule/"
	// reapplyInterval is how often schedules are stated again, for targets that were made, or released by hand, since.
	reapplyInterval = time.Minute
	// holdOverlap is how much longer than its window a hold would last if nobody ended it: the next window takes its place, or it is
	// ended, the moment the window is over. Without it, a target between two windows would be given back and taken again.
	holdOverlap = 2 * time.Minute
	// reapplyRetryInterval is how soon after the API server refused.
	reapplyRetryInterval = 5 * time.Second
)

// runSchedules states what schedules say, whenever one changes, until ctx ends.
func (c *Controller) runSchedules(ctx context.Context) error {
	for {
		at := timeNow()
		next := at.Add(reapplyInterval)
		if !c.applySchedules(ctx, at) {
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

// applySchedules makes the holds of schedules what they say at a time. It tells whether all could be.
func (c *Controller) applySchedules(ctx context.Context, at time.Time) bool {
	done := true
	stated := map[hold.Workload]map[string]bool{}
	for i := range c.Schedules {
		s := &c.Schedules[i]
		want, on := s.ActiveAt(at)
		for _, t := range s.Workloads {
			if !on {
				continue
			}
			if stated[t] == nil {
				stated[t] = map[string]bool{}
			}
			stated[t][schedulePrefix+s.Name] = true
			if err := c.Raise(ctx, t, c.newScheduleHold(s, want)); err != nil && ctx.Err() == nil {
				klog.FromContext(ctx).Error(err, "Schedule cannot be kept", "schedule", s.Name, "target", t.String(), "again in", reapplyRetryInterval)
				done = false
			}
		}
	}
	return c.endStaleHolds(ctx, stated) && done
}

// newScheduleHold is what a schedule wants as a hold. It may lower what it finds, since nights are schedules too, but for the small
// first steps of a ramp.
func (c *Controller) newScheduleHold(s *schedule.Schedule, w schedule.ActiveWindow) hold.Hold {
	h := hold.Hold{
		ID: schedulePrefix + s.Name, Reason: w.Window, By: c.HoldsBy,
		Replicas: w.Replicas, MinReplicas: w.MinReplicas, MaxReplicas: w.MaxReplicas, Lower: !w.Ramping, Until: w.Until.Add(holdOverlap), Notify: s.Notify,
	}
	if spec, ok := c.Verifications[s.Verify]; ok {
		h.Verify = &spec
	}
	return h
}

// endStaleHolds ends our holds of schedules that say so no more: whose window was taken out of the configuration.
func (c *Controller) endStaleHolds(ctx context.Context, stated map[hold.Workload]map[string]bool) bool {
	done := true
	for _, namespace := range c.Namespaces {
		standing, err := c.Engine.ListHeld(ctx, namespace, c.Kinds)
		if err != nil && ctx.Err() == nil {
			klog.FromContext(ctx).Error(err, "Held targets cannot be listed", "namespace", namespace, "again in", reapplyRetryInterval)
			done = false
		}
		for _, s := range standing {
			for _, h := range s.Record.Holds {
				if h.By != c.HoldsBy || !strings.HasPrefix(h.ID, schedulePrefix) || stated[s.Workload][h.ID] {
					continue
				}
				if err := c.Release(ctx, s.Workload, h.ID, "no schedule says so any more"); err != nil && ctx.Err() == nil {
					klog.FromContext(ctx).Error(err, "Hold cannot be ended", "hold", h.ID, "target", s.Workload.String())
					done = false
				}
			}
		}
	}
	return done
}
