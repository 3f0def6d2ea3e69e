// Reconcile: passes in a loop, with verification in the background.

package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/retry"
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

// Reconcile makes passes over a workload, and verifies holds, until done returns true. It returns early if ctx ends, or with a
// permanent error. All its goroutines have ended when it returns.
func (e *Engine) Reconcile(ctx context.Context, t hold.Workload, done func(Result) bool, f Observer) (Result, error) {
	d := workloadReconciler{Engine: e, workload: t, Observer: f, verified: make(chan Verdict, 1), watched: make(chan struct{}, 1)}
	defer d.stopHoldVerification()
	defer d.stopGateWatch()
	for {
		r, err := e.ReconcileOnce(ctx, t, time.Now())
		switch {
		case ctx.Err() != nil:
			return r, context.Cause(ctx)
		case err == nil:
			d.handlePassResult(ctx, r)
			if done(r) {
				return r, nil
			}
		case IsPermanentError(err):
			return r, err
		default:
			r.NextPass = time.Now().Add(d.reportPassError(err))
		}
		if err := d.waitForNextPass(ctx, r.NextPass); err != nil {
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
	verifying          types.UID // the hold in verification, in a goroutine; empty: no verification runs
	cancelVerification context.CancelFunc
	verified           chan Verdict
	cancelWatch        context.CancelFunc // of a read of a watch, in a goroutine; nil: none runs
	watched            chan struct{}
}

// handlePassResult starts the verification of the hold to verify, and stops any other.
func (d *workloadReconciler) handlePassResult(ctx context.Context, r Result) {
	d.failures = 0
	if d.verifying != "" && r.HoldToVerify != d.verifying {
		d.stopHoldVerification()
	}
	if r.HoldToVerify != "" && !r.PodsMissing && d.verifying == "" {
		d.verifying = r.HoldToVerify
		verifying, cancel := context.WithCancel(ctx) // each has a context of its own, so that the end of one is not the end of the other
		d.cancelVerification = cancel
		go func(id types.UID) { d.verified <- d.verifyHoldSafely(verifying, id) }(r.HoldToVerify)
	}
	if r.HoldToWatch != "" && d.cancelWatch == nil {
		watching, cancel := context.WithCancel(ctx) // stopGateWatch and waitForNextPass cancel it
		d.cancelWatch = cancel
		go func(id types.UID) {
			d.readHoldWatchSafely(watching, id)
			d.watched <- struct{}{}
		}(r.HoldToWatch)
	}
	if d.Observer.OnReconciled != nil {
		d.Observer.OnReconciled(r)
	}
}

// verifyHoldSafely verifies a hold. After a panic there is no verdict, and the next try waits: the panic may come again.
func (d *workloadReconciler) verifyHoldSafely(ctx context.Context, id types.UID) (v Verdict) {
	d.runHoldWorkSafely(ctx, func() { v = d.VerifyHold(ctx, d.workload, id, time.Now()) })
	return v
}

func (d *workloadReconciler) readHoldWatchSafely(ctx context.Context, id types.UID) {
	d.runHoldWorkSafely(ctx, func() { d.ReadHoldWatch(ctx, d.workload, id, time.Now()) })
}

func (d *workloadReconciler) runHoldWorkSafely(ctx context.Context, work func()) {
	err := func() (err error) {
		defer d.Metrics.Panics.Catch(ctx, &err, func() []any { return []any{"workload", d.workload.String()} })
		work()
		return nil
	}()
	if err != nil {
		retry.Sleep(ctx, retryInterval)
	}
}

// stopGateWatch cancels the read of a watch, if any, and waits for its end.
func (d *workloadReconciler) stopGateWatch() {
	if d.cancelWatch != nil {
		d.cancelWatch()
		<-d.watched
		d.cancelWatch = nil
	}
}

// stopHoldVerification cancels the verification, if any, and waits for its end.
func (d *workloadReconciler) stopHoldVerification() {
	if d.verifying != "" {
		d.cancelVerification()
		<-d.verified
		d.verifying = ""
	}
}

// reportPassError reports a failed pass, and returns the delay until the next: ten times delayAfterHoldConflict, up to retryInterval.
func (d *workloadReconciler) reportPassError(err error) time.Duration {
	d.failures++
	if d.OnError != nil {
		d.OnError(err)
	}
	return min(delayAfterHoldConflict(d.failures)*10, retryInterval)
}

// waitForNextPass waits for the time, a wake-up, or the end of a verification. A zero time never comes.
func (d *workloadReconciler) waitForNextPass(ctx context.Context, at time.Time) error {
	var due <-chan time.Time
	if !at.IsZero() {
		timer := time.NewTimer(time.Until(at))
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case v := <-d.verified:
		d.verifying = ""
		d.cancelVerification()
		if d.OnReport != nil && v.Report != nil && len(v.Report.Pods) > 0 {
			d.OnReport(*v.Report)
		}
	case <-d.watched:
		d.cancelWatch()
		d.cancelWatch = nil
	case <-d.Wake:
	case <-due:
	}
	return nil
}

// VerifyHold verifies the new pods of a hold in state Ready, and keeps the verdict for the next pass. It blocks during the test
// requests, for at most the hold's within. Pods that cannot be tested fail the verification. The verdict is empty if the pods are to be
// verified later: not enough are ready, or one went away meanwhile.
func (e *Engine) VerifyHold(ctx context.Context, t hold.Workload, id types.UID, now time.Time) Verdict {
	p := &workloadPass{Engine: e, workload: t, now: now, reader: e.Cluster}
	if err := p.observeWorkload(ctx); err != nil {
		klog.FromContext(ctx).Error(err, "Pods to verify cannot be read, retrying", "workload", t.String())
		return Verdict{}
	}
	i := p.observed.holdToVerify(p.now)
	if i < 0 || p.observed.Holds[i].UID != id {
		return Verdict{} // released, replaced or verified by another process meanwhile
	}
	h := &p.observed.Holds[i]
	if p.observed.describeMissingPods(h, p.now) != "" {
		return Verdict{} // the ready pods alone say nothing about pods that were ready a moment ago
	}
	v := p.verifyNewPods(ctx, h)
	if ctx.Err() != nil {
		return v
	}
	e.changeHoldResults(t, func(r holdResults) { r.verdicts[id] = v })
	return v
}

// verifyNewPods tests the ready new pods of the hold, beside the old pods.
func (p *workloadPass) verifyNewPods(ctx context.Context, h *hold.Object) Verdict {
	v := Verdict{Since: h.Status.Since.Time, Asked: newVerifiedRequest(h), Passed: true, Message: "no new pods to verify"}
	var ready []corev1.Pod
	for _, pod := range p.observed.Pods {
		if isRolloutPodReady(&pod) && pod.Status.PodIP != "" {
			ready = append(ready, pod)
			if at := findRolloutPodReadyTime(&pod); v.ReadyAt.Before(&at) {
				v.ReadyAt = at
			}
		}
	}
	v.Youngest = findYoungestPodTime(ready)
	pods, old := splitRolloutPods(ready, h)
	if len(pods) == 0 && len(h.Spec.Gates) > 0 { // an autoscaler may have kept the pods of a hold that failed, and ended, a moment ago
		pods, old = ready, nil
	}
	if len(pods) == 0 {
		return v
	}
	limit := h.WithinOrDefault()
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no verdict after %s", limit))
	defer cancel()
	report, err := p.runCheckerSafely(ctx, h, pods, old)
	if p.haveVerifiedPodsGone(ctx, h, pods) {
		return Verdict{}
	}
	v.Report, v.Passed, v.Message = &report, report.Passed, ""
	if err != nil {
		v.Passed, v.Message = false, "verify the new pods: "+err.Error()
	} else {
		v.Message = report.SummaryLine()
	}
	return v
}

// haveVerifiedPodsGone reports whether a pod went away during its verification: a drained node, a rolling update or the autoscaler took it. Its requests fail
// for that, and another pod takes its place. The verdict stands after the time for new pods to become ready.
func (p *workloadPass) haveVerifiedPodsGone(ctx context.Context, h *hold.Object, pods []corev1.Pod) bool {
	if !p.now.Before(h.Status.Entered.Add(h.WithinOrDefault())) {
		return false
	}
	all, err := p.Cluster.ListPods(ctx, p.workload.Namespace, p.observed.Scale.Selector)
	if err != nil {
		return false
	}
	there := map[types.UID]bool{}
	for _, pod := range keepWorkloadPods(all, p.workload, p.observed.Scale.UID) {
		there[pod.UID] = true
	}
	i := slices.IndexFunc(pods, func(pod corev1.Pod) bool { return !there[pod.UID] })
	if i >= 0 {
		p.passLogger(ctx).Info("Pod went away during its verification, verifying again", "hold", h.HoldID(), "pod", pods[i].Name)
	}
	return i >= 0
}

// runCheckerSafely tests pods for a hold. A panic fails this verification alone.
func (p *workloadPass) runCheckerSafely(ctx context.Context, h *hold.Object, pods, old []corev1.Pod) (report verify.Report, err error) {
	defer p.Metrics.Panics.Catch(ctx, &err, func() []any { return []any{"workload", p.workload.String(), "hold", h.HoldID()} })
	return p.Checker.Run(ctx, *h.Spec.Verify, pods, old)
}

// VerifyPods tests all ready pods of a workload. It only reads from the cluster.
func (e *Engine) VerifyPods(ctx context.Context, t hold.Workload, spec verify.Spec) (verify.Report, error) {
	scale, err := e.Cluster.GetScale(ctx, t)
	if err == nil && scale == nil {
		err = ErrGone
	}
	var pods []corev1.Pod
	if err == nil {
		pods, err = e.Cluster.ListPods(ctx, t.Namespace, scale.Selector)
	}
	if err != nil {
		return verify.Report{}, fmt.Errorf("verify %s: %w", t, err)
	}
	var ready []corev1.Pod
	for _, pod := range keepWorkloadPods(pods, t, scale.UID) {
		if isRolloutPodReady(&pod) {
			ready = append(ready, pod)
		}
	}
	if len(ready) == 0 {
		return verify.Report{}, fmt.Errorf("verify %s: none of its %d pods is ready", t, scale.Replicas)
	}
	report, err := e.Checker.Run(ctx, spec, ready, nil)
	if err != nil {
		return report, fmt.Errorf("verify %s: %w", t, err)
	}
	return report, nil
}

// IsPermanentError reports whether a retry cannot succeed: no permission, an unknown kind, an invalid request.
func IsPermanentError(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) ||
		apierrors.IsMethodNotSupported(err) || errors.Is(err, ErrGone) || errors.Is(err, errTrouble) || errors.Is(err, hold.ErrRejected) || meta.IsNoMatchError(err)
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
