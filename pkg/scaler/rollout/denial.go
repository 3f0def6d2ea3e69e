// Numbers that the API server denies: a beginning hold fails with them, and an ending hold reports them until it can restore.

package rollout

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// conditionNumbersSet tells whether the API server takes the numbers that the hold recorded.
const conditionNumbersSet = "NumbersSet"

// denialPatience is the time in which a failing API server does not count as a denial of numbers that are given back.
const denialPatience = time.Minute

// isDeniedStep reports whether the API server denies a number, for want of a right or by an admission policy: no retry of this hold helps. A
// server that fails to decide, such as for a webhook that is away, denies the number after the holds' time for it.
func (p *workloadPass) isDeniedStep(s Step, err error) bool {
	if s.Kind != SetBounds && s.Kind != SetReplicas || p.observed.Denied != "" {
		return false
	}
	if apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsMethodNotSupported(err) {
		return true
	}
	return apierrors.IsInternalError(err) && p.observed.isDenialDue(p.now)
}

// isDenialDue reports whether the holds of the workload have waited long enough for a number.
func (o *HeldWorkload) isDenialDue(now time.Time) bool {
	beginning, due := false, true
	for i := range o.Holds {
		h := &o.Holds[i]
		switch s := h.Status.State; {
		case !h.IsOver(now) && (s == hold.Received || s == hold.Raised):
			if !now.Before(h.Status.Since.Add(h.WithinOrDefault())) {
				return true
			}
			beginning = true
		case h.DeletionTimestamp != nil:
			due = due && !now.Before(h.DeletionTimestamp.Add(denialPatience))
		case h.Spec.Until != nil && !now.Before(h.Spec.Until.Time):
			due = due && !now.Before(h.Spec.Until.Add(denialPatience))
		}
	}
	return due && !beginning
}

// isNumberPending reports whether a recorded number is not set.
func (o *HeldWorkload) isNumberPending(now time.Time) bool {
	attempt := *o
	attempt.Denied = ""
	_, bounds := attempt.setRecordedBounds(now)
	_, replicas := attempt.setRecordedReplicas(now)
	_, former := attempt.returnFormerBounds(now)
	return bounds || replicas || former
}

// reportHoldDenial writes to the hold with the record that the API server denies its numbers, and that it takes them again.
func (o *HeldWorkload) reportHoldDenial(now time.Time) (Step, bool) {
	_, keeper := o.findHoldNumbers()
	if keeper == nil || o.Trouble != "" {
		return Step{}, false
	}
	pending, c := o.isNumberPending(now), findHoldCondition(keeper, conditionNumbersSet)
	denied := c != nil && c.Status == metav1.ConditionFalse
	status, i := keeper.Status.DeepCopy(), o.indexOfHold(keeper)
	switch {
	case o.Denied != "" && pending && !denied:
		text := shortenHoldStatus(o.Denied)
		status.Conditions = setHoldCondition(status.Conditions, conditionNumbersSet, metav1.ConditionFalse, "Denied", text, now)
		return o.writeStatusStep(i, status).withStepWarning(reasonTrouble, "hold %s: %s", keeper.HoldID(), text), true
	case denied && !pending:
		status.Conditions = setHoldCondition(status.Conditions, conditionNumbersSet, metav1.ConditionTrue, "Set", "the recorded numbers are set", now)
		status.Told = endHoldTrouble(keeper, now)
		return o.writeStatusStep(i, status), true
	}
	return Step{}, false
}

// pendingNumberError returns the error of a pass that leaves a number unset; nil: it leaves none.
func (o *HeldWorkload) pendingNumberError(now time.Time) error {
	if o.Denied == "" || o.Trouble != "" || !o.isNumberPending(now) {
		return nil
	}
	return fmt.Errorf("%w: %s", errTrouble, o.Denied)
}

// dropFieldOwner makes the scaler no field manager of a number that is given back. Where the API server denies that, the hold ends all the same: an
// Event names the needs of the next server-side apply of another number.
func (p *workloadPass) dropFieldOwner(ctx context.Context, s Step) (err error) {
	o := &p.observed
	a := o.autoscalerOfStep(s)
	object, right := "the workload's replicas", "patch on the workload"
	if s.Kind == DropBoundsOwner {
		object, right = "autoscaler "+(*a).Name, "patch on the autoscaler"
		*a, err = keepStateOnReadError(*a)(p.Cluster.DropBoundsOwner(ctx, p.workload.Namespace, *a))
	} else {
		o.Scale, err = keepStateOnReadError(o.Scale)(p.Cluster.DropScaleOwner(ctx, p.workload, o.Scale))
	}
	if status := apierrors.APIStatus(nil); err == nil || isStaleHoldError(err) || !errors.As(err, &status) {
		return err
	}
	if s.Kind == DropBoundsOwner {
		kept := **a
		kept.Owned = false
		*a = &kept
	} else {
		kept := *o.Scale
		kept.Owned = false
		o.Scale = &kept
	}
	p.passLogger(ctx).Info("Scaler stays a field manager", "of", object, "err", err)
	p.addStepEvent(Step{}.withStepEvent(reasonOwnershipKept,
		"the scaler stays a field manager of %s: give it %s, or apply another number with --force-conflicts once", object, right), nil)
	return nil
}
