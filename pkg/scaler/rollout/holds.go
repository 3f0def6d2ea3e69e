// ApplyHold and EndHolds: the changes of a record by a client.

package rollout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// ErrGone marks a workload that does not exist.
var ErrGone = errors.New("workload does not exist")

// ApplyHold writes a hold to the record of a workload, and replaces a hold with the same ID; the next pass acts on it. It reports
// whether the record changed: an identical hold stays as it is, with its progress.
func (e *Engine) ApplyHold(ctx context.Context, t hold.Workload, h hold.Hold, now time.Time) (changed bool, err error) {
	if err := h.Validate(); err != nil {
		return false, err
	}
	err = e.retryRolloutOnConflict(ctx, func() error {
		p, err := e.observeRolloutWorkload(ctx, t, now)
		if err != nil {
			return err
		}
		if p.object == nil {
			return ErrGone
		}
		if changed = p.applyRolloutHold(h); !changed {
			return nil
		}
		defer p.writeRolloutEvents(ctx)
		return p.saveRolloutRecord(ctx)
	})
	if err != nil {
		return false, fmt.Errorf("hold %s: %w", t, err)
	}
	return changed, nil
}

// applyRolloutHold adds the hold to the record, with its Event and metric. It reports whether the record changed.
func (p *reconcilePass) applyRolloutHold(h hold.Hold) bool {
	if !p.upsertRolloutHold(h) {
		return false
	}
	if p.record.FindHold(h.ID).State == hold.Received {
		p.onRolloutRecordSaved(func() {
			p.Metrics.recordRolloutTransition(hold.Received, 0)
			p.recordRolloutEvent(string(hold.Received), "hold %s by %s: %d replicas%s", h.ID, h.By, h.Replicas, formatRolloutHoldUntil(&h))
		})
	}
	return true
}

// upsertRolloutHold adds the hold to the record, or replaces the hold with the same ID. It reports whether the record changed.
func (p *reconcilePass) upsertRolloutHold(h hold.Hold) bool {
	earlier := p.record.FindHold(h.ID)
	if earlier != nil && !changesRolloutHold(h, earlier) {
		return false
	}
	if p.record.HoldsNothing() { // the first hold: the current scale is the original
		p.record.Replicas = hold.ReplicaChange{Was: p.rolloutSpecReplicas()}
	}
	h = h.ReplaceHold(earlier, p.rolloutSpecReplicas(), p.now)
	if earlier == nil {
		p.record.Holds = append(p.record.Holds, h)
	} else {
		*earlier = h
	}
	return true
}

// formatRolloutHoldUntil returns the end of a hold as the last words of a sentence; empty if it has no end.
func formatRolloutHoldUntil(h *hold.Hold) string {
	if h.Until.IsZero() {
		return ""
	}
	return " until " + h.Until.UTC().Format(time.RFC3339)
}

// changesRolloutHold reports whether a hold differs from the earlier hold with its ID. A failed hold is not retried before its end: a schedule,
// which is applied every minute, would start and stop pods for hours.
func changesRolloutHold(h hold.Hold, earlier *hold.Hold) bool {
	if earlier.State.IsActive() {
		return !equalRolloutHoldSpecs(h, *earlier)
	}
	return h.Until.IsZero() || !h.Until.Equal(earlier.Until)
}

// equalRolloutHoldSpecs reports whether two holds are equal except for their progress.
func equalRolloutHoldSpecs(a, b hold.Hold) bool {
	text := func(h hold.Hold) string {
		h.State, h.StateMessage, h.Since, h.Entered, h.ReplicasBefore, h.ScaledUp, h.UndoPending, h.Previous = "", "", time.Time{}, time.Time{}, 0, false, false, nil
		h.Until = h.Until.UTC().Round(0)
		data, err := json.Marshal(h)
		if err != nil {
			return err.Error()
		}
		return string(data)
	}
	return text(a) == text(b)
}

// EndHolds sets the end of holds of a workload to now, of all holds if ids is empty; the next pass acts on it. It returns the IDs of the
// ended holds.
func (e *Engine) EndHolds(ctx context.Context, t hold.Workload, ids []string, message string, now time.Time) (ended []string, err error) {
	err = e.retryRolloutOnConflict(ctx, func() error {
		p, err := e.observeRolloutWorkload(ctx, t, now)
		if err != nil {
			return err
		}
		if p.object == nil {
			return ErrGone
		}
		ended = p.endRolloutHolds(ids, message)
		if len(ended) == 0 {
			return nil
		}
		return p.saveRolloutRecord(ctx)
	})
	if err != nil {
		return nil, fmt.Errorf("release %s: %w", t, err)
	}
	return ended, nil
}

// endRolloutHolds sets the end of the holds to now, with a message for active holds.
func (p *reconcilePass) endRolloutHolds(ids []string, message string) (ended []string) {
	for i := range p.record.Holds {
		h := &p.record.Holds[i]
		if len(ids) > 0 && !slices.Contains(ids, h.ID) {
			continue
		}
		ended = append(ended, h.ID)
		if !h.HasEnded(p.now) {
			h.Until = p.now
			if h.State.IsActive() {
				h.StateMessage = message
			}
		}
	}
	return ended
}
