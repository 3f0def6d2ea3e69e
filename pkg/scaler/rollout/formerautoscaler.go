// Autoscalers that are pointed at another workload during a hold: they get their own numbers back, before another hold raises them.

package rollout

import (
	"fmt"
	"slices"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// findFormerAutoscaler returns the recorded autoscaler if it scales another workload by now; nil: it does not, or is gone.
func findFormerAutoscaler(all []*autoscalingv2.HorizontalPodAutoscaler, t hold.Workload, n hold.Numbers) *Autoscaler {
	for _, hpa := range all {
		if n.AutoscalerUID != "" && hpa.UID == n.AutoscalerUID && hpa.DeletionTimestamp == nil && !scalesWorkload(hpa, t) {
			return convertHeldAutoscaler(hpa)
		}
	}
	return nil
}

// hasRaisedBounds reports whether a record has bounds of an autoscaler that are not given back.
func hasRaisedBounds(n hold.Numbers) bool {
	return n.AutoscalerUID != "" && (n.MinReplicas.Set != n.MinReplicas.Was || n.MaxReplicas.Set != n.MaxReplicas.Was || n.MinReplicas.From != nil || n.MaxReplicas.From != nil)
}

// isFormerRaised reports whether the record has bounds of an autoscaler that scales another workload by now, or the scaler still owns them for it.
func (o *HeldWorkload) isFormerRaised(n hold.Numbers) bool {
	if o.Former == nil || o.Former.UID != n.AutoscalerUID {
		return false
	}
	return hasRaisedBounds(n) || o.Former.Owned && o.Trouble == "" && !o.isRecordedByOthers(n.AutoscalerUID)
}

// isRecordedByOthers reports whether a hold of another workload has a record of the autoscaler.
func (o *HeldWorkload) isRecordedByOthers(autoscaler types.UID) bool {
	return slices.ContainsFunc(o.Others, func(h hold.Object) bool {
		return h.Status.Numbers != nil && h.Status.Numbers.AutoscalerUID == autoscaler
	})
}

// returnFormerBounds gives an autoscaler that scales another workload by now its own bounds back, then its ownership, and notes that in the record.
// A bound that another client set stays. The trouble of this workload is none of that autoscaler.
func (o *HeldWorkload) returnFormerBounds(now time.Time) (Step, bool) {
	n, keeper := o.findHoldNumbers()
	a := o.Former
	if keeper == nil || !o.isFormerRaised(n) || o.Denied != "" {
		return Step{}, false
	}
	if to := removeScalerBounds(n, a.Bounds); to != a.Bounds {
		return Step{Kind: SetBounds, Hold: -1, Former: true, Bounds: to, Confirm: true}.withStepEvent(reasonBoundsChanged,
			"autoscaler %s no longer scales %s: from %d..%d to %d..%d replicas", a.Name, o.Workload, a.Bounds.MinReplicas, a.Bounds.MaxReplicas, to.MinReplicas, to.MaxReplicas), true
	}
	if a.Owned && a.Bounds.MinReplicas == 0 && now.Before(a.boundsSeen(now)) { // as in dropOwnership
		return Step{Kind: Rest, Hold: -1}, true
	}
	if a.Owned {
		return Step{Kind: DropBoundsOwner, Hold: -1, Former: true}, true
	}
	status := keeper.Status.DeepCopy()
	n.Sequence++
	n.MinReplicas = hold.Change{Was: a.Bounds.MinReplicas, Set: a.Bounds.MinReplicas}
	n.MaxReplicas = hold.Change{Was: a.Bounds.MaxReplicas, Set: a.Bounds.MaxReplicas}
	status.Numbers = &n
	return o.writeStatusStep(o.indexOfHold(keeper), status), true
}

// removeScalerBounds returns the bounds without the scaler's changes; a bound of another client stays.
func removeScalerBounds(n hold.Numbers, found hold.ReplicaBounds) hold.ReplicaBounds {
	n, _ = recordForeignBounds(n, found)
	return hold.ReplicaBounds{MinReplicas: min(n.MinReplicas.Was, n.MaxReplicas.Was), MaxReplicas: n.MaxReplicas.Was}
}

// awaitedWorkload returns the workload with holds that still have numbers on this workload's autoscaler, which scaled that one before; nil: none. Until
// they are back, no record may take them for the original ones.
func (o *HeldWorkload) awaitedWorkload() *hold.Workload {
	n, _ := o.findHoldNumbers()
	if o.Autoscaler == nil || n.AutoscalerUID == o.Autoscaler.UID {
		return nil
	}
	for i := range o.Others {
		if other := o.Others[i].Status.Numbers; other != nil && other.AutoscalerUID == o.Autoscaler.UID && hasRaisedBounds(*other) {
			t := o.Others[i].HeldWorkload()
			return &t
		}
	}
	return nil
}

// awaitedWorkloadFailure returns why a hold cannot begin while its autoscaler has numbers of another workload's holds; empty: it has none, or not for long.
func (o *HeldWorkload) awaitedWorkloadFailure(h *hold.Object, now time.Time) string {
	t := o.awaitedWorkload()
	if t == nil || now.Before(h.Status.Since.Add(h.WithinOrDefault())) {
		return ""
	}
	return fmt.Sprintf("autoscaler %s still has the numbers of a hold of %s, which it scaled before", o.Autoscaler.Name, t.Name)
}

// autoscalerOfStep returns the place of the autoscaler that a step is about.
func (o *HeldWorkload) autoscalerOfStep(s Step) **Autoscaler {
	if s.Former {
		return &o.Former
	}
	return &o.Autoscaler
}
