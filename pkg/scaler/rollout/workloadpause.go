// The pause of a workload: a hold of its own, which pauses the holds that are made during it.

package rollout

import (
	"context"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// PauseWorkload stores the pause of a workload, and reports whether it did: it covers the holds that schedules, events and other clients make later. A pause that
// is there stays as it is. It ends with its PausedUntil, or when it is resumed.
func (e *Engine) PauseWorkload(ctx context.Context, t hold.Workload, by string, until time.Time) (made bool, err error) {
	_, err = e.Cluster.CreateHold(ctx, hold.NewWorkloadPause(t, by, until))
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return false, fmt.Errorf("pause %s: %w", t, err)
	}
	return err == nil, nil
}

// findWorkloadPause returns the pause of the workload that is in force; nil: the workload is not paused.
func (o *HeldWorkload) findWorkloadPause(now time.Time) *hold.Object {
	for i := range o.Holds {
		if h := &o.Holds[i]; h.IsWorkloadPause() && h.IsPaused(now) && h.DeletionTimestamp == nil {
			return h
		}
	}
	return nil
}

// coverPausedHold pauses a hold that came during the pause of its workload, before it begins: once, so that a person may resume it by itself. Replicas
// that a person sets meanwhile apply at once.
func (o *HeldWorkload) coverPausedHold(now time.Time) (Step, bool) {
	pause := o.findWorkloadPause(now)
	if pause == nil {
		return Step{}, false
	}
	for i := range o.Holds {
		h := &o.Holds[i]
		isNew := h.Status.State == "" && findHoldCondition(h, conditionPaused) == nil
		if isNew && !h.IsOver(now) && h.Fault == "" && !strings.HasPrefix(h.HoldID(), hold.SetPrefix) {
			return Step{Kind: PauseHold, Hold: i, PausedUntil: pause.Spec.PausedUntil}, true
		}
	}
	return Step{}, false
}
