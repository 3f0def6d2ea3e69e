// The numbers that a workload and its autoscaler should have, and the record of the original ones.

package rollout

import (
	"math"
	"slices"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// desiredBounds returns the bounds that the autoscaler should have; a number without a hold is the original one.
func (o *HeldWorkload) desiredBounds(n hold.Numbers, now time.Time) hold.ReplicaBounds {
	to := hold.ReplicaBounds{MinReplicas: n.MinReplicas.Was, MaxReplicas: n.MaxReplicas.Was}
	if o.scaledObject() != "" {
		return to
	}
	for _, h := range o.listCountedHolds(fieldMaxReplicas, now) {
		to.MaxReplicas = max(to.MaxReplicas, h.CountedNumbers().MaxReplicas)
	}
	if held := o.listCountedHolds(fieldMinReplicas, now); len(held) > 0 {
		to.MinReplicas = combineHoldNumbers(held, n.MinReplicas.Was, (*hold.Object).MinReplicasOrReplicas)
		if o.isFieldYielded(fieldMinReplicas, now) {
			to.MinReplicas = max(to.MinReplicas, n.MinReplicas.Was)
		}
	}
	to.MinReplicas = min(to.MinReplicas, to.MaxReplicas) // the API rejects minReplicas above maxReplicas
	return to
}

// combineHoldNumbers returns the highest number of the holds. It is below the original number only if a hold may lower it.
func combineHoldNumbers(held []*hold.Object, was int32, number func(*hold.Object) int32) int32 {
	var highest int32
	for _, h := range held {
		highest = max(highest, number(h))
	}
	if mayHoldsLower(held) {
		return highest
	}
	return max(highest, was)
}

// mayHoldsLower reports whether one of the holds may lower the workload. A hold that asks for other numbers by now does not.
func mayHoldsLower(held []*hold.Object) bool {
	return slices.ContainsFunc(held, func(h *hold.Object) bool { return h.Spec.Lower && !h.IsKept() })
}

// desiredReplicas returns the scale that the workload should have, or false if the autoscaler decides.
//
// An active autoscaler gets one push up for each new hold, and decides then. Without metrics it would keep its replicas for ever: there
// the scaler lowers its own numbers, and leaves any other.
func (o *HeldWorkload) desiredReplicas(n hold.Numbers, bounds hold.ReplicaBounds, now time.Time) (int32, bool) {
	found := o.Scale.Replicas
	held := o.listCountedHolds(fieldReplicas, now)
	to := n.Replicas.Was
	if len(held) > 0 {
		to = combineHoldNumbers(held, n.Replicas.Was, func(h *hold.Object) int32 { return h.CountedNumbers().Replicas })
		if o.isFieldYielded(fieldReplicas, now) {
			to = max(to, n.Replicas.Was)
		}
	}
	if o.Autoscaler == nil {
		if n.Autoscaler != "" && len(held) > 0 && !mayHoldsLower(held) { // the autoscaler that went had asked for as many
			to = max(to, n.Replicas.Set)
		}
		return to, true
	}
	var push int32
	for _, h := range held {
		if h.Status.State == hold.Received || h.Status.State == hold.Raised {
			push = max(push, h.Spec.Replicas)
		}
	}
	ours := o.areReplicasOurs(n)
	switch {
	case push > found:
		return push, true
	case len(held) == 0 && n.Replicas.Was == 0 && len(o.listCountedHolds("", now)) == 0: // it was switched off, and its autoscaler with it
		return 0, true
	case !o.Autoscaler.Active && ours && (len(held) > 0 || n.Replicas.Set != n.Replicas.Was):
		return max(to, bounds.MinReplicas), true
	}
	return 0, false
}

// areReplicasOurs reports whether the scaler set the replicas, or the autoscaler only cut them to its bounds since.
func (o *HeldWorkload) areReplicasOurs(n hold.Numbers) bool {
	return o.areReplicasCut(n.Replicas.Set) || !n.Replicas.IsForeign(o.Scale.Replicas)
}

// areReplicasCut reports whether an autoscaler without metrics cut the replicas from a number to its bounds.
func (o *HeldWorkload) areReplicasCut(from int32) bool {
	a, found := o.Autoscaler, o.Scale.Replicas
	return a != nil && !a.Active && (found == a.Bounds.MaxReplicas && found < from || found == a.Bounds.MinReplicas && found > from)
}

// planHoldNumbers returns the record with the numbers that everything should have now.
func (o *HeldWorkload) planHoldNumbers(n hold.Numbers, now time.Time) hold.Numbers {
	found := o.Scale
	if found != nil {
		n.Replicas = o.replicasOfWorkload(n, now)
		n.WorkloadUID = found.UID
	}
	a, to := o.Autoscaler, hold.ReplicaBounds{}
	if n.Autoscaler != "" && (a == nil || a.UID != n.AutoscalerUID) {
		n = o.expectAutoscalerCopy(n, now)
	}
	if a == nil {
		if n.AutoscalerUID != "" && found != nil { // its last decision stays while a hold lasts
			n.Replicas.Set, n.Replicas.From = found.Replicas, nil
		}
		n.AutoscalerUID = "" // the rest stays for a copy of it
	} else {
		if n.AutoscalerUID != a.UID {
			n.MinReplicas, n.MaxReplicas = boundsOfHeldAutoscaler(n, a)
			n.Autoscaler, n.AutoscalerUID = a.Name, a.UID
		}
		to = o.desiredBounds(n, now)
		n.MinReplicas = n.MinReplicas.Intend(to.MinReplicas, a.Bounds.MinReplicas)
		n.MaxReplicas = n.MaxReplicas.Intend(to.MaxReplicas, a.Bounds.MaxReplicas)
	}
	if found == nil {
		return n
	}
	if from := n.Replicas.From; from != nil && n.Replicas.IsForeign(found.Replicas) { // the autoscaler was faster
		n.Replicas.From = nil
		if cut := found.Replicas; o.areReplicasCut(*from) {
			n.Replicas.From = &cut
		}
	}
	replicas, decided := o.desiredReplicas(n, to, now)
	if from := n.Replicas.From; !decided && from != nil && *from == found.Replicas && n.Replicas.Set != n.Replicas.Was { // no hold needs the push that was recorded
		n.Replicas.Set, n.Replicas.From = found.Replicas, nil
	}
	if decided {
		if o.Autoscaler != nil && !o.areReplicasOurs(n) && n.Replicas.Was != 0 { // the autoscaler's own number was there before
			n.Replicas.Was = found.Replicas
		}
		n.Replicas = n.Replicas.Intend(replicas, found.Replicas)
	}
	return n
}

// replicasOfWorkload returns the recorded replicas or, for a workload that the record does not know, its own. A workload that was deleted and made
// again with a number of the holds is a copy of the one before: that number is not the original.
func (o *HeldWorkload) replicasOfWorkload(n hold.Numbers, now time.Time) hold.Change {
	found := o.Scale.Replicas
	isKnown := n.Sequence > 0 && (n.WorkloadUID == "" || n.WorkloadUID == o.Scale.UID)
	isCopied := n.Sequence > 0 && (!n.Replicas.IsForeign(found) || slices.ContainsFunc(o.Holds, func(h hold.Object) bool {
		return !h.IsOver(now) && (h.Spec.Replicas == found || h.CountedNumbers().Replicas == found)
	}))
	switch a := o.Autoscaler; {
	case isKnown:
		return n.Replicas
	case isCopied:
		return hold.Change{Was: n.Replicas.Was, Set: found}
	case a != nil && a.ScaledToZero && a.Bounds.MinReplicas == 0 && found == 0:
		return hold.Change{Was: 1, Set: found} // the autoscaler's own zero is nothing to give back: it decides again
	}
	return hold.Change{Was: found, Set: found}
}

// expectAutoscalerCopy returns the record with the bounds that a copy of the recorded autoscaler has. They were given back if its workload was deleted
// first, which may still be away.
func (o *HeldWorkload) expectAutoscalerCopy(n hold.Numbers, now time.Time) hold.Numbers {
	before := *o
	if before.Scale == nil {
		before.Scale = &Scale{}
	}
	to := before.desiredBounds(n, now)
	if n.MinReplicas.Set == n.MinReplicas.Was {
		n.MinReplicas.Set = to.MinReplicas
	}
	if n.MaxReplicas.Set == n.MaxReplicas.Was {
		n.MaxReplicas.Set = to.MaxReplicas
	}
	return n
}

// boundsOfHeldAutoscaler returns the bounds of an autoscaler that the record does not know: its own or, for a copy of the recorded one, as kubectl replace
// --force and a restored backup make it, the record's. A copy has the minimum that the scaler set there; its maximum may be edited.
func boundsOfHeldAutoscaler(n hold.Numbers, a *Autoscaler) (low, high hold.Change) {
	low = hold.Change{Was: a.Bounds.MinReplicas, Set: a.Bounds.MinReplicas}
	high = hold.Change{Was: a.Bounds.MaxReplicas, Set: a.Bounds.MaxReplicas}
	if !isHeldAutoscalerCopy(n, a) {
		return low, high
	}
	low.Was, low.Displaced = n.MinReplicas.Was, n.MinReplicas.Displaced
	if high.Set == n.MaxReplicas.Set {
		high.Was, high.Displaced = n.MaxReplicas.Was, n.MaxReplicas.Displaced
	}
	return low, high
}

// isHeldAutoscalerCopy reports whether an autoscaler is a copy of the recorded one.
func isHeldAutoscalerCopy(n hold.Numbers, a *Autoscaler) bool {
	return n.Autoscaler == a.Name && n.MinReplicas.Set == a.Bounds.MinReplicas
}

// equalHoldNumbers reports whether two records are the same.
func equalHoldNumbers(a, b hold.Numbers) bool {
	return a.WorkloadUID == b.WorkloadUID && a.Autoscaler == b.Autoscaler && a.AutoscalerUID == b.AutoscalerUID && a.MinReplicas.Equal(b.MinReplicas) &&
		a.MaxReplicas.Equal(b.MaxReplicas) && a.Replicas.Equal(b.Replicas)
}

// confirmHoldNumbers returns the record without the intents that are carried out.
func (o *HeldWorkload) confirmHoldNumbers(n hold.Numbers) hold.Numbers {
	if a := o.Autoscaler; a != nil && a.UID == n.AutoscalerUID {
		n.MinReplicas, n.MaxReplicas = n.MinReplicas.Confirm(a.Bounds.MinReplicas), n.MaxReplicas.Confirm(a.Bounds.MaxReplicas)
	}
	if o.Scale != nil && (n.WorkloadUID == "" || n.WorkloadUID == o.Scale.UID) {
		n.Replicas = n.Replicas.Confirm(o.Scale.Replicas)
	}
	return n
}

// numbersOfOtherClients returns the record after other clients' changes, which count as the originals from now on, and the fields with a change.
func (o *HeldWorkload) numbersOfOtherClients(n hold.Numbers) (hold.Numbers, []string) {
	var fields []string
	if a := o.Autoscaler; a != nil && a.UID == n.AutoscalerUID {
		n, fields = recordForeignBounds(n, a.Bounds)
	}
	if o.Autoscaler == nil && o.Scale != nil && n.AutoscalerUID == "" && !o.isWorkloadReplaced() && n.Replicas.IsForeign(o.Scale.Replicas) {
		n.Replicas, fields = hold.Change{Was: o.Scale.Replicas, Set: o.Scale.Replicas}, append(fields, fieldReplicas)
	}
	return n, fields
}

// recordForeignBounds returns the record after other clients' changes of the autoscaler's bounds, and the fields with a change. The API rejects minReplicas
// above maxReplicas: the other client's number counts, and displaces the original other bound.
func recordForeignBounds(n hold.Numbers, found hold.ReplicaBounds) (hold.Numbers, []string) {
	var fields []string
	low, high := n.MinReplicas.IsForeign(found.MinReplicas), n.MaxReplicas.IsForeign(found.MaxReplicas)
	if low {
		n.MinReplicas, fields = hold.Change{Was: found.MinReplicas, Set: found.MinReplicas}, append(fields, fieldMinReplicas)
	}
	if high {
		n.MaxReplicas, fields = hold.Change{Was: found.MaxReplicas, Set: found.MaxReplicas}, append(fields, fieldMaxReplicas)
	}
	switch {
	case low && !high:
		n.MaxReplicas = n.MaxReplicas.Fit(found.MinReplicas, math.MaxInt32)
	case high && !low:
		n.MinReplicas = n.MinReplicas.Fit(0, found.MaxReplicas)
	}
	return n, fields
}
