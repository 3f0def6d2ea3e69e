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
	d := drive{Engine: e, target: t, Follower: f, judged: make(chan verdict, 1)}
	defer d.stopJudging()
	for {
		r, err := e.Pass(ctx, t, time.Now())
		switch {
		case ctx.Err() != nil:
			return r, context.Cause(ctx)
		case err == nil:
			d.passed(ctx, r)
			if r.Gone && !r.Held || done(r) {
				return r, nil
			}
		case Hopeless(err):
			return r, err
		default:
			r.Again = time.Now().Add(d.trouble(err))
		}
		if err := d.wait(ctx, time.Until(r.Again)); err != nil {
			return r, err
		}
	}
}

// drive is a Drive: what it remembers from pass to pass.
type drive struct {
	*Engine
	Follower
	target   hold.Target
	failures int
	judging  string // the hold whose pods are asked at this moment, in a goroutine of its own
	cancel   context.CancelFunc
	judged   chan verdict
}

type verdict struct {
	report verify.Report
	err    error
}

// passed starts to verify what the pass says, and stops when that hold is there no more.
func (d *drive) passed(ctx context.Context, r Result) {
	d.failures = 0
	if d.judging != "" && r.Judge != d.judging {
		d.stopJudging()
	}
	if r.Judge != "" && d.judging == "" {
		d.judging = r.Judge
		ctx, d.cancel = context.WithCancel(ctx)
		go func(id string) {
			report, err := d.Judge(ctx, d.target, id, time.Now)
			d.judged <- verdict{report, err}
		}(r.Judge)
	}
	if d.Follower.Pass != nil {
		d.Follower.Pass(r)
	}
}

func (d *drive) stopJudging() {
	if d.judging != "" {
		d.cancel()
		<-d.judged
		d.judging = ""
	}
}

// settle takes note of a verdict, and returns how long to wait before the pods are asked again if there is none.
func (d *drive) settle(v verdict) time.Duration {
	d.judging = ""
	d.cancel()
	if v.err != nil {
		return d.trouble(v.err)
	}
	if d.Report != nil && len(v.report.Pods) > 0 {
		d.Report(v.report)
	}
	return 0
}

// trouble is how long to wait after a failure.
func (d *drive) trouble(err error) time.Duration {
	d.failures++
	if d.Trouble != nil {
		d.Trouble(err)
	}
	return min(backoff(d.failures)*10, retrying)
}

// wait is over after pause, when somebody wakes the drive, or when pods are verified.
func (d *drive) wait(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case v := <-d.judged:
		if pause := d.settle(v); pause > 0 {
			return d.wait(ctx, pause)
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
