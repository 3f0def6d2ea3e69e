package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/rollout"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
)

// holdProgress shows the way of one hold.
type holdProgress struct {
	*outputPrinter
	holdID, verb string
	lastHold     hold.Hold // as it was seen last; without ID: never
	workloadGone bool
	lastError    string
}

func (f *holdProgress) newObserver() rollout.Observer {
	return rollout.Observer{OnReconciled: f.showResult, OnReport: f.showReport, OnError: f.showError}
}

// showResult shows what changed.
func (f *holdProgress) showResult(r rollout.Result) {
	f.workloadGone = r.Gone
	h := r.Record.FindHold(f.holdID)
	for i := range r.EndedHolds {
		if r.EndedHolds[i].ID == f.holdID {
			h = &r.EndedHolds[i]
		}
	}
	if h == nil {
		return
	}
	if h.State != f.lastHold.State {
		f.printEvent(stateWord(h.State), f.holdID, describeHold(h, r), nil)
	}
	f.lastHold = *h
	if h.State == hold.Scaled {
		f.showProgress("%d of %d pods are ready", r.ReadyPods, r.Replicas)
	}
	if r.HoldToVerify == f.holdID {
		f.showProgress("the new pods are asked")
	}
}

// stateWord is a state in one word.
func stateWord(s hold.State) string {
	if s == hold.RolledBack {
		return "failed"
	}
	return string(s)
}

// describeHold is what is worth saying about a hold that came to its state.
func describeHold(h *hold.Hold, r rollout.Result) string {
	switch h.State {
	case hold.RolledBack:
		return h.StateMessage
	case hold.Verified, hold.Open:
		return fmt.Sprintf("%d replicas are up: %s", r.Replicas, h.StateMessage)
	case hold.Released:
		return fmt.Sprintf("%d replicas are asked for now", r.Replicas)
	}
	if r.Autoscaler != "" {
		return fmt.Sprintf("%d replicas asked for, autoscaler %s %d..%d", r.Replicas, r.Autoscaler, r.Bounds.MinReplicas, r.Bounds.MaxReplicas)
	}
	return fmt.Sprintf("%d replicas asked for", r.Replicas)
}

func (f *holdProgress) showReport(r verify.Report) {
	if f.json {
		f.printEvent("report", f.holdID, r.SummaryLine(), r)
		return
	}
	f.clearProgress()
	r.WriteTable(f.out)
}

func (f *holdProgress) showError(err error) {
	if text := err.Error(); text != f.lastError {
		f.lastError = text
		f.printEvent("trouble", f.holdID, text+"; tried again", nil)
	}
}

// isFinished tells whether the hold has come as far as it will, or far enough. A failed hold is over when it is undone.
func (f *holdProgress) isFinished(r rollout.Result, enough func(hold.State) bool) bool {
	for i := range r.EndedHolds {
		if r.EndedHolds[i].ID == f.holdID {
			return true
		}
	}
	h := r.Record.FindHold(f.holdID)
	switch {
	case h == nil:
		return true
	case h.State == hold.RolledBack:
		return !h.UndoPending
	case f.lastHold.State == hold.RolledBack: // undone, and what it had replaced is back in its place
		return true
	}
	return enough(h.State)
}

// finalError is the error, with its exit code, that a command ends with after the hold was noted. err is of what came then.
func (f *holdProgress) finalError(ctx context.Context, err error) error {
	f.clearProgress()
	switch {
	case err != nil && ctx.Err() != nil:
		state := f.lastHold.State
		if state == "" {
			state = hold.Received
		}
		return exitError{fmt.Errorf("interrupted while it was %s; it is NOT rolled back: scaler release takes it back", state), exitUnfinished}
	case err != nil:
		return exitError{fmt.Errorf("%w; it is NOT rolled back: scaler release takes it back when that is mended", err), exitUnfinished}
	case f.workloadGone:
		return errors.New("the target is gone")
	case f.lastHold.State == hold.RolledBack:
		return fmt.Errorf("failed and rolled back: %s", f.lastHold.StateMessage)
	}
	return nil
}
