package rollout

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// gateWithin is how long what follows success may fail until it is a failure: an API server or a webhook's receiver that
// restarts is back by then, and an event that waits longer is over.
const gateWithin = time.Minute

// The steps of a pass are in the order in which they are made; nothing is raised that the record does not hold, and the record
// forgets nothing that is still raised.

// shut closes the gates of the holds that have ended. While one cannot be closed, its pods stay.
func (p *pass) shut(ctx context.Context) error {
	for i := range p.record.Holds {
		h := &p.record.Holds[i]
		actions := p.record.Closing(h, p.now)
		if !h.Ended(p.now) || len(actions) == 0 {
			continue
		}
		if err := p.Gate.Do(ctx, p.target.Namespace, actions); err != nil {
			p.log(ctx).Error(err, "Gate cannot be shut; the pods stay until it can", "hold", h.ID)
			p.closing = append(p.closing, h.ID)
			p.nudge(p.now.Add(retrying))
		}
	}
	return nil
}

// admit refuses the holds that ask for more than the autoscaler may do, before anything is changed for them.
func (p *pass) admit(ctx context.Context) error {
	p.want = p.wanted()
	if p.hpa == nil {
		return nil
	}
	most := p.most()
	return p.fail(ctx, p.tooMany(most), func(h *hold.Hold) bool { return h.State == hold.Received && h.Replicas > most })
}

// most is how many replicas the autoscaler allows: its own maximum, or the ceiling that was asked for.
func (p *pass) most() int32 {
	own := limits(p.hpa).Max
	if m := p.bounds.Max; m != nil && !m.Yielded {
		own = m.Was
	}
	return max(own, p.want.Ceiling)
}

func (p *pass) tooMany(most int32) string {
	return fmt.Sprintf("%s allows at most %d replicas: raise its maxReplicas, or ask for a ceiling", p.autoscaler(), most)
}

// wanted is what the holds ask for that have not ended, or whose gate is still open.
func (p *pass) wanted() hold.Want {
	record := p.record.Clone()
	for _, id := range p.closing {
		record.Find(id).Until = time.Time{}
	}
	return record.Wanted(p.now)
}

// raise makes the autoscaler's bounds what is wanted: higher before the scale is, so that it does not undo the change, and
// lower as soon as a hold has ended.
func (p *pass) raise(ctx context.Context) error {
	if err := p.bound(ctx); err != nil {
		return err
	}
	return p.enter(ctx, hold.Received, hold.Raised)
}

// ask scales: with an autoscaler up to what each new hold wants, once; without one to what all holds want, always.
func (p *pass) ask(ctx context.Context) error {
	if err := p.scaleTo(ctx); err != nil {
		return err
	}
	for i := range p.record.Holds {
		h := &p.record.Holds[i]
		if h.State != hold.Raised {
			continue
		}
		if p.hpa != nil && p.replicas() < h.Replicas {
			if err := p.rescale(ctx, h.Replicas); err != nil {
				return err
			}
		}
		h.Asked = h.Replicas > h.Before
	}
	return p.enter(ctx, hold.Raised, hold.Scaled)
}

// enter moves all holds in one state to the next, and notes it.
func (p *pass) enter(ctx context.Context, from, to hold.State) error {
	moved := false
	for i := range p.record.Holds {
		if h := &p.record.Holds[i]; h.State == from && !h.Ended(p.now) {
			p.move(h, to, "")
			moved = true
		}
	}
	if !moved {
		return nil
	}
	return p.save(ctx)
}

// move is Enter, counted when it is noted.
func (p *pass) move(h *hold.Hold, to hold.State, why string) {
	h.Enter(to, why, p.now)
	took := p.now.Sub(h.Since)
	p.whenSaved(func() { p.Metrics.moved(to, took) })
}

// fail decides that holds are rolled back, and notes it. What they raised is undone from the next step on.
func (p *pass) fail(ctx context.Context, why string, which func(*hold.Hold) bool) error {
	failed := false
	for i := range p.record.Holds {
		if h := &p.record.Holds[i]; which(h) {
			p.move(h, hold.RolledBack, why)
			id := h.ID
			p.whenSaved(func() { p.warn("Failed", "hold %s: %s", id, why) })
			failed = true
		}
	}
	if !failed {
		return nil
	}
	if err := p.save(ctx); err != nil {
		return err
	}
	p.want = p.wanted()
	p.nudge(p.now)
	return nil
}

// undo takes the replicas back that a failed hold asked for, and tells people. The bounds are back already.
func (p *pass) undo(ctx context.Context) error {
	for i := range p.record.Holds {
		h := &p.record.Holds[i]
		if !h.Undo {
			continue
		}
		if err := p.takeBack(ctx, h); err != nil {
			return err
		}
		h.Undo = false
		if err := p.save(ctx); err != nil {
			return err
		}
		p.announce(ctx, h, fmt.Sprintf("failed and rolled back to %d replicas", p.replicas()))
	}
	return nil
}

// takeBack lowers the scale to what it was before the hold, but not below what others want.
func (p *pass) takeBack(ctx context.Context, h *hold.Hold) error {
	if p.hpa == nil || !h.Asked { // without an autoscaler, scaleTo has done it
		return nil
	}
	if to := max(h.Before, p.want.Floor, limits(p.hpa).Min); p.replicas() > to {
		return p.rescale(ctx, to)
	}
	return nil
}

// await looks at the new pods of the holds that are scaled.
func (p *pass) await(ctx context.Context) error {
	if !p.any(hold.Scaled) {
		return p.pickJudged(ctx)
	}
	if err := p.readPods(ctx); err != nil {
		return err
	}
	p.nudge(p.now.Add(waiting))
	for i := range p.record.Holds {
		h := &p.record.Holds[i]
		if h.State != hold.Scaled || h.Ended(p.now) {
			continue
		}
		missing := p.missing(h)
		switch {
		case missing == "":
			p.move(h, hold.Ready, "")
			if err := p.save(ctx); err != nil {
				return err
			}
			p.say("Ready", "hold %s: all new pods are ready after %s", h.ID, p.now.Sub(h.Since).Round(time.Millisecond))
		case !p.now.Before(h.Deadline()):
			why := missing + p.hint()
			return p.fail(ctx, why, func(f *hold.Hold) bool { return f.ID == h.ID })
		}
	}
	return p.pickJudged(ctx)
}

func (p *pass) any(s hold.State) bool {
	for i := range p.record.Holds {
		if h := &p.record.Holds[i]; h.State == s && !h.Ended(p.now) {
			return true
		}
	}
	return false
}

// pickJudged names the hold whose pods are to be verified; those with nothing to verify go on.
func (p *pass) pickJudged(ctx context.Context) error {
	moved := false
	for i := range p.record.Holds {
		h := &p.record.Holds[i]
		switch {
		case h.State != hold.Ready || h.Ended(p.now):
		case h.Verify == nil:
			p.move(h, hold.Verified, "nothing to verify")
			moved = true
		case p.judge == "":
			p.judge = h.ID
		}
	}
	if !moved {
		return nil
	}
	return p.save(ctx)
}

// open does what follows success.
func (p *pass) open(ctx context.Context) error {
	for i := range p.record.Holds {
		h := &p.record.Holds[i]
		if h.State != hold.Verified || h.Ended(p.now) {
			continue
		}
		if err := p.Gate.Do(ctx, p.target.Namespace, h.OnSuccess); err != nil {
			p.nudge(p.now.Add(retrying))
			if p.now.Before(h.Entered.Add(gateWithin)) {
				p.log(ctx).Error(err, "Gate cannot be opened yet", "hold", h.ID)
				continue
			}
			return p.fail(ctx, "open the gate: "+err.Error(), func(f *hold.Hold) bool { return f.ID == h.ID })
		}
		p.move(h, hold.Open, h.Why)
		if err := p.save(ctx); err != nil {
			return err
		}
		p.announce(ctx, h, fmt.Sprintf("up: %d replicas", p.replicas()))
	}
	return nil
}

// finish forgets the holds that have ended and of which nothing is left to undo.
func (p *pass) finish(ctx context.Context) error {
	var ended []hold.Hold
	for _, h := range p.record.Holds {
		over := h.Ended(p.now) || h.State == hold.RolledBack && h.Until.IsZero()
		if over && !h.Undo && !slices.Contains(p.closing, h.ID) {
			ended = append(ended, h)
		}
	}
	if len(ended) == 0 {
		return nil
	}
	for i := range ended {
		p.forget(&ended[i])
		p.reports.take(p.target, ended[i].ID) // ended before anybody was told
	}
	for i := range ended {
		if h := &ended[i]; h.State != hold.RolledBack {
			p.move(h, hold.Released, h.Why)
			p.whenSaved(func() { p.say("Released", "hold %s ended; %d replicas", h.ID, p.replicas()) })
		}
	}
	if err := p.save(ctx); err != nil {
		return err
	}
	p.ended = ended
	return nil
}

// forget drops a hold or, after a rollback, puts the one back that it had replaced.
func (p *pass) forget(h *hold.Hold) {
	if previous := h.Previous; h.State == hold.RolledBack && previous != nil && !h.Ended(p.now) && !previous.Ended(p.now) {
		*p.record.Find(h.ID) = *previous
		return
	}
	p.record.Drop(h.ID)
}

// nudge makes the next pass come at t at the latest.
func (p *pass) nudge(t time.Time) {
	if p.again.IsZero() || t.Before(p.again) {
		p.again = t
	}
}

// rest says when a target with holds is worth the next look, if nothing is waited for.
func (p *pass) rest() {
	if len(p.record.Holds) == 0 {
		return
	}
	p.nudge(p.now.Add(watching))
	if end := p.record.Earliest(p.now); !end.IsZero() {
		p.nudge(end)
	}
}
