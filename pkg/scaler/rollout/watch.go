// The watch over an open gate: a number that stays above its bound shuts the gate, and rolls the hold back.

package rollout

import (
	"context"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// watchInterval is the pause between two reads of a watch: as often as a metric of the adapter changes.
const watchInterval = 5 * time.Second

// conditionWatched tells how the watch over the open gates of a hold goes. Its reasons:
const (
	conditionWatched = "Watched"
	watchReading     = "Watching" // the number is within its bound
	watchAbove       = "Above"    // the number is above its bound, for less than the breach
	watchUnread      = "Unread"   // the number cannot be read
	watchPassed      = "Passed"   // the watch is over, and the number within its bound
)

// WatchReading is the result of a read of the numbers that watch the gates of a hold.
type WatchReading struct {
	At   time.Time
	Text string // the number beside its bound
	Over bool   // a number is above its bound
	// Breach is how long it may be so.
	Breach time.Duration
	Err    string // why a number cannot be read, and none is known to be above its bound; empty: all were read
}

// isHoldWatched reports whether the open gates of a hold are watched.
func (o *HeldWorkload) isHoldWatched(h *hold.Object, now time.Time) bool {
	return o.Gated && h.Status.State == hold.Open && h.Status.GateOpen && !h.Status.WatchUntil.IsZero() && !h.IsOver(now) && len(o.listWatches(h)) > 0
}

// listWatches lists the watches over the gates of a hold.
func (o *HeldWorkload) listWatches(h *hold.Object) (all []action.Watch) {
	for _, g := range h.Spec.Gates {
		if w := o.GatePlans[g].After; w != nil {
			all = append(all, *w)
		}
	}
	return all
}

// holdToWatch returns the index of the watched hold that was read least lately, if its next read is due; -1: none.
func (o *HeldWorkload) holdToWatch(now time.Time) int {
	next, last := -1, now.Add(-watchInterval)
	for i := range o.Holds {
		h := &o.Holds[i]
		if at := o.Readings[h.UID].At; o.isHoldWatched(h, now) && !at.After(last) {
			next, last = i, at
		}
	}
	return next
}

// isGateWatchUnread reports whether the number that watches the gates of a hold cannot be read.
func isGateWatchUnread(h *hold.Object) bool { return findWatchedReason(h) == watchUnread }

// findWatchedReason returns the reason of the condition Watched; empty: nothing was read yet.
func findWatchedReason(h *hold.Object) string {
	if c := findHoldCondition(h, conditionWatched); c != nil {
		return c.Reason
	}
	return ""
}

// watchOpenGate judges the last reading of each watched hold. Only numbers above their bound without a break are a breach: a number that cannot
// be read is told, and no more. The watch ends with a reading of its end, also after another leader.
func (o *HeldWorkload) watchOpenGate(now time.Time) (Step, bool) {
	for _, i := range o.listHoldsInState(hold.Open, now) {
		h := &o.Holds[i]
		if !o.isHoldWatched(h, now) {
			continue
		}
		r, since := o.Readings[h.UID], h.Status.BreachedSince
		switch read := !r.At.IsZero() && !r.At.Before(h.Status.Entered.Time); {
		case read && r.Over && since.IsZero():
			s := o.watchGateStep(i, watchAbove, metav1.ConditionFalse, r.Text, now)
			s.Status.BreachedSince = metav1.NewMicroTime(r.At)
			return s.withStepWarning(reasonBreached, "hold %s: %s", h.HoldID(), r.Text), true
		case read && r.Over && r.At.Sub(since.Time) >= r.Breach:
			reason := fmt.Sprintf("after the gate opened: %s, for %s", r.Text, strict.FormatDuration(r.At.Sub(since.Time).Round(time.Second)))
			return o.rollBackStep(i, reason, false, now), true
		case read && r.Err != "" && findWatchedReason(h) != watchUnread:
			s := o.watchGateStep(i, watchUnread, metav1.ConditionUnknown, r.Err, now)
			return s.withStepWarning(reasonUnwatched, "hold %s: %s", h.HoldID(), r.Err), true
		case read && r.Err == "" && !r.Over && findWatchedReason(h) != watchReading:
			s := o.watchGateStep(i, watchReading, metav1.ConditionTrue, r.Text, now)
			return s.withStepEvent(reasonWatched, "hold %s: %s", h.HoldID(), r.Text), true
		case read && since.IsZero() && !r.At.Before(h.Status.WatchUntil.Add(-watchInterval)) && !now.Before(h.Status.WatchUntil.Time):
			return o.endGateWatchStep(i, now), true
		}
	}
	return Step{}, false
}

// watchGateStep returns the step that writes how the watch over a hold's gates goes. A breach is over with it.
func (o *HeldWorkload) watchGateStep(i int, reason string, is metav1.ConditionStatus, text string, now time.Time) Step {
	status := o.Holds[i].Status.DeepCopy()
	status.BreachedSince = metav1.MicroTime{}
	status.Conditions = setHoldCondition(status.Conditions, conditionWatched, is, reason, shortenHoldStatus(text), now)
	return o.writeStatusStep(i, status)
}

// endGateWatchStep returns the step that ends the watch over a hold's gates. An unread watch stays unread in the condition.
func (o *HeldWorkload) endGateWatchStep(i int, now time.Time) Step {
	h := &o.Holds[i]
	reason, is, text := watchPassed, metav1.ConditionTrue, o.Readings[h.UID].Text
	if why := findWatchedReason(h); why != watchReading {
		reason, is, text = watchUnread, metav1.ConditionUnknown, "no number was read"
		if c := findHoldCondition(h, conditionWatched); c != nil {
			text = c.Message
		}
	}
	s := o.watchGateStep(i, reason, is, text, now)
	s.Status.WatchUntil = metav1.MicroTime{}
	if reason == watchPassed {
		s.Status.Told = endWatchTrouble(s.Status.Told, reasonUnwatched)
	}
	return s.withStepEvent(reasonWatched, "hold %s: the watch over the gate has ended: %s", h.HoldID(), text)
}

// ReadHoldWatch reads the numbers that watch the gates of a hold, and keeps the reading for the next pass. now is the time of the reading.
func (e *Engine) ReadHoldWatch(ctx context.Context, t hold.Workload, id types.UID, now time.Time) {
	p := &workloadPass{Engine: e, workload: t, now: now, reader: e.Reader}
	if err := p.observeWorkload(ctx); err != nil {
		klog.FromContext(ctx).Error(err, "Watch of a gate cannot be read, retrying", "workload", t.String())
		return
	}
	o := &p.observed
	i := slices.IndexFunc(o.Holds, func(h hold.Object) bool { return h.UID == id })
	if i < 0 || o.Scale == nil || e.Watcher == nil {
		return
	}
	r := WatchReading{At: now}
	for _, w := range o.listWatches(&o.Holds[i]) {
		v, err := p.readWatchSafely(ctx, o.Scale.Selector, w)
		r.addWatchNumber(w, v, err)
	}
	if ctx.Err() != nil {
		return
	}
	e.Metrics.countWatchReading(r)
	e.changeHoldResults(t, func(results holdResults) { results.readings[id] = r })
}

// readWatchSafely reads a number. A panic over the response fails this read alone.
func (p *workloadPass) readWatchSafely(ctx context.Context, selector string, w action.Watch) (v float64, err error) {
	defer p.Metrics.Panics.Catch(ctx, &err, func() []any { return []any{"workload", p.workload.String()} })
	return p.Watcher.ReadWatch(ctx, p.workload.Namespace, selector, w)
}

// addWatchNumber adds a number, or the failure to read it. A number above its bound counts more than all others.
func (r *WatchReading) addWatchNumber(w action.Watch, v float64, err error) {
	switch {
	case r.Over:
	case err != nil:
		r.Err = err.Error()
	case v > w.Max:
		*r = WatchReading{At: r.At, Text: w.FormatWatchValue(v), Over: true, Breach: w.Breach}
	default:
		r.Text = w.FormatWatchValue(v)
	}
}
