// Clocks that disagree: the leader before had a clock that is ahead of this one, or this one was set back.

package rollout

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// maxClockSkew is how far a recorded time may be ahead: above the skew of machines with a time service.
const maxClockSkew = time.Minute

// correctFutureTimes sets the times in a status that lie ahead to now. Every wait is counted from one of them: without the correction it lasts
// until the clock has caught up.
func (o *HeldWorkload) correctFutureTimes(now time.Time) (Step, bool) {
	for i := range o.Holds {
		status, changed := o.Holds[i].Status.DeepCopy(), false
		limit := func(t *metav1.MicroTime, latest time.Time) {
			if t.After(latest.Add(maxClockSkew)) {
				*t, changed = metav1.NewMicroTime(latest), true
			}
		}
		for _, t := range []*metav1.MicroTime{&status.Since, &status.Entered, &status.GateStepAt, &status.BreachedSince} {
			limit(t, now)
		}
		for j := range status.Outbox {
			limit(&status.Outbox[j].Time, now)
		}
		for j := range status.Conditions {
			if at := &status.Conditions[j].LastTransitionTime; at.After(now.Add(maxClockSkew)) {
				*at, changed = metav1.NewTime(now), true
			}
		}
		limit(&status.RetryAt, now.Add(maxRetryPause))
		if plan := o.planHoldGates(&o.Holds[i]); plan.After != nil {
			limit(&status.WatchUntil, now.Add(plan.After.For))
		}
		if changed {
			return o.writeStatusStep(i, status), true
		}
	}
	return Step{}, false
}

// boundsSeen returns the time at which the autoscaler's controller has seen the bounds that the scaler set last; zero: long ago. The API server's
// clock says when that was: where it is ahead of this one, nothing waits for it.
func (a *Autoscaler) boundsSeen(now time.Time) time.Time {
	if a == nil || a.BoundsSet.IsZero() || a.BoundsSet.After(now.Add(boundsLag)) {
		return time.Time{}
	}
	return a.BoundsSet.Add(boundsLag)
}

// isHoldOverOnArrival reports whether the end of a hold of another client was past when it came.
func isHoldOverOnArrival(h *hold.Object, now time.Time) bool {
	return h.Status.State == "" && h.Fault == "" && !h.IsManaged() && !h.IsWorkloadPause() && h.DeletionTimestamp == nil && !h.IsPaused(now) && h.IsOver(now)
}
