// The verification of a hold's new pods, and of all pods of a workload.

package rollout

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
)

// VerifyHold verifies the new pods of a hold in state Ready, and writes the verdict to the workload's record; the next pass acts on it.
// It blocks during the test requests. It returns an error if it cannot write the verdict; untestable pods fail the
// verification. Two verifications of one hold are harmless: the first verdict counts.
func (e *Engine) VerifyHold(ctx context.Context, t hold.Workload, id string, now func() time.Time) (verify.Report, error) {
	p, h, err := e.getRolloutHoldToVerify(ctx, t, id, now())
	if err != nil || h == nil {
		return verify.Report{}, err
	}
	if err := p.listRolloutPods(ctx); err != nil {
		return verify.Report{}, fmt.Errorf("verify %s: %w", t, err)
	}
	since := h.Since
	report, passed, message := p.verifyNewRolloutPods(ctx, h)
	if ctx.Err() != nil {
		return report, context.Cause(ctx)
	}
	err = e.retryRolloutOnConflict(ctx, func() error {
		p, h, err := e.getRolloutHoldToVerify(ctx, t, id, now())
		if err != nil || h == nil || !h.Since.Equal(since) {
			return err // released, replaced or verified by another process meanwhile
		}
		defer p.writeRolloutEvents(ctx)
		if len(report.Pods) > 0 {
			p.reports.keepRolloutReport(t, id, report)
		}
		if !passed {
			return p.rollBackRolloutHolds(ctx, message, func(f *hold.Hold) bool { return f.ID == id })
		}
		p.enterRolloutHoldState(h, hold.Verified, message)
		p.onRolloutRecordSaved(func() { p.recordRolloutEvent(string(hold.Verified), "hold %s: %s", id, message) })
		return p.saveRolloutRecord(ctx)
	})
	if err != nil {
		return report, fmt.Errorf("write the verdict to %s: %w", t, err)
	}
	return report, nil
}

// getRolloutHoldToVerify observes the workload, and returns the hold if it still needs verification.
func (e *Engine) getRolloutHoldToVerify(ctx context.Context, t hold.Workload, id string, now time.Time) (*reconcilePass, *hold.Hold, error) {
	p, err := e.observeRolloutWorkload(ctx, t, now)
	if err != nil {
		return nil, nil, fmt.Errorf("verify %s: %w", t, err)
	}
	h := p.record.FindHold(id)
	if h == nil || h.State != hold.Ready || h.Verify == nil {
		return p, nil, nil
	}
	return p, h, nil
}

// verifyNewRolloutPods tests the new pods of the hold, beside the old pods.
func (p *reconcilePass) verifyNewRolloutPods(ctx context.Context, h *hold.Hold) (report verify.Report, passed bool, message string) {
	pods, old := splitRolloutPods(p.pods, h)
	if len(pods) == 0 {
		return verify.Report{}, true, "no new pods to verify"
	}
	report, err := p.Checker.Run(ctx, *h.Verify, pods, old)
	if err != nil {
		return report, false, "verify the new pods: " + err.Error()
	}
	return report, report.Passed, report.SummaryLine()
}

// VerifyPods tests all ready pods of a workload. It only reads from the cluster.
func (e *Engine) VerifyPods(ctx context.Context, t hold.Workload, spec verify.Spec) (verify.Report, error) {
	p, err := e.observeRolloutWorkload(ctx, t, time.Time{})
	if err == nil && p.object == nil {
		err = ErrGone
	}
	if err == nil {
		err = p.listRolloutPods(ctx)
	}
	if err != nil {
		return verify.Report{}, fmt.Errorf("verify %s: %w", t, err)
	}
	pods := slices.DeleteFunc(p.pods, func(pod corev1.Pod) bool { return !isRolloutPodReady(&pod) })
	if len(pods) == 0 {
		return verify.Report{}, fmt.Errorf("verify %s: none of its %d pods is ready", t, p.rolloutSpecReplicas())
	}
	report, err := e.Checker.Run(ctx, spec, pods, nil)
	if err != nil {
		return report, fmt.Errorf("verify %s: %w", t, err)
	}
	return report, nil
}
