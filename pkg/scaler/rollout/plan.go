// PlanHold: the effect of a hold, for a dry run.

package rollout

import (
	"context"
	"fmt"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// Plan describes the effect of a hold on a workload.
type Plan struct {
	Autoscaler   string             `json:"autoscaler,omitempty"`   // empty: no autoscaler scales the workload
	Bounds       hold.ReplicaBounds `json:"bounds,omitzero"`        // of the autoscaler, now
	ToBounds     hold.ReplicaBounds `json:"toBounds,omitzero"`      // of the autoscaler, with the hold
	Replicas     int32              `json:"replicas"`               // now
	ToReplicas   int32              `json:"toReplicas"`             // with the hold
	RejectReason string             `json:"rejectReason,omitempty"` // empty: the hold is accepted
	AlreadyThere bool               `json:"alreadyThere,omitempty"` // the workload has an identical hold
}

// PlanHold returns the effect of ApplyHold and the passes after it. It only reads.
func (e *Engine) PlanHold(ctx context.Context, t hold.Workload, h hold.Hold, now time.Time) (Plan, error) {
	if err := h.Validate(); err != nil {
		return Plan{}, err
	}
	p, err := e.observeRolloutWorkload(ctx, t, now)
	if err == nil && p.object == nil {
		err = ErrGone
	}
	if err != nil {
		return Plan{}, fmt.Errorf("plan for %s: %w", t, err)
	}
	plan := Plan{Replicas: p.rolloutSpecReplicas(), AlreadyThere: !p.upsertRolloutHold(h)}
	p.desired = p.record.CombineHolds(now)
	plan.ToReplicas = p.desired.ReplicasWithoutAutoscaler(p.record.Replicas.Was)
	if p.hpa == nil {
		return plan, nil
	}
	plan.Autoscaler, plan.Bounds = p.hpa.Name, rolloutAutoscalerBounds(p.hpa)
	plan.ToReplicas = max(plan.Replicas, h.Replicas)
	if most := p.maxRolloutReplicas(); h.Replicas > most {
		plan.RejectReason, plan.ToBounds, plan.ToReplicas = p.formatTooManyRolloutReplicas(most), plan.Bounds, plan.Replicas
		return plan, nil
	}
	bounds, _ := p.bounds.MarkYielded(plan.Bounds)
	_, plan.ToBounds = bounds.ComputeBounds(p.desired, plan.Bounds)
	return plan, nil
}
