// The steps of a pass, in the order in which runSteps makes them.

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

// closeGates closes the gates of ended holds. While a gate cannot be closed, its pods stay.
func (p *reconcilePass) closeGates(ctx context.Context) error {
	for i := range p.record.Holds {
		h := &p.record.Holds[i]
		actions := p.record.ReleaseActions(h, p.now)
		if !h.HasEnded(p.now) || len(actions) == 0 {
			continue
		}
		if err := p.Actions.Do(ctx, p.workload.Namespace, actions); err != nil {
			p.passLogger(ctx).Error(err, "Gate cannot be closed, keeping the pods", "hold", h.ID)
			p.unclosedHolds = append(p.unclosedHolds, h.ID)
			p.requestPassBy(p.now.Add(retryInterval))
		}
	}
	return nil
}

// rejectOversizedHolds rolls back the holds above the autoscaler's maxReplicas, before any change is made for them.
func (p *reconcilePass) rejectOversizedHolds(ctx context.Context) error {
	p.desired = p.computeDesired()
	if p.hpa == nil {
		return nil
	}
	allowed := p.maxAllowedReplicas()
	return p.rollBackHolds(ctx, p.formatTooMany(allowed), func(h *hold.Hold) bool { return h.State == hold.Received && h.Replicas > allowed })
}

// maxAllowedReplicas returns the greatest replicas of a hold: the autoscaler's own maxReplicas, or the holds'.
func (p *reconcilePass) maxAllowedReplicas() int32 {
	own := autoscalerBounds(p.hpa).MaxReplicas
	if m := p.bounds.MaxReplicas; m != nil && !m.Yielded {
		own = m.Was
	}
	return max(own, p.desired.MaxReplicas)
}

// formatTooMany returns the message of a hold above the allowed number.
func (p *reconcilePass) formatTooMany(allowed int32) string {
	return fmt.Sprintf("%s allows at most %d replicas: raise its maxReplicas, or set the hold's maxReplicas", p.autoscalerText(), allowed)
}

// computeDesired combines the holds that have not ended, or still have an open gate.
func (p *reconcilePass) computeDesired() hold.DesiredScale {
	record := p.record.Clone()
	for _, id := range p.unclosedHolds {
		record.FindHold(id).Until = time.Time{}
	}
	return record.CombineHolds(p.now)
}

// raiseBounds sets the autoscaler's bounds: it raises them before the scale, so that the autoscaler does not undo the change, and lowers
// them as soon as a hold has ended.
func (p *reconcilePass) raiseBounds(ctx context.Context) error {
	if err := p.updateBounds(ctx); err != nil {
		return err
	}
	return p.advanceHolds(ctx, hold.Received, hold.Raised)
}

// scaleHolds sets the scale. With an autoscaler it raises the scale once for each new hold; without, it keeps the combined scale.
func (p *reconcilePass) scaleHolds(ctx context.Context) error {
	if err := p.scaleWithoutAutoscaler(ctx); err != nil {
		return err
	}
	for i := range p.record.Holds {
		h := &p.record.Holds[i]
		if h.State != hold.Raised {
			continue
		}
		if p.hpa != nil && p.specReplicas() < h.Replicas {
			if err := p.rereadAndScale(ctx, h.Replicas); err != nil {
				return err
			}
		}
		h.ScaledUp = h.Replicas > h.ReplicasBefore
	}
	return p.advanceHolds(ctx, hold.Raised, hold.Scaled)
}

// advanceHolds moves all holds in one state to the next, and saves the record.
func (p *reconcilePass) advanceHolds(ctx context.Context, from, to hold.State) error {
	moved := false
	for i := range p.record.Holds {
		if h := &p.record.Holds[i]; h.State == from && !h.HasEnded(p.now) {
			p.enterHoldState(h, to, "")
			p.onRecordSaved(func() { p.recordEvent(string(to), "hold %s: %s", h.ID, p.scaleText()) })
			moved = true
		}
	}
	if !moved {
		return nil
	}
	return p.saveRecord(ctx)
}

// scaleText describes the current scale and the autoscaler's bounds, for Events.
func (p *reconcilePass) scaleText() string {
	text := fmt.Sprintf("%d replicas", p.specReplicas())
	if p.hpa != nil {
		now := autoscalerBounds(p.hpa)
		text += fmt.Sprintf(", %s %d..%d", p.autoscalerText(), now.MinReplicas, now.MaxReplicas)
	}
	return text
}

// enterHoldState moves the hold to a state, and counts the transition after the next write of the record.
func (p *reconcilePass) enterHoldState(h *hold.Hold, to hold.State, message string) {
	h.EnterState(to, message, p.now)
	took := p.now.Sub(h.Since)
	p.onRecordSaved(func() { p.Metrics.recordTransition(to, took) })
}

// rollBackHolds moves holds to RolledBack, and saves the record. The steps after it undo the changes of the holds.
func (p *reconcilePass) rollBackHolds(ctx context.Context, reason string, matches func(*hold.Hold) bool) error {
	failed := false
	for i := range p.record.Holds {
		if h := &p.record.Holds[i]; matches(h) {
			p.enterHoldState(h, hold.RolledBack, reason)
			id := h.ID
			p.onRecordSaved(func() { p.recordWarning(string(hold.RolledBack), "hold %s: %s", id, reason) })
			failed = true
		}
	}
	if !failed {
		return nil
	}
	if err := p.saveRecord(ctx); err != nil {
		return err
	}
	p.desired = p.computeDesired()
	p.requestPassBy(p.now)
	return nil
}

// undoRolledBackHolds lowers the replicas that failed holds had raised, and notifies people. raiseBounds has restored the bounds.
func (p *reconcilePass) undoRolledBackHolds(ctx context.Context) error {
	for i := range p.record.Holds {
		h := &p.record.Holds[i]
		if !h.UndoPending {
			continue
		}
		if err := p.lowerReplicas(ctx, h); err != nil {
			return err
		}
		h.UndoPending = false
		if err := p.saveRecord(ctx); err != nil {
			return err
		}
		p.notifyOutcome(ctx, h, fmt.Sprintf("failed and rolled back to %d replicas", p.specReplicas()))
	}
	return nil
}

// lowerReplicas lowers the scale to the number before the hold, but not below the other holds.
func (p *reconcilePass) lowerReplicas(ctx context.Context, h *hold.Hold) error {
	if p.hpa == nil || !h.ScaledUp { // without an autoscaler, scaleWithoutAutoscaler has lowered it
		return nil
	}
	if to := max(h.ReplicasBefore, p.desired.MinReplicas, autoscalerBounds(p.hpa).MinReplicas); p.specReplicas() > to {
		return p.rereadAndScale(ctx, to)
	}
	return nil
}

// checkReady moves the holds in Scaled to Ready if all their new pods are ready, and rolls them back at the deadline.
func (p *reconcilePass) checkReady(ctx context.Context) error {
	if !p.hasHoldInState(hold.Scaled) {
		return p.pickHoldToVerify(ctx)
	}
	if err := p.listWorkloadPods(ctx); err != nil {
		return err
	}
	p.requestPassBy(p.now.Add(readyPollInterval))
	for i := range p.record.Holds {
		h := &p.record.Holds[i]
		if h.State != hold.Scaled || h.HasEnded(p.now) {
			continue
		}
		missing := p.describeMissingPods(h)
		switch {
		case missing == "":
			p.enterHoldState(h, hold.Ready, "")
			if err := p.saveRecord(ctx); err != nil {
				return err
			}
			p.recordEvent(string(hold.Ready), "hold %s: all new pods are ready after %s", h.ID, p.now.Sub(h.Since).Round(time.Millisecond))
		case !p.now.Before(h.ReadyDeadline()):
			return p.rollBackHolds(ctx, missing+p.replicaFailureHint(), func(f *hold.Hold) bool { return f.ID == h.ID })
		}
	}
	return p.pickHoldToVerify(ctx)
}

// hasHoldInState reports whether a hold in the state has not ended.
func (p *reconcilePass) hasHoldInState(s hold.State) bool {
	for i := range p.record.Holds {
		if h := &p.record.Holds[i]; h.State == s && !h.HasEnded(p.now) {
			return true
		}
	}
	return false
}

// pickHoldToVerify picks a hold in Ready for verification; holds without a verification move on.
func (p *reconcilePass) pickHoldToVerify(ctx context.Context) error {
	moved := false
	for i := range p.record.Holds {
		h := &p.record.Holds[i]
		switch {
		case h.State != hold.Ready || h.HasEnded(p.now):
		case h.Verify == nil:
			p.enterHoldState(h, hold.Verified, "no verification")
			p.onRecordSaved(func() { p.recordEvent(string(hold.Verified), "hold %s: no verification", h.ID) })
			moved = true
		case p.holdToVerify == "":
			p.holdToVerify = h.ID
		}
	}
	if !moved {
		return nil
	}
	return p.saveRecord(ctx)
}

// openGates runs the actions of verified holds, and rolls a hold back if they fail for gateOpenTimeout.
func (p *reconcilePass) openGates(ctx context.Context) error {
	for i := range p.record.Holds {
		h := &p.record.Holds[i]
		if h.State != hold.Verified || h.HasEnded(p.now) {
			continue
		}
		if err := p.Actions.Do(ctx, p.workload.Namespace, h.OnSuccess); err != nil {
			p.requestPassBy(p.now.Add(retryInterval))
			if p.now.Before(h.Entered.Add(gateOpenTimeout)) {
				p.passLogger(ctx).Error(err, "Gate cannot be opened yet, retrying", "hold", h.ID)
				continue
			}
			return p.rollBackHolds(ctx, "open the gate: "+err.Error(), func(f *hold.Hold) bool { return f.ID == h.ID })
		}
		p.enterHoldState(h, hold.Open, h.StateMessage)
		if err := p.saveRecord(ctx); err != nil {
			return err
		}
		p.notifyOutcome(ctx, h, fmt.Sprintf("up: %d replicas", p.specReplicas()))
	}
	return nil
}

// removeEndedHolds removes the ended holds without anything left to undo.
func (p *reconcilePass) removeEndedHolds(ctx context.Context) error {
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
		p.dropOrRestoreHold(&ended[i])
		p.reports.takeReport(p.workload, ended[i].ID) // the hold ended before its outcome was notified
	}
	for i := range ended {
		if h := &ended[i]; h.State != hold.RolledBack {
			p.enterHoldState(h, hold.Released, h.StateMessage)
			p.onRecordSaved(func() { p.recordEvent(string(hold.Released), "hold %s ended; %d replicas", h.ID, p.specReplicas()) })
		}
	}
	if err := p.saveRecord(ctx); err != nil {
		return err
	}
	p.endedHolds = ended
	return nil
}

// dropOrRestoreHold removes a hold; after a rollback it restores the previous hold instead.
func (p *reconcilePass) dropOrRestoreHold(h *hold.Hold) {
	if previous := h.Previous; h.State == hold.RolledBack && previous != nil && !h.HasEnded(p.now) && !previous.HasEnded(p.now) {
		*p.record.FindHold(h.ID) = *previous
		return
	}
	p.record.RemoveHold(h.ID)
}

// requestPassBy sets the latest time of the next pass to t, unless it is earlier already.
func (p *reconcilePass) requestPassBy(t time.Time) {
	if p.nextPass.IsZero() || t.Before(p.nextPass) {
		p.nextPass = t
	}
}

// requestRestingPass sets the next pass of a workload with holds: at their next end, or after restingInterval.
func (p *reconcilePass) requestRestingPass() {
	if len(p.record.Holds) == 0 {
		return
	}
	p.requestPassBy(p.now.Add(restingInterval))
	if end := p.record.NextEnd(p.now); !end.IsZero() {
		p.requestPassBy(end)
	}
}
