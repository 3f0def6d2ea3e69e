package rollout

import (
	"context"
	"fmt"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// Plan describes the changes that a hold would make to a workload.
type Plan struct {
	Autoscaler   string      `json:"autoscaler,omitempty"`   // empty: no autoscaler scales the workload
	Limits       hold.Limits `json:"bounds,omitzero"`        // of the autoscaler, now
	To           hold.Limits `json:"toBounds,omitzero"`      // of the autoscaler, with the hold
	Replicas     int32       `json:"replicas"`               // now
	ToReplicas   int32       `json:"toReplicas"`             // with the hold
	Refused      string      `json:"rejectReason,omitempty"` // empty: the hold is accepted
	AlreadyThere bool        `json:"alreadyThere,omitempty"` // the workload has an identical hold
}

// PlanHold returns the changes that ApplyHold and the passes after it would make. It only reads.
func (e *Engine) Plan(ctx context.Context, t hold.Target, h hold.Hold, now time.Time) (Plan, error) {
	if err := h.Validate(); err != nil {
		return Plan{}, err
	}
	p, err := e.observeWorkload(ctx, t, now)
	if err == nil && p.object == nil {
		err = ErrGone
	}
	if err != nil {
		return Plan{}, fmt.Errorf("plan for %s: %w", t, err)
	}
	plan := Plan{Replicas: p.specReplicas(), AlreadyThere: !p.upsertHold(h)}
	p.desired = p.record.Wanted(now)
	plan.ToReplicas = p.desired.ReplicasOver(p.record.Replicas.Was)
	if p.hpa == nil {
		return plan, nil
	}
	plan.Autoscaler, plan.Limits = p.hpa.Name, autoscalerBounds(p.hpa)
	plan.ToReplicas = max(plan.Replicas, h.Replicas)
	if most := p.maxAllowedReplicas(); h.Replicas > most {
		plan.Refused, plan.To, plan.ToReplicas = p.formatTooMany(most), plan.Limits, plan.Replicas
		return plan, nil
	}
	bounds, _ := p.bounds.Yield(plan.Limits)
	_, plan.To = bounds.Apply(p.desired, plan.Limits)
	return plan, nil
}
