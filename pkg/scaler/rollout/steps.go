package rollout

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// gateOpenTimeout is how long what follows success may fail until it is a failure: an API server or a webhook's receiver that
// restarts is back by then, and an event that waits longer is over.
const gateOpenTimeout = time.Minute

// The steps of a pass are in the order in which they are made; nothing is raised that the record does not hold, and the record
// forgets nothing that is still raised.

// closeGates closes the gates of the holds that have ended. While one cannot be closed, its pods stay.
func (p *reconcilePass) closeGates(ctx context.Context) error {
	for i := range p.record.Holds {
		h := &p.record.Holds[i]
		actions := p.record.Closing(h, p.now)
		if !h.Ended(p.now) || len(actions) == 0 {
			continue
		}
		if err := p.Gate.Do(ctx, p.workload.Namespace, actions); err != nil {
			p.passLogger(ctx).Error(err, "Gate cannot be shut; the pods stay until it can", "hold", h.ID)
			p.unclosedHolds = append(p.unclosedHolds, h.ID)
			p.requestPassBy(p.now.Add(retryInterval))
		}
	}
	return nil
}

// rejectOversizedHolds refuses the holds that ask for more than the autoscaler may do, before anything is changed for them.
func (p *reconcilePass) rejectOversizedHolds(ctx context.Context) error {
	p.desired = p.computeDesired()
	if p.hpa == nil {
		return nil
	}
	most := p.maxAllowedReplicas()
	return p.rollBackHolds(ctx, p.formatTooMany(most), func(h *hold.Hold) bool { return h.State == hold.Received && h.Replicas > most })
}

// maxAllowedReplicas is how many replicas the autoscaler allows: its own maximum, or the ceiling that was asked for.
func (p *reconcilePass) maxAllowedReplicas() int32 {
	own := autoscalerBounds(p.hpa).Max
	if m := p.bounds.Max; m != nil && !m.Yielded {
		own = m.Was
	}
	return max(own, p.desired.Ceiling)
}

func (p *reconcilePass) formatTooMany(most int32) string {
	return fmt.Sprintf("%s allows at most %d replicas: raise its maxReplicas, or ask for a ceiling", p.autoscalerText(), most)
}

// computeDesired is what the holds ask for that have not ended, or whose gate is still open.
func (p *reconcilePass) computeDesired() hold.Want {
	record := p.record.Clone()
	for _, id := range p.unclosedHolds {
		record.Find(id).Until = time.Time{}
	}
	return record.Wanted(p.now)
}

// raiseBounds makes the autoscaler's bounds what is wanted: higher before the scale is, so that it does not undo the change, and
// lower as soon as a hold has ended.
func (p *reconcilePass) raiseBounds(ctx context.Context) error {
	if err := p.updateBounds(ctx); err != nil {
		return err
	}
	return p.advanceHolds(ctx, hold.Received, hold.Raised)
}

// scaleHolds scales: with an autoscaler up to what each new hold wants, once; without one to what all holds want, always.
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
		h.Asked = h.Replicas > h.Before
	}
	return p.advanceHolds(ctx, hold.Raised, hold.Scaled)
}

// advanceHolds moves all holds in one state to the next, and notes it.
func (p *reconcilePass) advanceHolds(ctx context.Context, from, to hold.State) error {
	moved := false
	for i := range p.record.Holds {
		if h := &p.record.Holds[i]; h.State == from && !h.Ended(p.now) {
			p.enterHoldState(h, to, "")
			moved = true
		}
	}
	if !moved {
		return nil
	}
	return p.saveRecord(ctx)
}

// enterHoldState is Enter, counted when it is noted.
func (p *reconcilePass) enterHoldState(h *hold.Hold, to hold.State, why string) {
	h.Enter(to, why, p.now)
	took := p.now.Sub(h.Since)
	p.onRecordSaved(func() { p.Metrics.recordTransition(to, took) })
}

// rollBackHolds decides that holds are rolled back, and notes it. What they raised is undone from the next step on.
func (p *reconcilePass) rollBackHolds(ctx context.Context, why string, which func(*hold.Hold) bool) error {
	failed := false
	for i := range p.record.Holds {
		if h := &p.record.Holds[i]; which(h) {
			p.enterHoldState(h, hold.RolledBack, why)
			id := h.ID
			p.onRecordSaved(func() { p.recordWarning("Failed", "hold %s: %s", id, why) })
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

// undoRolledBackHolds takes the replicas back that a failed hold asked for, and tells people. The bounds are back already.
func (p *reconcilePass) undoRolledBackHolds(ctx context.Context) error {
	for i := range p.record.Holds {
		h := &p.record.Holds[i]
		if !h.Undo {
			continue
		}
		if err := p.lowerReplicas(ctx, h); err != nil {
			return err
		}
		h.Undo = false
		if err := p.saveRecord(ctx); err != nil {
			return err
		}
		p.notifyOutcome(ctx, h, fmt.Sprintf("failed and rolled back to %d replicas", p.specReplicas()))
	}
	return nil
}

// lowerReplicas lowers the scale to what it was before the hold, but not below what others want.
func (p *reconcilePass) lowerReplicas(ctx context.Context, h *hold.Hold) error {
	if p.hpa == nil || !h.Asked { // without an autoscaler, scaleTo has done it
		return nil
	}
	if to := max(h.Before, p.desired.Floor, autoscalerBounds(p.hpa).Min); p.specReplicas() > to {
		return p.rereadAndScale(ctx, to)
	}
	return nil
}

// checkReady looks at the new pods of the holds that are scaled.
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
		if h.State != hold.Scaled || h.Ended(p.now) {
			continue
		}
		missing := p.describeMissingPods(h)
		switch {
		case missing == "":
			p.enterHoldState(h, hold.Ready, "")
			if err := p.saveRecord(ctx); err != nil {
				return err
			}
			p.recordEvent("Ready", "hold %s: all new pods are ready after %s", h.ID, p.now.Sub(h.Since).Round(time.Millisecond))
		case !p.now.Before(h.Deadline()):
			why := missing + p.replicaFailureHint()
			return p.rollBackHolds(ctx, why, func(f *hold.Hold) bool { return f.ID == h.ID })
		}
	}
	return p.pickHoldToVerify(ctx)
}

func (p *reconcilePass) hasHoldInState(s hold.State) bool {
	for i := range p.record.Holds {
		if h := &p.record.Holds[i]; h.State == s && !h.Ended(p.now) {
			return true
		}
	}
	return false
}

// pickHoldToVerify names the hold whose pods are to be verified; those with nothing to verify go on.
func (p *reconcilePass) pickHoldToVerify(ctx context.Context) error {
	moved := false
	for i := range p.record.Holds {
		h := &p.record.Holds[i]
		switch {
		case h.State != hold.Ready || h.Ended(p.now):
		case h.Verify == nil:
			p.enterHoldState(h, hold.Verified, "nothing to verify")
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

// openGates does what follows success.
func (p *reconcilePass) openGates(ctx context.Context) error {
	for i := range p.record.Holds {
		h := &p.record.Holds[i]
		if h.State != hold.Verified || h.Ended(p.now) {
			continue
		}
		if err := p.Gate.Do(ctx, p.workload.Namespace, h.OnSuccess); err != nil {
			p.requestPassBy(p.now.Add(retryInterval))
			if p.now.Before(h.Entered.Add(gateOpenTimeout)) {
				p.passLogger(ctx).Error(err, "Gate cannot be opened yet", "hold", h.ID)
				continue
			}
			return p.rollBackHolds(ctx, "open the gate: "+err.Error(), func(f *hold.Hold) bool { return f.ID == h.ID })
		}
		p.enterHoldState(h, hold.Open, h.Why)
		if err := p.saveRecord(ctx); err != nil {
			return err
		}
		p.notifyOutcome(ctx, h, fmt.Sprintf("up: %d replicas", p.specReplicas()))
	}
	return nil
}

// removeEndedHolds forgets the holds that have ended and of which nothing is left to undo.
func (p *reconcilePass) removeEndedHolds(ctx context.Context) error {
	var ended []hold.Hold
	for _, h := range p.record.Holds {
		over := h.Ended(p.now) || h.State == hold.RolledBack && h.Until.IsZero()
		if over && !h.Undo && !slices.Contains(p.unclosedHolds, h.ID) {
			ended = append(ended, h)
		}
	}
	if len(ended) == 0 {
		return nil
	}
	for i := range ended {
		p.dropOrRestoreHold(&ended[i])
		p.reports.takeReport(p.workload, ended[i].ID) // ended before anybody was told
	}
	for i := range ended {
		if h := &ended[i]; h.State != hold.RolledBack {
			p.enterHoldState(h, hold.Released, h.Why)
			p.onRecordSaved(func() { p.recordEvent("Released", "hold %s ended; %d replicas", h.ID, p.specReplicas()) })
		}
	}
	if err := p.saveRecord(ctx); err != nil {
		return err
	}
	p.endedHolds = ended
	return nil
}

// dropOrRestoreHold drops a hold or, after a rollback, puts the one back that it had replaced.
func (p *reconcilePass) dropOrRestoreHold(h *hold.Hold) {
	if previous := h.Previous; h.State == hold.RolledBack && previous != nil && !h.Ended(p.now) && !previous.Ended(p.now) {
		*p.record.Find(h.ID) = *previous
		return
	}
	p.record.Drop(h.ID)
}

// requestPassBy makes the next pass come at t at the latest.
func (p *reconcilePass) requestPassBy(t time.Time) {
	if p.nextPass.IsZero() || t.Before(p.nextPass) {
		p.nextPass = t
	}
}

// requestRestingPass says when a target with holds is worth the next look, if nothing is waited for.
func (p *reconcilePass) requestRestingPass() {
	if len(p.record.Holds) == 0 {
		return
	}
	p.requestPassBy(p.now.Add(restingInterval))
	if end := p.record.Earliest(p.now); !end.IsZero() {
		p.requestPassBy(end)
	}
}
