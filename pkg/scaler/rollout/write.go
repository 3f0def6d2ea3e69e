// The writes to the workload, its scale and its autoscaler.

package rollout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

var patchOptions = metav1.PatchOptions{FieldManager: hold.FieldManager}

// saveRolloutRecord writes the record to the workload if its annotation is still the observed one. Other changes of the workload, such as its
// status with every pod that becomes ready, do not matter.
func (p *reconcilePass) saveRolloutRecord(ctx context.Context) error {
	text, err := p.record.EncodeAnnotation()
	if err != nil {
		return err
	}
	read := rolloutHoldsAnnotation(p.object)
	err = p.retryRolloutOnConflict(ctx, func() error {
		patch, err := newRolloutAnnotationPatch(p.object.GetResourceVersion(), hold.HoldsAnnotation, text, nil)
		if err != nil {
			return err
		}
		object, err := p.api.Patch(ctx, p.workload.Name, types.MergePatchType, patch, patchOptions)
		if err == nil {
			p.object = object
			return nil
		}
		if !apierrors.IsConflict(err) {
			return err
		}
		return p.rereadRolloutWorkload(ctx, read, err)
	})
	if overtaken := (recordOvertakenError{}); errors.As(err, &overtaken) {
		return newRolloutConflictError(p.workload, overtaken)
	}
	if err != nil {
		return fmt.Errorf("write the holds: %w", err)
	}
	for _, do := range p.afterSave {
		do()
	}
	if p.replacedReason != "" {
		p.recordRolloutWarning(reasonReplaced, "%s", p.replacedReason)
	}
	p.afterSave, p.replacedReason = nil, ""
	return nil
}

// onRolloutRecordSaved runs do after the next write of the record, and not before: the write may conflict.
func (p *reconcilePass) onRolloutRecordSaved(do func()) { p.afterSave = append(p.afterSave, do) }

// recordOvertakenError marks a record changed by another client since the observation.
type recordOvertakenError struct{ error }

// rereadRolloutWorkload observes the workload again for the next try of a write. It fails if another client wrote the record too.
func (p *reconcilePass) rereadRolloutWorkload(ctx context.Context, read string, conflicted error) error {
	object, err := p.api.Get(ctx, p.workload.Name, metav1.GetOptions{})
	switch {
	case err != nil:
		return err
	case rolloutHoldsAnnotation(object) != read:
		return recordOvertakenError{errors.New("the holds changed meanwhile")}
	}
	p.object = object
	return conflicted
}

// rolloutHoldsAnnotation returns the text of the record on a workload.
func rolloutHoldsAnnotation(object *unstructured.Unstructured) string {
	return object.GetAnnotations()[hold.HoldsAnnotation]
}

// newRolloutAnnotationPatch returns a patch of one of the scaler's annotations, its label and the spec, if any; empty text removes annotation and
// label.
func newRolloutAnnotationPatch(version, annotation, text string, spec map[string]any) ([]byte, error) {
	var value, label any
	if text != "" {
		value, label = text, hold.HeldLabelValue(text)
	}
	patch := map[string]any{"metadata": map[string]any{
		"resourceVersion": version,
		"annotations":     map[string]any{annotation: value},
		"labels":          map[string]any{hold.HeldLabel: label},
	}}
	if spec != nil {
		patch["spec"] = spec
	}
	return json.Marshal(patch)
}

// updateRolloutBounds sets the autoscaler's bounds; the new bounds and the record of the original ones are one write.
func (p *reconcilePass) updateRolloutBounds(ctx context.Context) error {
	if p.hpa == nil {
		return nil
	}
	now := rolloutAutoscalerBounds(p.hpa)
	before := p.bounds
	bounds, yielded := before.MarkYielded(now)
	bounds, to := bounds.ComputeBounds(p.desired, now)
	if to == now && equalRolloutBoundsRecords(bounds, before) {
		return nil
	}
	if err := p.patchRolloutBounds(ctx, bounds, to); err != nil {
		return err
	}
	if yielded {
		p.recordRolloutEvent(reasonYielded, "another client set %s to %d..%d replicas; the scaler leaves it, also after the holds", p.rolloutAutoscalerText(), now.MinReplicas, now.MaxReplicas)
	}
	if to != now {
		p.recordRolloutEvent(reasonBoundsChanged, "%s from %d..%d to %d..%d replicas", p.rolloutAutoscalerText(), now.MinReplicas, now.MaxReplicas, to.MinReplicas, to.MaxReplicas)
	}
	return nil
}

func (p *reconcilePass) rolloutAutoscalerText() string { return "autoscaler " + p.hpa.Name }

// equalRolloutBoundsRecords reports whether two records have the same annotation.
func equalRolloutBoundsRecords(a, b hold.BoundsRecord) bool {
	x, errX := a.EncodeAnnotation()
	y, errY := b.EncodeAnnotation()
	return errX == nil && errY == nil && x == y
}

// patchRolloutBounds writes bounds and their record to the autoscaler, if it is still the observed one.
func (p *reconcilePass) patchRolloutBounds(ctx context.Context, b hold.BoundsRecord, to hold.ReplicaBounds) error {
	text, err := b.EncodeAnnotation()
	if err != nil {
		return err
	}
	patch, err := newRolloutAnnotationPatch(p.hpa.ResourceVersion, hold.BoundsAnnotation, text, map[string]any{"minReplicas": to.MinReplicas, "maxReplicas": to.MaxReplicas})
	if err != nil {
		return err
	}
	hpa, err := p.Client.AutoscalingV2().HorizontalPodAutoscalers(p.workload.Namespace).Patch(ctx, p.hpa.Name, types.MergePatchType, patch, patchOptions)
	if err != nil {
		return fmt.Errorf("set the bounds of %s: %w", p.rolloutAutoscalerText(), err)
	}
	p.hpa, p.bounds = hpa, b
	return nil
}

// restoreOrphanRolloutBounds restores the bounds of an autoscaler after its workload was deleted, with all its holds.
func (p *reconcilePass) restoreOrphanRolloutBounds(ctx context.Context) error {
	if p.hpa == nil || p.bounds == (hold.BoundsRecord{}) {
		return nil
	}
	p.rolloutPassLogger(ctx).Info("Workload is gone, restoring the bounds of its autoscaler", "autoscaler", p.hpa.Name)
	return p.updateRolloutBounds(ctx)
}

// patchRolloutScale sets the scale to n replicas, if it is still the observed one.
func (p *reconcilePass) patchRolloutScale(ctx context.Context, n int32) error {
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": p.scale.GetResourceVersion()}, "spec": map[string]any{"replicas": n},
	})
	if err != nil {
		return err
	}
	before := p.rolloutSpecReplicas()
	scale, err := p.api.Patch(ctx, p.workload.Name, types.MergePatchType, patch, patchOptions, "scale")
	if err != nil {
		return fmt.Errorf("set the scale: %w", err)
	}
	p.scale = scale
	p.object.SetResourceVersion(scale.GetResourceVersion())
	p.recordRolloutEvent(reasonReplicasChanged, "from %d to %d replicas", before, n)
	return nil
}

// scaleRolloutWithoutAutoscaler sets the desired scale of a workload without an autoscaler. With an autoscaler, scaleRolloutHolds raises the replicas
// once for each hold, and the autoscaler decides when to lower them.
func (p *reconcilePass) scaleRolloutWithoutAutoscaler(ctx context.Context) error {
	if p.hpa != nil || len(p.record.Holds) == 0 {
		return p.giveBackRolloutReplicas(ctx)
	}
	c, now := p.record.Replicas, p.rolloutSpecReplicas()
	if c.Yielded || !p.desired.Held && c.Set == nil {
		return nil
	}
	to := p.desired.ReplicasWithoutAutoscaler(c.Was)
	if c.Set == nil && p.desired.Held && !p.desired.Lower {
		to = max(to, now) // the scale left by a deleted autoscaler
	}
	switch {
	case c.From != nil && now != *c.From && now != *c.Set, c.From == nil && c.Set != nil && now != *c.Set:
		p.onRolloutRecordSaved(func() {
			p.recordRolloutEvent(reasonYielded, "another client set %d replicas; the scaler leaves them, also after the holds", now)
		})
		p.record.Replicas.Yielded, p.record.Replicas.From = true, nil
		return p.saveRolloutRecord(ctx)
	case now == to && c.From == nil && (c.Set != nil || to == c.Was):
		return nil
	}
	return p.recordAndScaleRollout(ctx, now, to)
}

// recordAndScaleRollout writes the intent to the record before the scale. After a crash between them, the old scale then does not look like
// another client's change.
func (p *reconcilePass) recordAndScaleRollout(ctx context.Context, now, to int32) error {
	p.record.Replicas.Set, p.record.Replicas.From = &to, &now
	if err := p.saveRolloutRecord(ctx); err != nil {
		return err
	}
	if now != to {
		if err := p.rereadAndScaleRollout(ctx, to); err != nil {
			return err
		}
	}
	p.record.Replicas.From = nil
	if !p.desired.Held { // the original scale is restored: the scaler is done with it
		p.record.Replicas.Set = nil
	}
	return p.saveRolloutRecord(ctx)
}

// rereadAndScaleRollout sets the scale after a write of the record, which changed the resource version of the scale.
func (p *reconcilePass) rereadAndScaleRollout(ctx context.Context, to int32) error {
	scale, err := p.api.Get(ctx, p.workload.Name, metav1.GetOptions{}, "scale")
	if err != nil {
		return fmt.Errorf("get scale: %w", err)
	}
	before := p.rolloutSpecReplicas()
	if p.scale = scale; p.rolloutSpecReplicas() != before {
		return newRolloutConflictError(p.workload, errors.New("replicas changed meanwhile"))
	}
	return p.patchRolloutScale(ctx, to)
}

// newRolloutConflictError returns a conflict, so that the pass starts over.
func newRolloutConflictError(t hold.Workload, err error) error {
	return apierrors.NewConflict(autoscalingv2.Resource("scale"), t.Name, err)
}

// giveBackRolloutReplicas restores the original replicas of a workload if its autoscaler has no metrics. Such an autoscaler would keep the
// raised replicas forever.
func (p *reconcilePass) giveBackRolloutReplicas(ctx context.Context) error {
	if p.hpa == nil {
		return nil
	}
	if p.record.Replicas.Set != nil {
		p.record.Replicas.Set, p.record.Replicas.From = nil, nil
		if err := p.saveRolloutRecord(ctx); err != nil {
			return err
		}
	}
	to := max(p.record.Replicas.Was, rolloutAutoscalerBounds(p.hpa).MinReplicas)
	if p.desired.Held || isRolloutScalingActive(p.hpa) || !p.hasEndedRolloutScaleUp() || p.rolloutSpecReplicas() <= to {
		return nil
	}
	return p.rereadAndScaleRollout(ctx, to)
}

// hasEndedRolloutScaleUp reports whether a hold that raised the replicas has ended.
func (p *reconcilePass) hasEndedRolloutScaleUp() bool {
	for i := range p.record.Holds {
		if h := &p.record.Holds[i]; h.State.IsActive() && h.ScaledUp && h.HasEnded(p.now) {
			return true
		}
	}
	return false
}

// isRolloutScalingActive reports whether the autoscaler computes replicas. An autoscaler without the condition may begin to.
func isRolloutScalingActive(hpa *autoscalingv2.HorizontalPodAutoscaler) bool {
	for _, c := range hpa.Status.Conditions {
		if c.Type == autoscalingv2.ScalingActive {
			return c.Status != "False"
		}
	}
	return true
}
