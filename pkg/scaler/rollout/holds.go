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

// ErrGone is for a target that is not there.
var ErrGone = errors.New("it does not exist")

// Put notes a hold on a target, in the place of one with its ID; the next pass acts on it. It tells whether the record
// changed: a hold that is there already, with all that it asks for, is left alone, however far it has come.
func (e *Engine) Put(ctx context.Context, t hold.Target, h hold.Hold, now time.Time) (changed bool, err error) {
	if err := h.Validate(); err != nil {
		return false, err
	}
	err = e.retryOnConflict(ctx, func() error {
		p, err := e.observeWorkload(ctx, t, now)
		if err != nil {
			return err
		}
		if p.object == nil {
			return ErrGone
		}
		if changed = p.applyHold(h); !changed {
			return nil
		}
		defer p.writeEvents(ctx)
		return p.saveRecord(ctx)
	})
	if err != nil {
		return false, fmt.Errorf("hold %s: %w", t, err)
	}
	return changed, nil
}

// applyHold changes the record, and tells whether it did.
func (p *reconcilePass) applyHold(h hold.Hold) bool {
	if !p.upsertHold(h) {
		return false
	}
	if p.record.Find(h.ID).State == hold.Received {
		p.onRecordSaved(func() {
			p.Metrics.recordTransition(hold.Received, 0)
			p.recordEvent("Received", "hold %s by %s: %d replicas%s", h.ID, h.By, h.Replicas, formatHoldUntil(&h))
		})
	}
	return true
}

// upsertHold is put without a word.
func (p *reconcilePass) upsertHold(h hold.Hold) bool {
	earlier := p.record.Find(h.ID)
	if earlier != nil && !changesHold(h, earlier) {
		return false
	}
	if p.record.AtRest() { // the first that holds: what is there now is what was there before
		p.record.Replicas = hold.Change{Was: p.specReplicas()}
	}
	h = h.Replace(earlier, p.specReplicas(), p.now)
	if earlier == nil {
		p.record.Holds = append(p.record.Holds, h)
	} else {
		*earlier = h
	}
	return true
}

func formatHoldUntil(h *hold.Hold) string {
	if h.Until.IsZero() {
		return ""
	}
	return " until " + h.Until.UTC().Format(time.RFC3339)
}

// changesHold tells whether a hold asks for more than is there. One that failed is not tried again before its end: a schedule that
// asks at every look would bring pods up and down for hours.
func changesHold(h hold.Hold, earlier *hold.Hold) bool {
	if earlier.State.Holds() {
		return !equalHoldSpecs(h, *earlier)
	}
	return h.Until.IsZero() || !h.Until.Equal(earlier.Until)
}

// equalHoldSpecs tells whether two holds ask for the same, however far they have come.
func equalHoldSpecs(a, b hold.Hold) bool {
	text := func(h hold.Hold) string {
		h.State, h.Why, h.Since, h.Entered, h.Before, h.Asked, h.Undo, h.Previous = "", "", time.Time{}, time.Time{}, 0, false, false, nil
		h.Until = h.Until.UTC().Round(0)
		data, err := json.Marshal(h)
		if err != nil {
			return err.Error()
		}
		return string(data)
	}
	return text(a) == text(b)
}

// End makes holds of a target end now, all of them if ids is empty; the next pass acts on it. It returns the IDs of those
// that there were.
func (e *Engine) End(ctx context.Context, t hold.Target, ids []string, why string, now time.Time) (ended []string, err error) {
	err = e.retryOnConflict(ctx, func() error {
		p, err := e.observeWorkload(ctx, t, now)
		if err != nil {
			return err
		}
		if p.object == nil {
			return ErrGone
		}
		ended = p.endHolds(ids, why)
		if len(ended) == 0 {
			return nil
		}
		return p.saveRecord(ctx)
	})
	if err != nil {
		return nil, fmt.Errorf("release %s: %w", t, err)
	}
	return ended, nil
}

func (p *reconcilePass) endHolds(ids []string, why string) (ended []string) {
	for i := range p.record.Holds {
		h := &p.record.Holds[i]
		if len(ids) > 0 && !slices.Contains(ids, h.ID) {
			continue
		}
		ended = append(ended, h.ID)
		if !h.Ended(p.now) {
			h.Until = p.now
			if h.State.Holds() {
				h.Why = why
			}
		}
	}
	return ended
}
