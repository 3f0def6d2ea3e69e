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

// Follower sees what a Drive does. Its fields may be nil; calls come one at a time.
type Follower struct {
	Pass    func(Result)        // after every pass that succeeded
	Report  func(verify.Report) // after every verification
	Trouble func(error)         // after every pass that did not; it is made again
	Wake    <-chan struct{}     // makes the next pass come at once
}

// Drive makes passes over a target, and verifies what is to be verified, until done says so. It returns before that if ctx
// ends, if the target is gone, or if the API server refuses: what a second try will not change. All that it started has ended
// when it returns.
func (e *Engine) Drive(ctx context.Context, t hold.Target, done func(Result) bool, f Follower) (Result, error) {
	d := workloadReconciler{Engine: e, workload: t, Follower: f, verdicts: make(chan holdVerdict, 1)}
	defer d.stopVerification()
	for {
		r, err := e.Pass(ctx, t, time.Now())
		switch {
		case ctx.Err() != nil:
			return r, context.Cause(ctx)
		case err == nil:
			d.handlePassResult(ctx, r)
			if r.Gone && !r.Held || done(r) {
				return r, nil
			}
		case Hopeless(err):
			return r, err
		default:
			r.Again = time.Now().Add(d.reportPassError(err))
		}
		if err := d.waitForNextPass(ctx, time.Until(r.Again)); err != nil {
			return r, err
		}
	}
}

// workloadReconciler is a Drive: what it remembers from pass to pass.
type workloadReconciler struct {
	*Engine
	Follower
	workload           hold.Target
	failures           int
	verifyingID        string // the hold whose pods are asked at this moment, in a goroutine of its own
	cancelVerification context.CancelFunc
	verdicts           chan holdVerdict
}

type holdVerdict struct {
	report verify.Report
	err    error
}

// handlePassResult starts to verify what the pass says, and stops when that hold is there no more.
func (d *workloadReconciler) handlePassResult(ctx context.Context, r Result) {
	d.failures = 0
	if d.verifyingID != "" && r.Judge != d.verifyingID {
		d.stopVerification()
	}
	if r.Judge != "" && d.verifyingID == "" {
		d.verifyingID = r.Judge
		ctx, d.cancelVerification = context.WithCancel(ctx)
		go func(id string) {
			report, err := d.Judge(ctx, d.workload, id, time.Now)
			d.verdicts <- holdVerdict{report, err}
		}(r.Judge)
	}
	if d.Follower.Pass != nil {
		d.Follower.Pass(r)
	}
}

func (d *workloadReconciler) stopVerification() {
	if d.verifyingID != "" {
		d.cancelVerification()
		<-d.verdicts
		d.verifyingID = ""
	}
}

// recordVerdict takes note of a verdict, and returns how long to wait before the pods are asked again if there is none.
func (d *workloadReconciler) recordVerdict(v holdVerdict) time.Duration {
	d.verifyingID = ""
	d.cancelVerification()
	if v.err != nil {
		return d.reportPassError(v.err)
	}
	if d.Report != nil && len(v.report.Pods) > 0 {
		d.Report(v.report)
	}
	return 0
}

// reportPassError is how long to wait after a failure.
func (d *workloadReconciler) reportPassError(err error) time.Duration {
	d.failures++
	if d.Trouble != nil {
		d.Trouble(err)
	}
	return min(conflictBackoff(d.failures)*10, retryInterval)
}

// waitForNextPass is over after pause, when somebody wakes the drive, or when pods are verified.
func (d *workloadReconciler) waitForNextPass(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case v := <-d.verdicts:
		if pause := d.recordVerdict(v); pause > 0 {
			return d.waitForNextPass(ctx, pause)
		}
	case <-d.Wake:
	case <-timer.C:
	}
	return nil
}

// Hopeless tells whether a pass failed for what will not change by itself: no permission, no such kind, a request that is wrong.
func Hopeless(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) ||
		apierrors.IsMethodNotSupported(err) || errors.Is(err, ErrGone) || errors.Is(err, hold.ErrRefused) || meta.IsNoMatchError(err)
}

// Logged is a Follower that writes troubles to the log, those that repeat once.
func Logged(log klog.Logger) Follower {
	var last string
	return Follower{
		Pass: func(Result) { last = "" },
		Trouble: func(err error) {
			if text := err.Error(); text != last {
				last = text
				log.Error(err, "Target cannot be scaled yet; it is tried again")
			}
		},
	}
}
