// ApplyHold, EndHolds and PlanHold: the holds that a client makes, ends and previews.

package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/retry"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// ErrGone marks a workload that does not exist.
var ErrGone = errors.New("workload does not exist")

// errBeingReleased marks a hold with a predecessor of the same ID that has not gone yet.
var errBeingReleased = errors.New("a hold with this ID is being released; try again")

// ApplyHold stores a hold, and replaces a hold with the same ID; the next pass acts on it. It reports whether anything changed: an
// identical hold stays as it is, with its progress. The workload need not exist.
func (e *Engine) ApplyHold(ctx context.Context, t hold.Workload, h hold.Hold) (changed bool, err error) {
	if err := h.Validate(); err != nil {
		return false, err
	}
	want := hold.NewObject(t, h, e.Owner)
	reader := e.Reader
	for i := 1; ; i++ {
		changed, err = e.storeHold(ctx, reader, want)
		stale := apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err)
		if !stale || i > maxPassConflicts {
			break
		}
		reader = e.Cluster // the cache was late
		e.Metrics.conflicts.Inc()
		if !retry.Sleep(ctx, delayAfterHoldConflict(i)) {
			return false, context.Cause(ctx)
		}
	}
	if err != nil {
		return false, fmt.Errorf("hold %s: %w", t, err)
	}
	return changed, nil
}

// storeHold creates or updates the object of a hold.
func (e *Engine) storeHold(ctx context.Context, reader Reader, want *hold.Object) (changed bool, err error) {
	all, err := reader.ListHolds(ctx, want.Namespace)
	if err != nil {
		return false, err
	}
	i := slices.IndexFunc(all, func(o hold.Object) bool { return o.Name == want.Name })
	if i < 0 {
		_, err := e.Cluster.CreateHold(ctx, want)
		return err == nil, err
	}
	there := all[i].DeepCopy()
	switch {
	case there.DeletionTimestamp != nil && there.IsGivenBack() && (!owesHoldOutcome(there) || len(there.Status.Outbox) >= maxOutboxMessages):
		return true, e.replaceGivenBackHold(ctx, there, want)
	case there.DeletionTimestamp != nil:
		return false, errBeingReleased
	}
	next := there.DeepCopy()
	pauseChanged := next.SetPausedByOwner(want.IsPausedByOwner())
	want.Spec.Paused, want.Spec.PausedUntil = next.Spec.Paused, next.Spec.PausedUntil // the next hold of a paused schedule is paused too
	if want.Spec.Approved = there.Spec.Approved; !hold.EqualSpecs(there.Spec, want.Spec) {
		want.Spec.Approved = false // the approval was for another request
	}
	switch {
	case hold.EqualSpecs(there.Spec, want.Spec) && !pauseChanged:
		return false, nil
	case !slices.Equal(there.Spec.Gates, want.Spec.Gates) && next.Spec.Paused && isPauseNoted(there): // another object would not be paused
		return false, nil
	case !slices.Equal(there.Spec.Gates, want.Spec.Gates): // the open gates must be shut first
		if err := e.Cluster.DeleteHold(ctx, there); err != nil {
			return false, err
		}
		return false, errBeingReleased
	}
	next.Spec = want.Spec
	_, err = e.Cluster.UpdateHold(ctx, next)
	return err == nil, err
}

// replaceGivenBackHold replaces a deleted hold that only owes messages. A receiver that is down so delays no hold: the new one owes them.
func (e *Engine) replaceGivenBackHold(ctx context.Context, there, want *hold.Object) error {
	there.Finalizers = slices.DeleteFunc(there.Finalizers, func(f string) bool { return f == hold.Finalizer })
	if _, err := e.Cluster.UpdateHold(ctx, there); err != nil {
		return err
	}
	made, err := e.Cluster.CreateHold(ctx, want)
	if err != nil || len(there.Status.Outbox) == 0 {
		return err
	}
	made.Status.Outbox = there.DeepCopy().Status.Outbox
	if _, err := e.Cluster.UpdateHoldStatus(ctx, made); err != nil { // the notifier has them in memory
		klog.FromContext(ctx).Error(err, "Messages of the hold before cannot be stored", "hold", want.HoldID(), "messages", len(made.Status.Outbox))
	}
	return nil
}

// EndHolds deletes the holds of a workload that match, and returns their IDs; the next passes restore the originals. A hold that changes meanwhile
// must match again.
func (e *Engine) EndHolds(ctx context.Context, t hold.Workload, matches func(*hold.Object) bool) (ids []string, err error) {
	ended, err := e.EndHoldsOfNamespace(ctx, t.Namespace, func(h *hold.Object) bool { return h.HeldWorkload().IsSameObject(t) && matches(h) })
	for i := range ended {
		ids = append(ids, ended[i].HoldID())
	}
	if err != nil {
		return ids, fmt.Errorf("release %s: %w", t, err)
	}
	return ids, nil
}

// EndHold deletes the holds of a workload with an ID, and returns them. It lists the holds of the API server only if the cache has none, or late ones.
func (e *Engine) EndHold(ctx context.Context, t hold.Workload, id string) (ended []hold.Object, err error) {
	all, err := e.Reader.ListHolds(ctx, t.Namespace)
	if err != nil {
		return nil, err
	}
	matches := func(h *hold.Object) bool {
		return h.DeletionTimestamp == nil && h.HoldID() == id && h.HeldWorkload().IsSameObject(t)
	}
	for i := range all {
		if !matches(&all[i]) {
			continue
		}
		if err = e.Cluster.DeleteHold(ctx, &all[i]); err != nil {
			break
		}
		ended = append(ended, all[i])
	}
	if isLate := apierrors.IsConflict(err) || apierrors.IsNotFound(err); !isLate && (err != nil || len(ended) > 0) {
		return ended, err
	}
	rest, err := e.EndHoldsOfNamespace(ctx, t.Namespace, matches)
	return append(ended, rest...), err
}

// EndHoldsOfNamespace is EndHolds for all workloads of a namespace; empty: of all namespaces. It returns the holds that it deleted, also with an error.
func (e *Engine) EndHoldsOfNamespace(ctx context.Context, namespace string, matches func(*hold.Object) bool) (ended []hold.Object, err error) {
	deleted := map[types.UID]bool{}
	for i := 1; ; i++ {
		var some []hold.Object
		some, err = e.deleteMatchingHolds(ctx, namespace, matches, deleted)
		ended = append(ended, some...)
		if !apierrors.IsConflict(err) || i > maxPassConflicts {
			return ended, err
		}
		e.Metrics.conflicts.Inc()
		if !retry.Sleep(ctx, delayAfterHoldConflict(i)) {
			return ended, context.Cause(ctx)
		}
	}
}

// deleteMatchingHolds deletes the holds of a namespace that match and are not deleted yet, and returns them.
func (e *Engine) deleteMatchingHolds(ctx context.Context, namespace string, matches func(*hold.Object) bool, deleted map[types.UID]bool) (ended []hold.Object, err error) {
	all, err := e.Cluster.ListHolds(ctx, namespace)
	if err != nil {
		return nil, err
	}
	for i := range all {
		h := &all[i]
		if deleted[h.UID] || !matches(h) {
			continue
		}
		if err := e.Cluster.DeleteHold(ctx, h); err != nil && !apierrors.IsNotFound(err) {
			return ended, err
		}
		deleted[h.UID] = true
		ended = append(ended, *h)
	}
	return ended, nil
}

// GetOriginalReplicas returns the number of a workload without its holds: its autoscaler's minReplicas, or its own replicas. It reports false for
// a workload that is missing or cannot be scaled.
func (e *Engine) GetOriginalReplicas(ctx context.Context, t hold.Workload, now time.Time) (int32, bool, error) {
	p := &workloadPass{Engine: e, workload: t, now: now, reader: e.Reader}
	if err := p.observeWorkload(ctx); err != nil {
		return 0, false, err
	}
	o := &p.observed
	if len(o.Holds) == 0 {
		if err := p.observeWorkloadScale(ctx); err != nil {
			return 0, false, err
		}
	}
	n, keeper := o.findHoldNumbers()
	switch {
	case o.Scale == nil || o.Trouble != "":
		return 0, false, nil
	case o.Autoscaler != nil && n.AutoscalerUID != o.Autoscaler.UID:
		return o.Autoscaler.Bounds.MinReplicas, true, nil
	case keeper == nil:
		return o.Scale.Replicas, true, nil
	case o.Autoscaler != nil:
		return n.MinReplicas.Was, true, nil
	}
	return n.Replicas.Was, true, nil
}

// Plan describes the effect of a hold on a workload.
type Plan struct {
	Autoscaler   string             `json:"autoscaler,omitempty"`   // empty: no autoscaler scales the workload
	Bounds       hold.ReplicaBounds `json:"bounds,omitzero"`        // of the autoscaler, now
	ToBounds     hold.ReplicaBounds `json:"toBounds,omitzero"`      // of the autoscaler, with the hold
	Replicas     int32              `json:"replicas"`               // now
	ToReplicas   int32              `json:"toReplicas"`             // with the hold
	RejectReason string             `json:"rejectReason,omitempty"` // empty: the hold is accepted
	Steps        []string           `json:"steps,omitempty"`        // as a pass would make them, up to the wait for pods
}

// PlanHold returns the effect of ApplyHold and the passes after it: the steps that nextStep gives, without making them. It only reads.
func (e *Engine) PlanHold(ctx context.Context, t hold.Workload, h hold.Hold, now time.Time) (Plan, error) {
	if err := h.Validate(); err != nil {
		return Plan{}, err
	}
	p := &workloadPass{Engine: e, workload: t, now: now, reader: e.Cluster}
	if err := p.observeWorkload(ctx); err != nil {
		return Plan{}, fmt.Errorf("plan for %s: %w", t, err)
	}
	o := &p.observed
	o.addPlannedHold(hold.NewObject(t, h, ""), now)
	if err := p.observeWorkloadScale(ctx); err != nil {
		return Plan{}, fmt.Errorf("plan for %s: %w", t, err)
	}
	switch {
	case o.Trouble != "":
		return Plan{}, fmt.Errorf("plan for %s: %s", t, o.Trouble)
	case o.Scale == nil:
		return Plan{}, fmt.Errorf("plan for %s: %w", t, ErrGone)
	}
	plan := Plan{Replicas: o.Scale.Replicas}
	if o.Autoscaler != nil {
		plan.Autoscaler, plan.Bounds = o.Autoscaler.Name, o.Autoscaler.Bounds
	}
	after := plan.simulateSteps(*o, hold.ObjectName(t, h.ID), now)
	plan.ToReplicas = after.Scale.Replicas
	if after.Autoscaler != nil {
		plan.ToBounds = after.Autoscaler.Bounds
	}
	return plan, nil
}

// addPlannedHold adds the hold to the observation, in place of a hold with the same name.
func (o *HeldWorkload) addPlannedHold(h *hold.Object, now time.Time) {
	h.UID, h.Generation, h.CreationTimestamp = "planned", 1, metav1.NewTime(now)
	if i := slices.IndexFunc(o.Holds, func(other hold.Object) bool { return other.Name == h.Name }); i >= 0 {
		there := o.Holds[i].DeepCopy()
		there.Spec, there.Generation, there.DeletionTimestamp = h.Spec, there.Generation+1, nil
		o.Holds[i] = *there
		return
	}
	o.Holds = append(o.Holds, *h)
}

// simulateSteps makes the steps on the observation until one needs pods, gates or time. name is that of the planned hold: a failure of another hold does not
// reject it.
func (plan *Plan) simulateSteps(o HeldWorkload, name string, now time.Time) HeldWorkload {
	for range maxPassSteps {
		s := nextStep(o, now)
		if s.Kind == Rest || s.Kind == PostMessage || s.Kind == OpenGate || s.Kind == DeleteHold {
			return o
		}
		if s.Kind == WriteStatus && o.Holds[s.Hold].Name == name && s.Status.State == hold.RolledBack && strings.HasPrefix(s.Reason, string(hold.RolledBack)) {
			plan.RejectReason = s.Status.Message
		}
		plan.Steps = append(plan.Steps, s.String())
		o = o.Simulate(s)
	}
	return o
}
