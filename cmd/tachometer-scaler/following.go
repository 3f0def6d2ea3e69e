package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/rollout"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
)

// following shows the way of one hold.
type following struct {
	*printer
	id, verb string
	last     hold.Hold // as it was seen last; without ID: never
	gone     bool
	told     string
}

func (f *following) follower() rollout.Follower {
	return rollout.Follower{Pass: f.pass, Report: f.report, Trouble: f.trouble}
}

// pass shows what changed.
func (f *following) pass(r rollout.Result) {
	f.gone = r.Gone
	h := r.Record.Find(f.id)
	for i := range r.Ended {
		if r.Ended[i].ID == f.id {
			h = &r.Ended[i]
		}
	}
	if h == nil {
		return
	}
	if h.State != f.last.State {
		f.say(word(h.State), f.id, sentence(h, r), nil)
	}
	f.last = *h
	if h.State == hold.Scaled {
		f.progress("%d of %d pods are ready", r.Ready, r.Replicas)
	}
	if r.Judge == f.id {
		f.progress("the new pods are asked")
	}
}

// word is a state in one word.
func word(s hold.State) string {
	if s == hold.RolledBack {
		return "failed"
	}
	return string(s)
}

// sentence is what is worth saying about a hold that came to its state.
func sentence(h *hold.Hold, r rollout.Result) string {
	switch h.State {
	case hold.RolledBack:
		return h.Why
	case hold.Verified, hold.Open:
		return fmt.Sprintf("%d replicas are up: %s", r.Replicas, h.Why)
	case hold.Released:
		return fmt.Sprintf("%d replicas are asked for now", r.Replicas)
	}
	if r.Autoscaler != "" {
		return fmt.Sprintf("%d replicas asked for, autoscaler %s %d..%d", r.Replicas, r.Autoscaler, r.Limits.Min, r.Limits.Max)
	}
	return fmt.Sprintf("%d replicas asked for", r.Replicas)
}

func (f *following) report(r verify.Report) {
	if f.json {
		f.say("report", f.id, r.SummaryLine(), r)
		return
	}
	f.end()
	r.WriteTable(f.out)
}

func (f *following) trouble(err error) {
	if text := err.Error(); text != f.told {
		f.told = text
		f.say("trouble", f.id, text+"; tried again", nil)
	}
}

// over tells whether the hold has come as far as it will, or far enough. A failed hold is over when it is undone.
func (f *following) over(r rollout.Result, enough func(hold.State) bool) bool {
	for i := range r.Ended {
		if r.Ended[i].ID == f.id {
			return true
		}
	}
	h := r.Record.Find(f.id)
	switch {
	case h == nil:
		return true
	case h.State == hold.RolledBack:
		return !h.Undo
	case f.last.State == hold.RolledBack: // undone, and what it had replaced is back in its place
		return true
	}
	return enough(h.State)
}

// outcome is the error, with its exit code, that a command ends with after the hold was noted. err is of what came then.
func (f *following) outcome(ctx context.Context, err error) error {
	f.end()
	switch {
	case err != nil && ctx.Err() != nil:
		state := f.last.State
		if state == "" {
			state = hold.Received
		}
		return coded{fmt.Errorf("interrupted while it was %s; it is NOT rolled back: scaler release takes it back", state), exitUnfinished}
	case err != nil:
		return coded{fmt.Errorf("%w; it is NOT rolled back: scaler release takes it back when that is mended", err), exitUnfinished}
	case f.gone:
		return errors.New("the target is gone")
	case f.last.State == hold.RolledBack:
		return fmt.Errorf("failed and rolled back: %s", f.last.Why)
	}
	return nil
}
