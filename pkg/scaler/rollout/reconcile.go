// Reconcile: passes in a loop, with verification in the background.

package rollout

import (
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
)

// Observer observes a Reconcile. Its fields may be nil; calls come one at a time.
type Observer struct {
	OnReconciled func(Result)        // after every successful pass
	OnReport     func(verify.Report) // after every verification
	OnError      func(error)         // after every failed pass, before the retry
	Wake         <-chan struct{}     // makes the next pass come at once
}

// Reconcile makes passes over a workload, and verifies holds, until done returns true. It returns early if ctx ends, if the workload
// is gone, or with a permanent error of the API server. All its goroutines have ended when it returns.
func (e *Engine) Reconcile(ctx context.Context, t hold.Workload, done func(Result) bool, f Observer) (Result, error) {
	d := workloadReconciler{Engine: e, workload: t, Observer: f, verdicts: make(chan holdVerdict, 1)}
	defer d.stopRolloutVerification()
	for {
		r, err := e.ReconcileOnce(ctx, t, time.Now())
		switch {
		case ctx.Err() != nil:
			return r, context.Cause(ctx)
		case err == nil:
			d.handleRolloutPassResult(ctx, r)
			if r.Gone && !r.Held || done(r) {
				return r, nil
			}
		case IsPermanentError(err):
			return r, err
		default:
			r.NextPass = time.Now().Add(d.reportRolloutPassError(err))
		}
		if err := d.waitForNextRolloutPass(ctx, time.Until(r.NextPass)); err != nil {
			return r, err
		}
	}
}

// workloadReconciler is the state of a Reconcile between its passes.
type workloadReconciler struct {
	*Engine
	Observer
	workload           hold.Workload
	failures           int
	verifyingID        string // the hold in verification, in a goroutine; empty: no verification runs
	cancelVerification context.CancelFunc
	verdicts           chan holdVerdict
}

// holdVerdict is the result of a verification.
type holdVerdict struct {
	report verify.Report
	err    error
}

// handleRolloutPassResult starts the verification of the hold to verify, and stops any other.
func (d *workloadReconciler) handleRolloutPassResult(ctx context.Context, r Result) {
	d.failures = 0
	if d.verifyingID != "" && r.HoldToVerify != d.verifyingID {
		d.stopRolloutVerification()
	}
	if r.HoldToVerify != "" && d.verifyingID == "" {
		d.verifyingID = r.HoldToVerify
		ctx, d.cancelVerification = context.WithCancel(ctx)
		go func(id string) {
			report, err := d.VerifyHold(ctx, d.workload, id, time.Now)
			d.verdicts <- holdVerdict{report, err}
		}(r.HoldToVerify)
	}
	if d.Observer.OnReconciled != nil {
		d.Observer.OnReconciled(r)
	}
}

// stopRolloutVerification cancels the verification, if any, and waits for its end.
func (d *workloadReconciler) stopRolloutVerification() {
	if d.verifyingID != "" {
		d.cancelVerification()
		<-d.verdicts
		d.verifyingID = ""
	}
}

// recordRolloutVerdict ends a verification. If it failed to give a verdict, it returns the delay until the next try.
func (d *workloadReconciler) recordRolloutVerdict(v holdVerdict) time.Duration {
	d.verifyingID = ""
	d.cancelVerification()
	if v.err != nil {
		return d.reportRolloutPassError(v.err)
	}
	if d.OnReport != nil && len(v.report.Pods) > 0 {
		d.OnReport(v.report)
	}
	return 0
}

// reportRolloutPassError reports a failed pass, and returns the delay until the next: ten times rolloutConflictBackoff, up to retryInterval.
func (d *workloadReconciler) reportRolloutPassError(err error) time.Duration {
	d.failures++
	if d.OnError != nil {
		d.OnError(err)
	}
	return min(rolloutConflictBackoff(d.failures)*10, retryInterval)
}

// waitForNextRolloutPass waits for the pause, a wake-up, or the end of a verification.
func (d *workloadReconciler) waitForNextRolloutPass(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case v := <-d.verdicts:
		if pause := d.recordRolloutVerdict(v); pause > 0 {
			return d.waitForNextRolloutPass(ctx, pause)
		}
	case <-d.Wake:
	case <-timer.C:
	}
	return nil
}

// IsPermanentError reports whether a retry cannot succeed: no permission, an unknown kind, an invalid request.
func IsPermanentError(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) ||
		apierrors.IsMethodNotSupported(err) || errors.Is(err, ErrGone) || errors.Is(err, hold.ErrRejected) || meta.IsNoMatchError(err)
}

// NewLogObserver returns an observer that logs errors; it logs a repeated error once.
func NewLogObserver(log klog.Logger) Observer {
	var last string
	return Observer{
		OnReconciled: func(Result) { last = "" },
		OnError: func(err error) {
			if text := err.Error(); text != last {
				last = text
				log.Error(err, "Workload cannot be scaled yet, retrying")
			}
		},
	}
}
