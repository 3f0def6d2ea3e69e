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

// saveRecord writes the record to the workload if its annotation is still the observed one. Other changes of the workload, such as its
// status with every pod that becomes ready, do not matter.
func (p *reconcilePass) saveRecord(ctx context.Context) error {
	text, err := p.record.EncodeAnnotation()
	if err != nil {
		return err
	}
	read := holdsAnnotation(p.object)
	err = p.retryOnConflict(ctx, func() error {
		patch, err := newAnnotationPatch(p.object.GetResourceVersion(), hold.HoldsAnnotation, text, nil)
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
		return p.rereadWorkload(ctx, read, err)
	})
	if overtaken := (recordOvertakenError{}); errors.As(err, &overtaken) {
		return newConflictError(p.workload, overtaken)
	}
	if err != nil {
		return fmt.Errorf("write the holds: %w", err)
	}
	for _, do := range p.afterSave {
		do()
	}
	if p.replacedReason != "" {
		p.recordWarning(reasonReplaced, "%s", p.replacedReason)
	}
	p.afterSave, p.replacedReason = nil, ""
	return nil
}

// onRecordSaved runs do after the next write of the record, and not before: the write may conflict.
func (p *reconcilePass) onRecordSaved(do func()) { p.afterSave = append(p.afterSave, do) }

// recordOvertakenError marks a record changed by another client since the observation.
type recordOvertakenError struct{ error }

// rereadWorkload observes the workload again for the next try of a write. It fails if another client wrote the record too.
func (p *reconcilePass) rereadWorkload(ctx context.Context, read string, conflicted error) error {
	object, err := p.api.Get(ctx, p.workload.Name, metav1.GetOptions{})
	switch {
	case err != nil:
		return err
	case holdsAnnotation(object) != read:
		return recordOvertakenError{errors.New("the holds changed meanwhile")}
	}
	p.object = object
	return conflicted
}

// holdsAnnotation returns the text of the record on a workload.
func holdsAnnotation(object *unstructured.Unstructured) string {
	return object.GetAnnotations()[hold.HoldsAnnotation]
}

// newAnnotationPatch returns a patch of one of the scaler's annotations, its label and the spec, if any; empty text removes annotation and
// label.
func newAnnotationPatch(version, annotation, text string, spec map[string]any) ([]byte, error) {
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

// updateBounds sets the autoscaler's bounds; the new bounds and the record of the original ones are one write.
func (p *reconcilePass) updateBounds(ctx context.Context) error {
	if p.hpa == nil {
		return nil
	}
	now := autoscalerBounds(p.hpa)
	before := p.bounds
	bounds, yielded := before.MarkYielded(now)
	bounds, to := bounds.ComputeBounds(p.desired, now)
	if to == now && equalBoundsRecords(bounds, before) {
		return nil
	}
	if err := p.patchBounds(ctx, bounds, to); err != nil {
		return err
	}
	if yielded {
		p.recordEvent(reasonYielded, "another client set %s to %d..%d replicas; the scaler leaves it, also after the holds", p.autoscalerText(), now.MinReplicas, now.MaxReplicas)
	}
	if to != now {
		p.recordEvent(reasonBoundsChanged, "%s from %d..%d to %d..%d replicas", p.autoscalerText(), now.MinReplicas, now.MaxReplicas, to.MinReplicas, to.MaxReplicas)
	}
	return nil
}

func (p *reconcilePass) autoscalerText() string { return "autoscaler " + p.hpa.Name }

// equalBoundsRecords reports whether two records have the same annotation.
func equalBoundsRecords(a, b hold.BoundsRecord) bool {
	x, errX := a.EncodeAnnotation()
	y, errY := b.EncodeAnnotation()
	return errX == nil && errY == nil && x == y
}

// patchBounds writes bounds and their record to the autoscaler, if it is still the observed one.
func (p *reconcilePass) patchBounds(ctx context.Context, b hold.BoundsRecord, to hold.ReplicaBounds) error {
	text, err := b.EncodeAnnotation()
	if err != nil {
		return err
	}
	patch, err := newAnnotationPatch(p.hpa.ResourceVersion, hold.BoundsAnnotation, text, map[string]any{"minReplicas": to.MinReplicas, "maxReplicas": to.MaxReplicas})
	if err != nil {
		return err
	}
	hpa, err := p.Client.AutoscalingV2().HorizontalPodAutoscalers(p.workload.Namespace).Patch(ctx, p.hpa.Name, types.MergePatchType, patch, patchOptions)
	if err != nil {
		return fmt.Errorf("set the bounds of %s: %w", p.autoscalerText(), err)
	}
	p.hpa, p.bounds = hpa, b
	return nil
}

// restoreOrphanBounds restores the bounds of an autoscaler after its workload was deleted, with all its holds.
func (p *reconcilePass) restoreOrphanBounds(ctx context.Context) error {
	if p.hpa == nil || p.bounds == (hold.BoundsRecord{}) {
		return nil
	}
	p.passLogger(ctx).Info("Workload is gone, restoring the bounds of its autoscaler", "autoscaler", p.hpa.Name)
	return p.updateBounds(ctx)
}

// patchScale sets the scale to n replicas, if it is still the observed one.
func (p *reconcilePass) patchScale(ctx context.Context, n int32) error {
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": p.scale.GetResourceVersion()}, "spec": map[string]any{"replicas": n},
	})
	if err != nil {
		return err
	}
	before := p.specReplicas()
	scale, err := p.api.Patch(ctx, p.workload.Name, types.MergePatchType, patch, patchOptions, "scale")
	if err != nil {
		return fmt.Errorf("set the scale: %w", err)
	}
	p.scale = scale
	p.object.SetResourceVersion(scale.GetResourceVersion())
	p.recordEvent(reasonReplicasChanged, "from %d to %d replicas", before, n)
	return nil
}

// scaleWithoutAutoscaler sets the desired scale of a workload without an autoscaler. With an autoscaler, scaleHolds raises the replicas
// once for each hold, and the autoscaler decides when to lower them.
func (p *reconcilePass) scaleWithoutAutoscaler(ctx context.Context) error {
	if p.hpa != nil || len(p.record.Holds) == 0 {
		return p.giveBackReplicas(ctx)
	}
	c, now := p.record.Replicas, p.specReplicas()
	if c.Yielded || !p.desired.Held && c.Set == nil {
		return nil
	}
	to := p.desired.ReplicasWithoutAutoscaler(c.Was)
	if c.Set == nil && p.desired.Held && !p.desired.Lower {
		to = max(to, now) // the scale left by a deleted autoscaler
	}
	switch {
	case c.From != nil && now != *c.From && now != *c.Set, c.From == nil && c.Set != nil && now != *c.Set:
		p.onRecordSaved(func() {
			p.recordEvent(reasonYielded, "another client set %d replicas; the scaler leaves them, also after the holds", now)
		})
		p.record.Replicas.Yielded, p.record.Replicas.From = true, nil
		return p.saveRecord(ctx)
	case now == to && c.From == nil && (c.Set != nil || to == c.Was):
		return nil
	}
	return p.recordAndScale(ctx, now, to)
}

// recordAndScale writes the intent to the record before the scale. After a crash between them, the old scale then does not look like
// another client's change.
func (p *reconcilePass) recordAndScale(ctx context.Context, now, to int32) error {
	p.record.Replicas.Set, p.record.Replicas.From = &to, &now
	if err := p.saveRecord(ctx); err != nil {
		return err
	}
	if now != to {
		if err := p.rereadAndScale(ctx, to); err != nil {
			return err
		}
	}
	p.record.Replicas.From = nil
	if !p.desired.Held { // the original scale is restored: the scaler is done with it
		p.record.Replicas.Set = nil
	}
	return p.saveRecord(ctx)
}

// rereadAndScale sets the scale after a write of the record, which changed the resource version of the scale.
func (p *reconcilePass) rereadAndScale(ctx context.Context, to int32) error {
	scale, err := p.api.Get(ctx, p.workload.Name, metav1.GetOptions{}, "scale")
	if err != nil {
		return fmt.Errorf("get scale: %w", err)
	}
	before := p.specReplicas()
	if p.scale = scale; p.specReplicas() != before {
		return newConflictError(p.workload, errors.New("replicas changed meanwhile"))
	}
	return p.patchScale(ctx, to)
}

// newConflictError returns a conflict, so that the pass starts over.
func newConflictError(t hold.Workload, err error) error {
	return apierrors.NewConflict(autoscalingv2.Resource("scale"), t.Name, err)
}

// giveBackReplicas restores the original replicas of a workload if its autoscaler has no metrics. Such an autoscaler would keep the
// raised replicas forever.
func (p *reconcilePass) giveBackReplicas(ctx context.Context) error {
	if p.hpa == nil {
		return nil
	}
	if p.record.Replicas.Set != nil {
		p.record.Replicas.Set, p.record.Replicas.From = nil, nil
		if err := p.saveRecord(ctx); err != nil {
			return err
		}
	}
	to := max(p.record.Replicas.Was, autoscalerBounds(p.hpa).MinReplicas)
	if p.desired.Held || isScalingActive(p.hpa) || !p.hasEndedScaleUp() || p.specReplicas() <= to {
		return nil
	}
	return p.rereadAndScale(ctx, to)
}

// hasEndedScaleUp reports whether a hold that raised the replicas has ended.
func (p *reconcilePass) hasEndedScaleUp() bool {
	for i := range p.record.Holds {
		if h := &p.record.Holds[i]; h.State.IsActive() && h.ScaledUp && h.HasEnded(p.now) {
			return true
		}
	}
	return false
}

// isScalingActive reports whether the autoscaler computes replicas. An autoscaler without the condition may begin to.
func isScalingActive(hpa *autoscalingv2.HorizontalPodAutoscaler) bool {
	for _, c := range hpa.Status.Conditions {
		if c.Type == autoscalingv2.ScalingActive {
			return c.Status != "False"
		}
	}
	return true
}
