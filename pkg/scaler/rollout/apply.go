// apply: the one place that writes.

package rollout

import (
	"context"
	"fmt"
	"slices"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// applyStep makes a step, and puts the result into the observation.
func (p *workloadPass) applyStep(ctx context.Context, s Step) (err error) {
	o := &p.observed
	switch s.Kind {
	case WriteStatus:
		return p.writeHoldStatus(ctx, s)
	case AddFinalizer:
		return p.updateHold(ctx, s.Hold, func(h *hold.Object) { h.Adopt(o.Owner) })
	case PauseHold:
		return p.updateHold(ctx, s.Hold, func(h *hold.Object) { h.Spec.Paused, h.Spec.PausedUntil = true, s.PausedUntil })
	case RemoveFinalizer:
		return p.letHoldGo(ctx, s.Hold)
	case DeleteHold:
		if err := p.Cluster.DeleteHold(ctx, &o.Holds[s.Hold]); err != nil {
			return fmt.Errorf("delete hold: %w", err)
		}
		return p.observeLiveWorkload(ctx)
	case SetBounds:
		a := o.autoscalerOfStep(s)
		*a, err = keepStateOnReadError(*a)(p.Cluster.SetBounds(ctx, p.workload.Namespace, *a, s.Bounds))
	case DropBoundsOwner, DropScaleOwner:
		return p.dropFieldOwner(ctx, s)
	case SetReplicas:
		o.Scale, err = keepStateOnReadError(o.Scale)(p.Cluster.SetReplicas(ctx, p.workload, o.Scale, s.To))
		o.PodsOutdated = true
	case RecordGate:
		return p.recordHoldGates(ctx, s)
	case OpenGate, ShutGate:
		return p.moveHoldGate(ctx, s)
	case PostMessage:
		p.postHoldMessage(ctx, s)
	case Rest:
	}
	return err
}

// keepStateOnReadError returns a function that keeps a value if its write failed.
func keepStateOnReadError[T any](before *T) func(*T, error) (*T, error) {
	return func(made *T, err error) (*T, error) {
		if err != nil {
			return before, err
		}
		return made, nil
	}
}

func (p *workloadPass) writeHoldStatus(ctx context.Context, s Step) error {
	h := p.observed.Holds[s.Hold].DeepCopy()
	h.Status = s.Status
	made, err := p.Cluster.UpdateHoldStatus(ctx, h)
	if err != nil {
		return fmt.Errorf("write the status of hold %s: %w", h.Name, err)
	}
	p.observed.Holds[s.Hold] = *made
	return nil
}

// updateHold changes the finalizers or the pause of a hold.
func (p *workloadPass) updateHold(ctx context.Context, i int, change func(*hold.Object)) error {
	h := p.observed.Holds[i].DeepCopy()
	change(h)
	made, err := p.Cluster.UpdateHold(ctx, h)
	if err != nil {
		return fmt.Errorf("update hold %s: %w", h.Name, err)
	}
	p.observed.Holds[i] = *made
	return nil
}

// letHoldGo removes the finalizer of a deleted hold, with which the object goes.
func (p *workloadPass) letHoldGo(ctx context.Context, i int) error {
	err := p.updateHold(ctx, i, func(h *hold.Object) {
		h.Finalizers = slices.DeleteFunc(h.Finalizers, func(f string) bool { return f == hold.Finalizer })
	})
	if err != nil {
		return err
	}
	p.ended = append(p.ended, p.observed.Holds[i])
	p.observed.Holds = slices.Delete(slices.Clone(p.observed.Holds), i, i+1)
	p.findHoldResults(p.workload, p.observed.Holds)
	return nil
}

// recordStep counts a step that was made, and keeps its Event.
func (p *workloadPass) recordStep(s Step, before hold.State) {
	var h *hold.Object
	if s.Hold >= 0 && s.Hold < len(p.observed.Holds) {
		h = &p.observed.Holds[s.Hold]
		if p.observed.GateErrors[h.UID] != "" && (s.Kind == RecordGate || s.Kind == OpenGate || s.Kind == ShutGate) {
			return
		}
		if to := h.Status.State; to != before {
			p.Metrics.countTransition(to, p.now.Sub(h.Status.Since.Time))
		}
		if s.Kind == ShutGate && findLeftOpenGate(h.Status) != nil {
			p.Metrics.leftOpen.Inc()
		}
		if s.Reason == reasonYielded && s.Kind == WriteStatus {
			p.Metrics.yields.Inc()
		}
	}
	if s.Reason != "" {
		p.addStepEvent(s, h)
	}
}
