// Decide: the decision of a look. It reads and writes nothing.

package surge

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/hpa"
	"github.com/tachometer-metrics/tachometer/pkg/kube"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// Skip is the reason for which a look decides nothing.
type Skip string

// The reasons of Skip.
const (
	SkipUnanswered Skip = "unanswered" // a metric has no answer
	SkipSettling   Skip = "settling"   // the answers are not good for long enough yet
	SkipUnread     Skip = "unread"     // the lane reads none of the metrics
	SkipZero       Skip = "zero"       // the workload has 0 replicas, and not by its autoscaler
	SkipHeld       Skip = "held"       // a person's hold or number is in force
	SkipOff        Skip = "off"        // another client undid a raise
	SkipOwned      Skip = "owned"      // a ScaledObject owns the autoscaler
	SkipShared     Skip = "shared"     // another autoscaler has the same target
	SkipDisabled   Skip = "disabled"   // the autoscaler's behavior forbids to scale up
	SkipBudget     Skip = "budget"     // the budget is used up
)

// Notice is a message to people: an Event on the autoscaler and a line of the log.
type Notice struct {
	Reason, Message string
	IsWarning       bool
}

// The reasons of notices. They are past participles in CamelCase.
const (
	ReasonRaised    = "SurgeRaised"
	ReasonObserved  = "SurgeObserved"
	ReasonFollowed  = "SurgeFollowed"
	ReasonUnmatched = "SurgeUnmatched"
	ReasonStopped   = "SurgeStopped"
	ReasonExhausted = "SurgeBudgetExhausted"
	ReasonMisread   = "SurgeMisread"
)

// LaneDecision is the decision of a look.
type LaneDecision struct {
	// Place reports whether a hold is placed or changed, to Memory.Raise. IsNew is set for the first hold of a raise.
	Place, IsNew bool
	// LooksAgain asks for a second look within the second: a surge may have begun, a raise follows the metric, or the workload may wake.
	LooksAgain bool
	// ConfirmsNow asks for another look at once, in which another replica of the adapter answers: the workload may wake.
	ConfirmsNow bool
	// Skip is the reason for which nothing was decided; empty: the look was complete.
	Skip Skip
	// Leads are the times by which the autoscaler came later than observed raises, for the raises that it came to at this look.
	Leads []time.Duration
	// Unmatched is the number of observed raises that ended at this look, and that the autoscaler did not make.
	Unmatched int
	Notices   []Notice
	// Memory is the memory for the next look. After a hold that could not be placed, the memory before counts.
	Memory Memory
}

// The rules of significance.
const (
	// minSurplus is the least part by which the demand exceeds the replicas. Less is no surge: the autoscaler has time for it.
	minSurplus = 0.25
	// minScore is the least number of standard deviations between a surge and the steady demand. A step from 40 to 80 requests/s has 11
	// after four seconds. test/surge plays hours of steady traffic that must stay below it.
	minScore = 8
	// shortenedLooks is the number of looks in a row if the adapter shortened its window, which tells a step from chance, and two replicas of it
	// agree.
	shortenedLooks = 2
	// unconfirmedLooks is the number if one replica answered them all: another could not be reached, or the adapter does not name them.
	unconfirmedLooks = 3
	// plainSamples is the number of samples in a row otherwise.
	plainSamples = 3
	// wakeLooks is the number of looks in a row that find a wish at zero.
	wakeLooks = 2
	// maxAgreedChange is the greatest part by which the demands of two samples differ after the step.
	maxAgreedChange = 0.05
	// shortenedShare is the share of the longest window that makes a window a shortened one. A step of longer ago is no surge.
	shortenedShare = 0.5
)

// Decide returns the decision about an autoscaler, from an observation and the memory of the look before.
func Decide(o LaneAutoscaler, before Memory) LaneDecision {
	d := LaneDecision{Memory: cloneLaneMemory(before)}
	o.removeUnreadMetrics()
	d.noteGoodAnswers(&o)
	d.noteSurgeHold(&o)
	d.noteFollowedRaises(&o)
	w, isKnown := d.computeLaneWish(&o)
	if d.Skip = d.findRaiseObstacle(&o); d.Skip != "" {
		d.Memory.Agreement = Agreement{}
		return d
	}
	if !isKnown { // between the two writes of a raise
		return d
	}
	d.noteWishAgreement(&o, w)
	switch raise := d.Memory.Raise; {
	case d.isDemandCertain(&o, w) && (raise == nil || d.Memory.Agreement.Low > raise.Replicas):
		d.raiseForSurgeWish(&o, w)
	case raise != nil && d.needsHoldExtension(&o, w):
		raise.Until = o.Now.Add(holdFor)
		d.Place = true
	}
	d.ConfirmsNow = w.isWake && d.Memory.Agreement.Looks == 1
	d.LooksAgain = o.Replicas == 0 || !d.Memory.Agreement.Since.IsZero() || d.hasYoungRaise(&o)
	return d
}

// noteGoodAnswers notes whether the answers are good, and the longest windows. After an outage the good answers begin anew.
func (d *LaneDecision) noteGoodAnswers(o *LaneAutoscaler) {
	m := &d.Memory
	if o.hasFailedSurgeReading() {
		if m.FailedSince.IsZero() {
			m.FailedSince = o.Now
		}
		return
	}
	if m.GoodSince.IsZero() || !m.FailedSince.IsZero() && o.Now.Sub(m.FailedSince) >= outageAfter {
		m.GoodSince = o.Now
	}
	m.FailedSince = time.Time{}
	known := m.Metrics
	m.Metrics = make([]LaneMetricMemory, len(o.Readings))
	for i, r := range o.Readings {
		metric := o.Autoscaler.Spec.Metrics[i].String()
		if at := slices.IndexFunc(known, func(k LaneMetricMemory) bool { return k.Metric == metric }); at >= 0 {
			m.Metrics[i] = known[at]
			known = slices.Delete(known, at, at+1)
		}
		m.Metrics[i].noteMetricWindow(metric, r.Window, o.Now)
	}
}

// hasFailedSurgeReading reports whether a metric that the lane reads has no answer.
func (o *LaneAutoscaler) hasFailedSurgeReading() bool {
	return len(o.Readings) != len(o.Autoscaler.Spec.Metrics) || slices.ContainsFunc(o.Readings, func(r Reading) bool { return r.Err != nil })
}

// noteSurgeHold adopts the hold of an earlier leader, and ends an expired raise. A hold that another client undid stops the lane for a while.
func (d *LaneDecision) noteSurgeHold(o *LaneAutoscaler) {
	m := &d.Memory
	m.Raises = slices.DeleteFunc(m.Raises, func(at time.Time) bool { return o.Now.Sub(at) >= budgetPeriod })
	if m.Raise != nil && !o.Now.Before(m.Raise.Until) {
		m.Raise = nil
	}
	h := o.findSurgeHold()
	if m.isSurgeHoldReleased(h, o.Now) {
		d.stopAfterUndoneHold(o, "it was released")
		return
	}
	if h == nil {
		return
	}
	isUndone := len(h.Status.Yielded) > 0 || h.Status.State == hold.RolledBack || h.Spec.Paused
	switch {
	case isUndone:
		d.stopAfterUndoneHold(o, describeUndoneRaise(h))
	case m.Raise != nil:
		m.Raise.IsSeen = m.Raise.IsSeen || h.DeletionTimestamp == nil
	case !h.IsOver(o.Now) && h.Spec.Until != nil:
		began := h.CreationTimestamp.Time
		m.Raise = &Raise{Replicas: h.Spec.Replicas, From: o.Replicas, Began: began, Until: h.Spec.Until.Time, Cause: h.Spec.Reason, IsSeen: true}
		if !slices.ContainsFunc(m.Raises, func(at time.Time) bool { return !at.Before(began.Add(-lookInterval)) }) {
			m.Raises = append(m.Raises, began)
		}
	}
}

// isSurgeHoldReleased reports whether the hold of the raise in force is gone before its time: a person released it. The engine ends holds
// at a whole second.
func (m *Memory) isSurgeHoldReleased(h *hold.Object, now time.Time) bool {
	isGone := h == nil || h.DeletionTimestamp != nil
	return m.Raise != nil && m.Raise.IsSeen && isGone && m.Raise.Until.Sub(now) > 2*lookInterval
}

// stopAfterUndoneHold stops the lane for a while, and tells it once.
func (d *LaneDecision) stopAfterUndoneHold(o *LaneAutoscaler, cause string) {
	m := &d.Memory
	m.Raise = nil
	if !o.Now.Before(m.OffUntil) {
		text := fmt.Sprintf("no raise for %s: the hold was undone (%s)", offFor, cause)
		d.Notices = append(d.Notices, Notice{Reason: ReasonStopped, Message: text, IsWarning: true})
	}
	m.OffUntil = o.Now.Add(offFor)
}

// describeUndoneRaise returns why a hold does not count.
func describeUndoneRaise(h *hold.Object) string {
	switch {
	case h.Spec.Paused:
		return "it is paused"
	case h.Status.Message != "":
		return h.Status.Message
	}
	return fmt.Sprintf("another client set %v", h.Status.Yielded)
}

// noteFollowedRaises notes that the autoscaler came to observed raises, or did not in time.
func (d *LaneDecision) noteFollowedRaises(o *LaneAutoscaler) {
	d.Memory.Expected = slices.DeleteFunc(d.Memory.Expected, func(expected Raise) bool {
		after := o.Now.Sub(expected.Began)
		switch {
		case o.Replicas >= expected.Replicas:
			d.Leads = append(d.Leads, after)
			d.Notices = append(d.Notices, Notice{Reason: ReasonFollowed, Message: fmt.Sprintf("%d replicas %.1f s after the lane would have raised to %d",
				o.Replicas, after.Seconds(), expected.Replicas)})
		case after >= maxHoldFor:
			d.Unmatched++
			d.Notices = append(d.Notices, Notice{Reason: ReasonUnmatched, IsWarning: true, Message: fmt.Sprintf(
				"the autoscaler did not come to %d replicas within %s; it has %d", expected.Replicas, maxHoldFor, o.Replicas)})
		default:
			return false
		}
		return true
	})
}

// findRaiseObstacle returns why the lane may not raise now; empty: it may.
func (d *LaneDecision) findRaiseObstacle(o *LaneAutoscaler) Skip {
	m := &d.Memory
	switch {
	case kube.FindScaledObject(o.Autoscaler) != "":
		return SkipOwned
	case o.IsShared:
		return SkipShared
	case o.isScaleUpDisabled():
		return SkipDisabled
	case o.Replicas == 0 && !o.scaledItselfToZero():
		return SkipZero
	case o.Now.Before(m.OffUntil):
		return SkipOff
	case o.isWorkloadHeldByPerson():
		return SkipHeld
	case o.hasFailedSurgeReading():
		return SkipUnanswered
	case len(o.Readings) == 0:
		return SkipUnread
	case o.Now.Sub(m.GoodSince) < settleFor:
		return SkipSettling
	}
	return ""
}

// noteWishAgreement adds a look to the row of looks that find a surge, or ends the row.
func (d *LaneDecision) noteWishAgreement(o *LaneAutoscaler, w surgeWish) {
	a := d.Memory.Agreement
	if !w.isSurge {
		d.Memory.Agreement = Agreement{}
		return
	}
	if a.Since.IsZero() {
		a = Agreement{Since: o.Now, Last: w.replicas, First: w.demand}
	}
	a.Looks++
	a.IsConfirmed = a.Replica != "" && w.reading.Replica != "" && w.reading.Replica != a.Replica
	a.Replica = w.reading.Replica
	// An adapter that names no replicas may write the time of the answer for the sample's: only another value is another sample.
	isNew := w.reading.Newest.IsZero() || w.reading.Newest.After(a.Newest)
	if isNew && (w.reading.Replica != "" || w.demand != a.Demand) {
		a.Samples++
		a.Newest = w.reading.Newest
	}
	if d.isWindowShortened(w) {
		a.Shortened++
	} else {
		a.Shortened = 0
	}
	a.Low, a.Last = min(a.Last, w.replicas, a.noteStableWish(w.replicas, o.Now, o.scaleUpStabilization())), w.replicas
	a.Earlier, a.Before, a.Demand = a.Before, a.Demand, w.demand
	d.Memory.Agreement = a
}

// noteStableWish notes a wish, and returns the least of a time before now. It keeps the wishes that no later wish is below.
func (a *Agreement) noteStableWish(replicas int32, now time.Time, stabilization time.Duration) int32 {
	a.Wishes = slices.DeleteFunc(slices.Clone(a.Wishes), func(r hpa.Recommendation) bool {
		return r.Replicas >= replicas || now.Sub(r.Time) > stabilization
	})
	a.Wishes = append(a.Wishes, hpa.Recommendation{Replicas: replicas, Time: now})
	return a.Wishes[0].Replicas
}

// isWindowShortened reports whether the adapter shortened the window of the wish: it found a step that chance does not explain.
func (d *LaneDecision) isWindowShortened(w surgeWish) bool {
	return w.reading.Window > 0 && float64(w.reading.Window) <= shortenedShare*float64(d.Memory.Metrics[w.metric].Longest)
}

// isDemandCertain reports whether the row of looks is no chance: far outside the variation of the steady demand, in some looks over a
// shortened window, or in three samples in a row with windows that do not overlap. Values over overlapping windows are one observation. Each look
// of a row asks for another replica of the adapter than the look before, so that a wrong one cannot raise alone.
func (d *LaneDecision) isDemandCertain(o *LaneAutoscaler, w surgeWish) bool {
	a := d.Memory.Agreement
	lasting := o.Now.Sub(a.Since)
	if w.isWake { // the autoscaler asks for as much at its next look, after any load before
		return a.Looks >= wakeLooks && lasting >= o.scaleUpStabilization()
	}
	if a.Since.IsZero() || lasting < o.scaleUpStabilization() || w.score < minScore {
		return false
	}
	needed := unconfirmedLooks
	if a.IsConfirmed {
		needed = shortenedLooks
	}
	if a.Shortened >= needed && (d.hasYoungRaise(o) || d.isDemandComplete(o, w)) {
		return true
	}
	return a.Samples >= plainSamples && lasting >= (plainSamples-1)*w.reading.Window
}

// isDemandComplete reports whether the demand over a shortened window covers the whole step. The shortest such window spans two scrape
// intervals, and for an interval the newest increments have the step inside: they show a part of it. A raise to a part costs more time
// than it gains: beside new pods the adapter reads all pods over a common stretch, which begins before the step.
//
// The demand is complete as soon as it has risen, two different samples agree, and the look before them, mostly of the same replica as the
// latest, is within the tolerance: two replicas may agree by chance on their ways up. Else an interval must have passed; two if the looks
// still differ by more than the tolerance, perhaps because one replica of the adapter lags.
func (d *LaneDecision) isDemandComplete(o *LaneAutoscaler, w surgeWish) bool {
	m, a := &d.Memory.Metrics[w.metric], d.Memory.Agreement
	tolerance, change := hpa.DefaultSettings(hpaMinor).Tolerance, math.Abs(a.Demand-a.Before)
	hasRisen, stands := min(a.Before, a.Demand) >= (1+tolerance)*a.First, math.Abs(a.Demand-a.Earlier) <= tolerance*a.Earlier
	if hasRisen && stands && change > 0 && change <= maxAgreedChange*a.Before {
		return true
	}
	complete := min(m.Shortest/2+FollowUp, hpaPeriod/2) // the autoscaler itself looks by then, on average
	known := o.Now.Sub(m.ShrunkAt)
	return known >= complete && (change <= tolerance*a.Before || known >= 2*complete)
}

// hasYoungRaise reports whether a raise is in its first period: the autoscaler may not have looked yet.
func (d *LaneDecision) hasYoungRaise(o *LaneAutoscaler) bool {
	return d.Memory.Raise != nil && o.Now.Sub(d.Memory.Raise.Began) < hpaPeriod
}

// replicasBeforeSurge returns the replicas that the autoscaler itself wanted last, as far as the lane knows.
func (d *LaneDecision) replicasBeforeSurge(o *LaneAutoscaler) int32 {
	if d.Memory.Raise != nil {
		return d.Memory.Raise.From
	}
	return o.Replicas
}

// raiseForSurgeWish begins a raise, or makes the present one higher. In its first period a raise follows the metric while that still
// rises, as part of the same raise.
func (d *LaneDecision) raiseForSurgeWish(o *LaneAutoscaler, w surgeWish) {
	m := &d.Memory
	to := Raise{Replicas: m.Agreement.Low, From: o.Replicas, Began: o.Now, Until: o.Now.Add(holdFor), Cause: w.cause}
	switch {
	case w.isWake: // one pod that the autoscaler asks for anyway: no raise of the budget
		d.IsNew, to.IsWake = true, true
	case d.hasYoungRaise(o) && !m.Raise.IsWake:
		to.From, to.Began, to.IsSeen = m.Raise.From, m.Raise.Began, m.Raise.IsSeen
	case len(m.Raises) >= o.Terms.Budget:
		d.skipForSurgeBudget(o, to)
		return
	default:
		m.Raises = append(m.Raises, o.Now)
		d.IsNew = true
	}
	d.Place, m.Raise = true, &to
	if o.Mode != ModeAct { // a higher number of the same raise takes the place of the one before
		m.Expected = append(slices.DeleteFunc(m.Expected, func(r Raise) bool { return r.Began.Equal(to.Began) }), to)
	}
	if d.IsNew {
		notice := Notice{Reason: ReasonRaised, Message: fmt.Sprintf("raise to %d replicas: %s", to.Replicas, to.Cause)}
		if o.Mode != ModeAct {
			notice = Notice{Reason: ReasonObserved, Message: fmt.Sprintf("would raise to %d replicas now: %s", to.Replicas, to.Cause)}
		}
		d.Notices = append(d.Notices, notice)
	}
}

// skipForSurgeBudget leaves a raise to the autoscaler, and tells it once in a period.
func (d *LaneDecision) skipForSurgeBudget(o *LaneAutoscaler, to Raise) {
	m := &d.Memory
	d.Skip = SkipBudget
	if m.BudgetToldAt.IsZero() || o.Now.Sub(m.BudgetToldAt) >= budgetPeriod {
		m.BudgetToldAt = o.Now
		d.Notices = append(d.Notices, Notice{Reason: ReasonExhausted, IsWarning: true, Message: fmt.Sprintf(
			"raises within an hour: %d; no further one to %d replicas: increase the budget, or look at the metric", len(m.Raises), to.Replicas)})
	}
}

// needsHoldExtension reports whether a hold ends before the autoscaler looked, and the wish still stands.
func (d *LaneDecision) needsHoldExtension(o *LaneAutoscaler, w surgeWish) bool {
	r, status := d.Memory.Raise, o.Autoscaler.Status
	hasAgreed := status.CurrentReplicas >= r.Replicas && status.DesiredReplicas >= r.Replicas
	isEnding := r.Until.Sub(o.Now) <= hpaPeriod && o.Now.Add(holdFor).Sub(r.Began) <= maxHoldFor
	return isEnding && !hasAgreed && w.replicas >= r.Replicas
}
