// The progress of a hold, for set.

package command

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/rollout"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
)

// holdProgressPrinter prints the progress of a hold.
type holdProgressPrinter struct {
	*outputPrinter
	holdID       string
	isEnough     func(hold.State) bool // whether the command waits for no later state
	lastHold     hold.Object           // the last observed hold; without name: not observed yet
	lastReport   *verify.Report
	workloadGone bool
	lastError    string
}

// newProgressObserver returns the observer that prints the progress.
func (f *holdProgressPrinter) newProgressObserver() rollout.Observer {
	return rollout.Observer{OnReconciled: f.showHoldResult, OnReport: f.showVerifyReport, OnError: f.showHoldError}
}

// showHoldResult prints a change of the hold's state.
func (f *holdProgressPrinter) showHoldResult(r rollout.Result) {
	f.workloadGone = r.Gone
	h := r.FindHold(f.holdID)
	for i := range r.EndedHolds {
		if r.EndedHolds[i].HoldID() == f.holdID {
			h = &r.EndedHolds[i]
		}
	}
	if h == nil {
		return
	}
	if h.Status.State != f.lastHold.Status.State {
		f.printCommandEvent(string(h.Status.State), f.holdID, describeHoldResult(h, r), nil)
	}
	f.lastHold = *h
	if h.Status.State == hold.Scaled {
		f.showProgressLine("%d of %d pods are ready", r.ReadyPods, r.Replicas)
	}
	if r.HoldToVerify == h.UID {
		f.showProgressLine("verifying the new pods")
	}
}

// describeHoldResult returns the message for a hold that entered its state.
func describeHoldResult(h *hold.Object, r rollout.Result) string {
	switch h.Status.State {
	case hold.RolledBack:
		return h.Status.Message
	case hold.Verified, hold.Open:
		return fmt.Sprintf("%d replicas are up: %s", r.Replicas, h.Status.Message)
	case hold.Released:
		return strings.TrimSuffix(fmt.Sprintf("%d replicas; %s", r.Replicas, describeOpenGate(h)), "; ")
	case hold.Received, hold.Raised, hold.Scaled, hold.Ready:
	}
	if r.Autoscaler != "" {
		return fmt.Sprintf("%d replicas, autoscaler %s %d..%d", r.Replicas, r.Autoscaler, r.Bounds.MinReplicas, r.Bounds.MaxReplicas)
	}
	return fmt.Sprintf("%d replicas", r.Replicas)
}

// showVerifyReport prints a verification report.
func (f *holdProgressPrinter) showVerifyReport(r verify.Report) {
	f.lastReport = &r
	if f.json {
		f.printCommandEvent("report", f.holdID, r.SummaryLine(), r)
		return
	}
	f.clearProgressLine()
	r.WriteTable(f.out)
}

// showHoldError prints an error before a retry; it prints a repeated error once.
func (f *holdProgressPrinter) showHoldError(err error) {
	if text := err.Error(); text != f.lastError {
		f.lastError = text
		f.printCommandEvent("error", f.holdID, text+"; retrying", nil)
	}
}

// isHoldFinished reports whether the hold ended, or came far enough. A failed hold is finished after its rollback, and one that is over, or was
// paused, after its original numbers are back.
func (f *holdProgressPrinter) isHoldFinished(r rollout.Result) bool {
	for i := range r.EndedHolds {
		if r.EndedHolds[i].HoldID() == f.holdID {
			return true
		}
	}
	h := r.FindHold(f.holdID)
	switch {
	case h == nil:
		return f.lastHold.Name != "" || r.Gone
	case h.IsOver(time.Now()):
		return h.IsGivenBack()
	case h.Status.ObservedGeneration != h.Generation:
		return false
	case h.Status.State == hold.RolledBack:
		return h.Status.Numbers == nil || h.IsKept()
	}
	return f.isEnough(h.Status.State)
}

// finalHoldError returns the last error of a command, with its exit code, after the hold was written. err is the error of the rollout.
func (f *holdProgressPrinter) finalHoldError(ctx context.Context, err error) error {
	f.clearProgressLine()
	switch {
	case err != nil && ctx.Err() != nil:
		state := f.lastHold.Status.State
		if state == "" {
			state = hold.Received
		}
		return WithExitCode(fmt.Errorf("interrupted in state %s; NOT rolled back: run `%s release` to undo it", state, f.program), ExitUnfinished)
	case err != nil:
		return WithExitCode(fmt.Errorf("%w; NOT rolled back: fix the cause, then run `%s release`", err, f.program), ExitUnfinished)
	case f.workloadGone:
		return errors.New("the workload is gone")
	case f.lastHold.Status.State == hold.RolledBack:
		return fmt.Errorf("failed and rolled back: %s", f.lastHold.Status.Message)
	case f.lastHold.Name != "" && (f.lastHold.Status.State == hold.Released || !f.isEnough(f.lastHold.Status.State)):
		return errors.New("the hold ended before its pods were up: it was released or paused, or its time was over")
	}
	return nil
}
