// The observation that nextStep decides on.

package rollout

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/notify"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
)

// Scale is the scale of a workload.
type Scale struct {
	UID      types.UID
	Version  string // resource version
	Replicas int32
	Selector string // of its pods; empty: not known yet
	Failure  string // the workload's own message about pods that cannot be created; empty: none
	Owned    bool   // the scaler is a field manager of the replicas
}

// Autoscaler is the autoscaler of a workload.
type Autoscaler struct {
	Name         string
	UID          types.UID
	Version      string // resource version
	Bounds       hold.ReplicaBounds
	Active       bool   // it computes replicas: it has metrics
	ScaledToZero bool   // it took the last replica itself
	ScaledObject string // the KEDA object that owns it; empty: none
	// BoundsSet is the time at which the scaler last set the bounds, truncated to the second; zero: never, or it gave them up.
	BoundsSet time.Time
	Owned     bool // the scaler is a field manager of the bounds
}

// Verdict is the result of a verification.
type Verdict struct {
	Passed  bool
	Message string
	Since   time.Time // Status.Since of the hold that was verified: a verdict of an earlier try does not count
	Asked   verifiedRequest
	Report  *verify.Report
	// Youngest is the creation of the youngest pod that was ready, and ReadyAt the time at which the last of these pods became ready.
	Youngest, ReadyAt metav1.Time
}

// verifiedRequest is what a hold asked for when its pods were verified: a verdict about another request does not count.
type verifiedRequest struct {
	replicas int32
	spec     verify.Spec
}

// newVerifiedRequest returns what a hold asks for now.
func newVerifiedRequest(h *hold.Object) verifiedRequest {
	r := verifiedRequest{replicas: h.Spec.Replicas}
	if h.Spec.Verify != nil {
		r.spec = *h.Spec.Verify
	}
	return r
}

// HeldWorkload is all that nextStep knows about a workload.
type HeldWorkload struct {
	Workload   hold.Workload
	Holds      []hold.Object // of the workload, oldest first
	Others     []hold.Object // of other workloads in the namespace: the holds of their groups, and the holds that share a gate or an autoscaler; oldest first
	Scale      *Scale        // nil: the workload does not exist
	Autoscaler *Autoscaler   // nil: no autoscaler scales the workload
	Former     *Autoscaler   // the recorded autoscaler, which scales another workload by now; nil: it does not
	Pods       []corev1.Pod  // of the workload, without terminating and finished pods
	PodsFault  string        // why the pods cannot be read; empty: they can
	// PodsOutdated is set after the pass itself changed the scale: no hold is judged by the pods of before.
	PodsOutdated bool
	Missing      string // why the workload does not exist, if its kind does not; empty: it was not found
	Trouble      string // why the workload cannot be scaled, such as two autoscalers; empty: it can
	// Denied is why the API server denied this pass a number; empty: it did not.
	Denied   string
	Verdicts map[types.UID]Verdict
	Readings map[types.UID]WatchReading // the last of each hold with watched gates
	// Gated is set if this process has the gates of the configuration; a command has none. GateFaults describe gates that no hold of the
	// namespace may use, by name. GateErrors are the failed attempts of this pass, by the hold's UID.
	Gated bool
	// GatePlans are how the gates open, by name, and GateKeys identify their effects: gates with the same key are one gate.
	GateFaults map[string]string
	GatePlans  map[string]action.Plan
	GateKeys   map[string]string
	// GateNames are the names in the configuration of gates that the holds know by other names.
	GateNames  map[string]string
	GateErrors map[types.UID]string
	Owner      string // the value of hold.ControllerLabel for the holds that this process acts on; empty: a command
	// NotifierFaults describe notifiers that no hold of the namespace may use, by name.
	NotifierFaults map[string]string
	// MissingMembers are the lacks of the other workloads of a verified hold's group, by the hold's UID.
	MissingMembers map[types.UID]string
	// Deliveries are the states of the holds' messages at their notifiers.
	Deliveries map[messageAddress]notify.Delivery
	// WaitInterval is the pause before the next pass while a hold waits for pods.
	WaitInterval time.Duration
}

// Numbers of a hold that another client may set.
const (
	fieldMinReplicas = "minReplicas"
	fieldMaxReplicas = "maxReplicas"
	fieldReplicas    = "replicas"
)

// hasYieldedField reports whether another client has set a number during the hold.
func hasYieldedField(h *hold.Object, field string) bool {
	return slices.Contains(h.Status.Yielded, field)
}

// leavesYieldedField reports whether the hold leaves a number to another client: it neither raises nor lowers it.
func leavesYieldedField(h *hold.Object, field string) bool {
	return hasYieldedField(h, field) && !isHoldInLaterWindow(h)
}

// isFieldYielded reports whether a hold that lasts, or has a gate still open, has a number of another client: a later hold may raise that number,
// and not lower it.
func (o *HeldWorkload) isFieldYielded(field string, now time.Time) bool {
	return slices.ContainsFunc(o.Holds, func(h hold.Object) bool {
		return hasYieldedField(&h, field) && (h.Status.GateOpen || !h.IsOver(now))
	})
}

// isWorkloadReplaced reports whether the record is of another workload with the same name, which was deleted.
func (o *HeldWorkload) isWorkloadReplaced() bool {
	n, keeper := o.findHoldNumbers()
	return keeper != nil && o.Scale != nil && n.WorkloadUID != "" && n.WorkloadUID != o.Scale.UID
}

// isHoldCounted reports whether a hold counts towards the numbers. While its gate is open, its pods stay.
func (o *HeldWorkload) isHoldCounted(h *hold.Object, now time.Time) bool {
	if o.Scale == nil {
		return false
	}
	return h.Status.GateOpen || (h.Status.State.IsActive() || h.IsKept()) && !h.IsOver(now)
}

// isHoldPending reports whether a failed hold will be tried again.
func (o *HeldWorkload) isHoldPending(h *hold.Object, now time.Time) bool {
	return o.Scale != nil && h.Status.State == hold.RolledBack && !h.Status.RetryAt.IsZero() && !h.IsOver(now)
}

// isHoldWaiting reports whether a hold waits for its deleted workload to come back.
func (o *HeldWorkload) isHoldWaiting(h *hold.Object, now time.Time) bool {
	return o.isWorkloadLost() && !h.IsOver(now) && (h.Status.State.IsActive() || h.IsKept() || h.Status.State == hold.RolledBack && !h.Status.RetryAt.IsZero())
}

// listRecordHolds lists the holds that need the record of the numbers: they count, will be tried again, or wait for
// a workload. It may come back as a copy, with their numbers, and so may its autoscaler.
func (o *HeldWorkload) listRecordHolds(now time.Time) (all []*hold.Object) {
	for i := range o.Holds {
		if h := &o.Holds[i]; o.isHoldCounted(h, now) || o.isHoldPending(h, now) || o.isHoldWaiting(h, now) {
			all = append(all, h)
		}
	}
	return all
}

// listCountedHolds lists the holds that count towards a number; an empty field: towards any.
func (o *HeldWorkload) listCountedHolds(field string, now time.Time) (all []*hold.Object) {
	for i := range o.Holds {
		if h := &o.Holds[i]; o.isHoldCounted(h, now) && !leavesYieldedField(h, field) {
			all = append(all, h)
		}
	}
	return all
}

// findHoldNumbers returns the record in force, and the hold that carries it; nil: the workload has no record.
func (o *HeldWorkload) findHoldNumbers() (hold.Numbers, *hold.Object) {
	var keeper *hold.Object
	for i := range o.Holds {
		h := &o.Holds[i]
		if n := h.Status.Numbers; n != nil && (keeper == nil || n.Sequence > keeper.Status.Numbers.Sequence) {
			keeper = h
		}
	}
	if keeper == nil {
		return hold.Numbers{}, nil
	}
	return *keeper.Status.Numbers, keeper
}

// countReadyPods counts the ready pods of the workload.
func (o *HeldWorkload) countReadyPods() (n int32) {
	for i := range o.Pods {
		if isRolloutPodReady(&o.Pods[i]) {
			n++
		}
	}
	return n
}

// scaledObject returns the KEDA object that owns the autoscaler, and reverts every change of it; empty: none does.
func (o *HeldWorkload) scaledObject() string {
	if o.Autoscaler == nil {
		return ""
	}
	return o.Autoscaler.ScaledObject
}

// podsNeededByHold returns how many pods must be ready for a hold: as many as it asks for or, where the autoscaler may go below, as many as
// the autoscaler asks for.
func (o *HeldWorkload) podsNeededByHold(h *hold.Object) int32 {
	if o.Autoscaler != nil && h.Spec.MinReplicas > 0 && o.Scale != nil {
		return max(h.Spec.MinReplicas, min(h.Spec.Replicas, o.Scale.Replicas))
	}
	return h.Spec.Replicas
}

// listHoldGroupMembers lists the other holds of a hold's group.
func (o *HeldWorkload) listHoldGroupMembers(h *hold.Object) (all []*hold.Object) {
	if h.Spec.Group == nil {
		return nil
	}
	for _, list := range [][]hold.Object{o.Holds, o.Others} {
		for i := range list {
			if m := &list[i]; m.UID != h.UID && m.Spec.Group != nil && m.Spec.Group.Name == h.Spec.Group.Name {
				all = append(all, m)
			}
		}
	}
	return all
}

// findVerdict returns the verdict about the present try of a hold, if there is one.
func (o *HeldWorkload) findVerdict(h *hold.Object) (v Verdict, found bool) {
	v, found = o.Verdicts[h.UID]
	return v, found && v.Since.Equal(h.Status.Since.Time) && v.Asked == newVerifiedRequest(h)
}
