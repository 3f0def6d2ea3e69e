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

// saveRecord writes the record to the target, if the record there is still the one that was read. What else changes on the target
// meanwhile, such as its status with every pod that becomes ready, does not matter.
func (p *reconcilePass) saveRecord(ctx context.Context) error {
	text, err := p.record.Text()
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
		return fmt.Errorf("note the holds: %w", err)
	}
	for _, do := range p.afterSave {
		do()
	}
	if p.replacedReason != "" {
		p.recordWarning("Replaced", "%s", p.replacedReason)
	}
	p.afterSave, p.replacedReason = nil, ""
	return nil
}

// onRecordSaved does something when the record is written as it is now, and not before: a write may be overtaken.
func (p *reconcilePass) onRecordSaved(do func()) { p.afterSave = append(p.afterSave, do) }

// recordOvertakenError is for a record that somebody else wrote since it was read.
type recordOvertakenError struct{ error }

// rereadWorkload takes the target as it is now for the next try to write what was decided, unless its record was written too.
func (p *reconcilePass) rereadWorkload(ctx context.Context, read string, conflicted error) error {
	object, err := p.api.Get(ctx, p.workload.Name, metav1.GetOptions{})
	switch {
	case err != nil:
		return err
	case holdsAnnotation(object) != read:
		return recordOvertakenError{errors.New("its holds changed meanwhile")}
	}
	p.object = object
	return conflicted
}

// holdsAnnotation is the record's text on a target.
func holdsAnnotation(object *unstructured.Unstructured) string {
	return object.GetAnnotations()[hold.HoldsAnnotation]
}

// newAnnotationPatch is a patch of an object that carries one of our annotations and, with it, our label; empty text removes both.
func newAnnotationPatch(version, annotation, text string, spec map[string]any) ([]byte, error) {
	var value, label any
	if text != "" {
		value, label = text, hold.Mark(text)
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

// updateBounds makes the autoscaler's bounds what is wanted; the numbers and the note of what they were are one write.
func (p *reconcilePass) updateBounds(ctx context.Context) error {
	if p.hpa == nil {
		return nil
	}
	now := autoscalerBounds(p.hpa)
	before := p.bounds
	bounds, yielded := before.Yield(now)
	bounds, to := bounds.Apply(p.desired, now)
	if to == now && equalBoundsRecords(bounds, before) {
		return nil
	}
	if err := p.patchBounds(ctx, bounds, to); err != nil {
		return err
	}
	if yielded {
		p.recordEvent("Yielded", "somebody set %s to %d to %d replicas; it is left so, also when the holds end", p.autoscalerText(), now.Min, now.Max)
	}
	if to != now {
		p.recordEvent("Bounds", "%s from %d..%d to %d..%d replicas", p.autoscalerText(), now.Min, now.Max, to.Min, to.Max)
	}
	return nil
}

func (p *reconcilePass) autoscalerText() string { return "autoscaler " + p.hpa.Name }

func equalBoundsRecords(a, b hold.Bounds) bool {
	x, errX := a.Text()
	y, errY := b.Text()
	return errX == nil && errY == nil && x == y
}

func (p *reconcilePass) patchBounds(ctx context.Context, b hold.Bounds, to hold.Limits) error {
	text, err := b.Text()
	if err != nil {
		return err
	}
	patch, err := newAnnotationPatch(p.hpa.ResourceVersion, hold.BoundsAnnotation, text, map[string]any{"minReplicas": to.Min, "maxReplicas": to.Max})
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

// restoreOrphanBounds gives an autoscaler back what it was, whose target is gone, and with it every hold.
func (p *reconcilePass) restoreOrphanBounds(ctx context.Context) error {
	if p.hpa == nil || p.bounds == (hold.Bounds{}) {
		return nil
	}
	p.passLogger(ctx).Info("Target is gone; its autoscaler gets its own bounds back", "autoscaler", p.hpa.Name)
	return p.updateBounds(ctx)
}

// patchScale asks for n replicas, if the scale is still as it was read.
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
	p.recordEvent("Scaled", "from %d to %d replicas", before, n)
	return nil
}

// scaleWithoutAutoscaler asks for the wanted replicas where no autoscaler decides. With one, replicas are only ever raised, once for each
// hold (see raise), and it is the autoscaler's business when they go.
func (p *reconcilePass) scaleWithoutAutoscaler(ctx context.Context) error {
	if p.hpa != nil || len(p.record.Holds) == 0 {
		return p.giveBackReplicas(ctx)
	}
	c, now := p.record.Replicas, p.specReplicas()
	if c.Yielded || !p.desired.Any && c.Set == nil {
		return nil
	}
	to := p.desired.ReplicasOver(c.Was)
	if c.Set == nil && p.desired.Any && !p.desired.Lower {
		to = max(to, now) // what an autoscaler left that is there no more
	}
	switch {
	case c.From != nil && now != *c.From && now != *c.Set, c.From == nil && c.Set != nil && now != *c.Set:
		p.onRecordSaved(func() {
			p.recordEvent("Yielded", "somebody set %d replicas; it is left so, also when the holds end", now)
		})
		p.record.Replicas.Yielded, p.record.Replicas.From = true, nil
		return p.saveRecord(ctx)
	case now == to && c.From == nil && (c.Set != nil || to == c.Was):
		return nil
	}
	return p.recordAndScale(ctx, now, to)
}

// recordAndScale writes the intent before the scale, so that a crash between them is not taken for somebody's change.
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
	if !p.desired.Any { // given back: from now on it is nobody's business here
		p.record.Replicas.Set = nil
	}
	return p.saveRecord(ctx)
}

// rereadAndScale is patchScale after a write of our own to the object that the scale belongs to.
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

// newConflictError makes the pass look again.
func newConflictError(t hold.Target, err error) error {
	return apierrors.NewConflict(autoscalingv2.Resource("scale"), t.Name, err)
}

// giveBackReplicas is scaleTo where an autoscaler decides. One that cannot, for want of metrics, keeps what it finds for ever: it is given
// the replicas back that were there.
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
	to := max(p.record.Replicas.Was, autoscalerBounds(p.hpa).Min)
	if p.desired.Any || isScalingActive(p.hpa) || !p.hasEndedScaleUp() || p.specReplicas() <= to {
		return nil
	}
	return p.rereadAndScale(ctx, to)
}

// hasEndedScaleUp tells whether a hold has ended that had asked for replicas.
func (p *reconcilePass) hasEndedScaleUp() bool {
	for i := range p.record.Holds {
		if h := &p.record.Holds[i]; h.State.Holds() && h.Asked && h.Ended(p.now) {
			return true
		}
	}
	return false
}

// isScalingActive tells whether the autoscaler computes replicas; one that was never judged may begin to.
func isScalingActive(hpa *autoscalingv2.HorizontalPodAutoscaler) bool {
	for _, c := range hpa.Status.Conditions {
		if c.Type == autoscalingv2.ScalingActive {
			return c.Status != "False"
		}
	}
	return true
}
