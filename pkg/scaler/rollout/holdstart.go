// The start of a hold: a message in its outbox.

package rollout

import (
	"fmt"
	"slices"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// outcomeStarted is the start of a hold in Status.Told.
const outcomeStarted = "Started"

// tellHoldStart puts the start of a hold into the status that starts it, so that any process can tell it. The steps of a ramp are one start,
// and so is a change of a hold that waits for its pods, unless it asks for another number.
func (o *HeldWorkload) tellHoldStart(h *hold.Object, status hold.Status, now time.Time) hold.Status {
	switch {
	case len(h.Spec.Notify) == 0 || !o.Gated || status.State == hold.Open || len(status.Outbox) >= maxOutboxMessages:
		return status
	case h.Status.State.IsActive() && (isInWindowOfStart(h) || h.Status.State != hold.Open && h.Status.ReplicasAsked == h.Spec.Replicas):
		status.Told = keepToldStart(h.Status.Told, status.Told)
	}
	if slices.Contains(status.Told, outcomeStarted) {
		return status
	}
	status.Told = append(status.Told, outcomeStarted)
	started := h.DeepCopy()
	started.Status.Message = "" // of the time before
	status.Outbox = o.appendOutboxMessage(status.Outbox, started, outcomeStarted, o.describeHoldStart(h), now)
	return status
}

// isInWindowOfStart reports whether a hold is still in the window in which it started.
func isInWindowOfStart(h *hold.Object) bool {
	return h.Spec.WindowStart != nil && !h.Status.Since.Time.Before(h.Spec.WindowStart.Time)
}

// keepToldStart returns the outcomes that a hold keeps, with its start if that was told.
func keepToldStart(told, kept []string) []string {
	if slices.Contains(told, outcomeStarted) && !slices.Contains(kept, outcomeStarted) {
		return append(kept, outcomeStarted)
	}
	return kept
}

// describeHoldStart returns the number that a hold asks for, and the one that it found.
func (o *HeldWorkload) describeHoldStart(h *hold.Object) string {
	if o.Scale == nil {
		return fmt.Sprintf("asked for %d replicas", h.Spec.Replicas)
	}
	return DescribeStart(h.Spec.Replicas, o.Scale.Replicas)
}

// DescribeStart returns the start of a hold for people, by the number that it asks for and the one that it found.
func DescribeStart(replicas, from int32) string {
	return fmt.Sprintf("asked for %d replicas, from %d", replicas, from)
}
