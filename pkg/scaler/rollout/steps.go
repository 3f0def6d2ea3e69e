// The steps of a pass, in the order in which runRolloutSteps makes them.

package rollout

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// gateOpenTimeout is the time in which the actions of a verified hold must succeed. A restarted API server or receiver of a webhook is
// back by then, and an event with a longer wait is over.
const gateOpenTimeout = time.Minute

// closeRolloutGates closes the gates of ended holds. While a gate cannot be closed, its pods stay.
func (p *reconcilePass) closeRolloutGates(ctx context.Context) error {
	for i := range p.record.Holds {
		h := &p.record.Holds[i]
		actions := p.record.ReleaseActions(h, p.now)
		if !h.HasEnded(p.now) || len(actions) == 0 {
			continue
		}
		if err := p.Actions.Do(ctx, p.workload.Namespace, actions); err != nil {
			p.rolloutPassLogger(ctx).Error(err, "Gate cannot be closed, keeping the pods", "hold", h.ID)
			p.unclosedHolds = append(p.unclosedHolds, h.ID)
			p.requestRolloutPassBy(p.now.Add(retryInterval))
		}
	}
	return nil
}

// rejectOversizedRolloutHolds rolls back the holds above the autoscaler's maxReplicas, before any change is made for them.
func (p *reconcilePass) rejectOversizedRolloutHolds(ctx context.Context) error {
	p.desired = p.computeRolloutScale()
	if p.hpa == nil {
		return nil
	}
	allowed := p.maxRolloutReplicas()
	return p.rollBackRolloutHolds(ctx, p.formatTooManyRolloutReplicas(allowed), func(h *hold.Hold) bool { return h.State == hold.Received && h.Replicas > allowed })
}

// maxRolloutReplicas returns the greatest replicas of a hold: the autoscaler's own maxReplicas, or the holds'.
func (p *reconcilePass) maxRolloutReplicas() int32 {
	own := rolloutAutoscalerBounds(p.hpa).MaxReplicas
	if m := p.bounds.MaxReplicas; m != nil && !m.Yielded {
		own = m.Was
	}
	return max(own, p.desired.MaxReplicas)
}

// formatTooManyRolloutReplicas returns the message of a hold above the allowed number.
func (p *reconcilePass) formatTooManyRolloutReplicas(allowed int32) string {
	return fmt.Sprintf("%s allows at most %d replicas: raise its maxReplicas, or set the hold's maxReplicas", p.rolloutAutoscalerText(), allowed)
}

// computeRolloutScale combines the holds that have not ended, or still have an open gate.
func (p *reconcilePass) computeRolloutScale() hold.DesiredScale {
	record := p.record.Clone()
	for _, id := range p.unclosedHolds {
		record.FindHold(id).Until = time.Time{}
	}
	return record.CombineHolds(p.now)
}

// raiseRolloutBounds sets the autoscaler's bounds: it raises them before the scale, so that the autoscaler does not undo the change, and lowers
// them as soon as a hold has ended.
func (p *reconcilePass) raiseRolloutBounds(ctx context.Context) error {
	if err := p.updateRolloutBounds(ctx); err != nil {
		return err
	}
	return p.advanceRolloutHolds(ctx, hold.Received, hold.Raised)
}

// scaleRolloutHolds sets the scale. With an autoscaler it raises the scale once for each new hold; without, it keeps the combined scale.
func (p *reconcilePass) scaleRolloutHolds(ctx context.Context) error {
	if err := p.scaleRolloutWithoutAutoscaler(ctx); err != nil {
		return err
	}
	for i := range p.record.Holds {
		h := &p.record.Holds[i]
		if h.State != hold.Raised {
			continue
		}
		if p.hpa != nil && p.rolloutSpecReplicas() < h.Replicas {
			if err := p.rereadAndScaleRollout(ctx, h.Replicas); err != nil {
				return err
			}
		}
		h.ScaledUp = h.Replicas > h.ReplicasBefore
	}
	return p.advanceRolloutHolds(ctx, hold.Raised, hold.Scaled)
}

// advanceRolloutHolds moves all holds in one state to the next, and saves the record.
func (p *reconcilePass) advanceRolloutHolds(ctx context.Context, from, to hold.State) error {
	moved := false
	for i := range p.record.Holds {
		if h := &p.record.Holds[i]; h.State == from && !h.HasEnded(p.now) {
			p.enterRolloutHoldState(h, to, "")
			p.onRolloutRecordSaved(func() { p.recordRolloutEvent(string(to), "hold %s: %s", h.ID, p.rolloutScaleText()) })
			moved = true
		}
	}
	if !moved {
		return nil
	}
	return p.saveRolloutRecord(ctx)
}

// rolloutScaleText describes the current scale and the autoscaler's bounds, for Events.
func (p *reconcilePass) rolloutScaleText() string {
	text := fmt.Sprintf("%d replicas", p.rolloutSpecReplicas())
	if p.hpa != nil {
		now := rolloutAutoscalerBounds(p.hpa)
		text += fmt.Sprintf(", %s %d..%d", p.rolloutAutoscalerText(), now.MinReplicas, now.MaxReplicas)
	}
	return text
}

// enterRolloutHoldState moves the hold to a state, and counts the transition after the next write of the record.
func (p *reconcilePass) enterRolloutHoldState(h *hold.Hold, to hold.State, message string) {
	h.EnterState(to, message, p.now)
	took := p.now.Sub(h.Since)
	p.onRolloutRecordSaved(func() { p.Metrics.recordRolloutTransition(to, took) })
}

// rollBackRolloutHolds moves holds to RolledBack, and saves the record. The steps after it undo the changes of the holds.
func (p *reconcilePass) rollBackRolloutHolds(ctx context.Context, reason string, matches func(*hold.Hold) bool) error {
	failed := false
	for i := range p.record.Holds {
		if h := &p.record.Holds[i]; matches(h) {
			p.enterRolloutHoldState(h, hold.RolledBack, reason)
			id := h.ID
			p.onRolloutRecordSaved(func() { p.recordRolloutWarning(string(hold.RolledBack), "hold %s: %s", id, reason) })
			failed = true
		}
	}
	if !failed {
		return nil
	}
	if err := p.saveRolloutRecord(ctx); err != nil {
		return err
	}
	p.desired = p.computeRolloutScale()
	p.requestRolloutPassBy(p.now)
	return nil
}

// undoRolledBackRolloutHolds lowers the replicas that failed holds had raised, and notifies people. raiseRolloutBounds has restored the bounds.
func (p *reconcilePass) undoRolledBackRolloutHolds(ctx context.Context) error {
	for i := range p.record.Holds {
		h := &p.record.Holds[i]
		if !h.UndoPending {
			continue
		}
		if err := p.lowerRolloutReplicas(ctx, h); err != nil {
			return err
		}
		h.UndoPending = false
		if err := p.saveRolloutRecord(ctx); err != nil {
			return err
		}
		p.notifyRolloutOutcome(ctx, h, fmt.Sprintf("failed and rolled back to %d replicas", p.rolloutSpecReplicas()))
	}
	return nil
}

// lowerRolloutReplicas lowers the scale to the number before the hold, but not below the other holds.
func (p *reconcilePass) lowerRolloutReplicas(ctx context.Context, h *hold.Hold) error {
	if p.hpa == nil || !h.ScaledUp { // without an autoscaler, scaleRolloutWithoutAutoscaler has lowered it
		return nil
	}
	if to := max(h.ReplicasBefore, p.desired.MinReplicas, rolloutAutoscalerBounds(p.hpa).MinReplicas); p.rolloutSpecReplicas() > to {
		return p.rereadAndScaleRollout(ctx, to)
	}
	return nil
}

// checkRolloutReady moves the holds in Scaled to Ready if all their new pods are ready, and rolls them back at the deadline.
func (p *reconcilePass) checkRolloutReady(ctx context.Context) error {
	if !p.hasRolloutHoldInState(hold.Scaled) {
		return p.pickRolloutHoldToVerify(ctx)
	}
	if err := p.listRolloutPods(ctx); err != nil {
		return err
	}
	p.requestRolloutPassBy(p.now.Add(readyPollInterval))
	for i := range p.record.Holds {
		h := &p.record.Holds[i]
		if h.State != hold.Scaled || h.HasEnded(p.now) {
			continue
		}
		missing := p.describeMissingRolloutPods(h)
		switch {
		case missing == "":
			p.enterRolloutHoldState(h, hold.Ready, "")
			if err := p.saveRolloutRecord(ctx); err != nil {
				return err
			}
			p.recordRolloutEvent(string(hold.Ready), "hold %s: all new pods are ready after %s", h.ID, p.now.Sub(h.Since).Round(time.Millisecond))
		case !p.now.Before(h.ReadyDeadline()):
			return p.rollBackRolloutHolds(ctx, missing+p.rolloutReplicaFailureHint(), func(f *hold.Hold) bool { return f.ID == h.ID })
		}
	}
	return p.pickRolloutHoldToVerify(ctx)
}

// hasRolloutHoldInState reports whether a hold in the state has not ended.
func (p *reconcilePass) hasRolloutHoldInState(s hold.State) bool {
	for i := range p.record.Holds {
		if h := &p.record.Holds[i]; h.State == s && !h.HasEnded(p.now) {
			return true
		}
	}
	return false
}

// pickRolloutHoldToVerify picks a hold in Ready for verification; holds without a verification move on.
func (p *reconcilePass) pickRolloutHoldToVerify(ctx context.Context) error {
	moved := false
	for i := range p.record.Holds {
		h := &p.record.Holds[i]
		switch {
		case h.State != hold.Ready || h.HasEnded(p.now):
		case h.Verify == nil:
			p.enterRolloutHoldState(h, hold.Verified, "no verification")
			p.onRolloutRecordSaved(func() { p.recordRolloutEvent(string(hold.Verified), "hold %s: no verification", h.ID) })
			moved = true
		case p.holdToVerify == "":
			p.holdToVerify = h.ID
		}
	}
	if !moved {
		return nil
	}
	return p.saveRolloutRecord(ctx)
}

// openRolloutGates runs the actions of verified holds, and rolls a hold back if they fail for gateOpenTimeout.
func (p *reconcilePass) openRolloutGates(ctx context.Context) error {
	for i := range p.record.Holds {
		h := &p.record.Holds[i]
		if h.State != hold.Verified || h.HasEnded(p.now) {
			continue
		}
		if err := p.Actions.Do(ctx, p.workload.Namespace, h.OnSuccess); err != nil {
			p.requestRolloutPassBy(p.now.Add(retryInterval))
			if p.now.Before(h.Entered.Add(gateOpenTimeout)) {
				p.rolloutPassLogger(ctx).Error(err, "Gate cannot be opened yet, retrying", "hold", h.ID)
				continue
			}
			return p.rollBackRolloutHolds(ctx, "open the gate: "+err.Error(), func(f *hold.Hold) bool { return f.ID == h.ID })
		}
		p.enterRolloutHoldState(h, hold.Open, h.StateMessage)
		if err := p.saveRolloutRecord(ctx); err != nil {
			return err
		}
		p.notifyRolloutOutcome(ctx, h, fmt.Sprintf("up: %d replicas", p.rolloutSpecReplicas()))
	}
	return nil
}

// removeEndedRolloutHolds removes the ended holds without anything left to undo.
func (p *reconcilePass) removeEndedRolloutHolds(ctx context.Context) error {
	var ended []hold.Hold
	for _, h := range p.record.Holds {
		over := h.HasEnded(p.now) || h.State == hold.RolledBack && h.Until.IsZero()
		if over && !h.UndoPending && !slices.Contains(p.unclosedHolds, h.ID) {
			ended = append(ended, h)
		}
	}
	if len(ended) == 0 {
		return nil
	}
	for i := range ended {
		p.dropOrRestoreRolloutHold(&ended[i])
		p.reports.takeRolloutReport(p.workload, ended[i].ID) // the hold ended before its outcome was notified
	}
	for i := range ended {
		if h := &ended[i]; h.State != hold.RolledBack {
			p.enterRolloutHoldState(h, hold.Released, h.StateMessage)
			p.onRolloutRecordSaved(func() {
				p.recordRolloutEvent(string(hold.Released), "hold %s ended; %d replicas", h.ID, p.rolloutSpecReplicas())
			})
		}
	}
	if err := p.saveRolloutRecord(ctx); err != nil {
		return err
	}
	p.endedHolds = ended
	return nil
}

// dropOrRestoreRolloutHold removes a hold; after a rollback it restores the previous hold instead.
func (p *reconcilePass) dropOrRestoreRolloutHold(h *hold.Hold) {
	if previous := h.Previous; h.State == hold.RolledBack && previous != nil && !h.HasEnded(p.now) && !previous.HasEnded(p.now) {
		*p.record.FindHold(h.ID) = *previous
		return
	}
	p.record.RemoveHold(h.ID)
}

// requestRolloutPassBy sets the latest time of the next pass to t, unless it is earlier already.
func (p *reconcilePass) requestRolloutPassBy(t time.Time) {
	if p.nextPass.IsZero() || t.Before(p.nextPass) {
		p.nextPass = t
	}
}

// requestRestingRolloutPass sets the next pass of a workload with holds: at their next end, or after restingInterval.
func (p *reconcilePass) requestRestingRolloutPass() {
	if len(p.record.Holds) == 0 {
		return
	}
	p.requestRolloutPassBy(p.now.Add(restingInterval))
	if end := p.record.NextEnd(p.now); !end.IsZero() {
		p.requestRolloutPassBy(end)
	}
}
