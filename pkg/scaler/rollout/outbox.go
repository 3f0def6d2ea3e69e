// The outbox of a hold: each outcome is stored in the hold's status before it is posted, and removed after every notifier is done with it. The
// next process posts the rest. A receiver learns the same key in every attempt.

package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/notify"
)

// maxOutboxMessages bounds the outbox of a hold: more outcomes wait for room.
const maxOutboxMessages = 16

// conditionNotified tells whether the notifiers took the last message.
const conditionNotified = "Notified"

// messageAddress is a message at a notifier.
type messageAddress struct{ key, notifier string }

// notificationKinds are the kinds of messages about the outcomes, by their names in Status.Told.
var notificationKinds = map[string]notify.Kind{
	outcomeStarted: notify.KindStarted, string(hold.Open): notify.KindUp, reasonYielded: notify.KindYielded, string(hold.RolledBack): notify.KindRolledBack,
	string(hold.Released): notify.KindEnded, reasonUnwatched: notify.KindUnwatched, reasonPaused: notify.KindPaused, reasonResumed: notify.KindResumed,
}

// kindOfHoldOutcome returns the kind of the messages about an outcome.
func kindOfHoldOutcome(name string) notify.Kind {
	if isHoldTroubleOutcome(name) {
		return notify.KindStuck
	}
	return notificationKinds[name]
}

// owedHoldOutcome returns the outcome that the notifiers of a hold have not been told, and its name in Status.Told; empty: nothing.
func (o *HeldWorkload) owedHoldOutcome(h *hold.Object, now time.Time) (name, outcome string) {
	if name, outcome = o.owedHoldPause(h, now); name != "" && len(h.Spec.Notify) > 0 {
		return name, outcome
	}
	told := func(name string) bool { return wasHoldOutcomeTold(h, name) }
	troubles := o.listHoldTroubles(h, now)
	untold := slices.IndexFunc(troubles, func(t holdTrouble) bool { return !told(t.outcome) })
	switch s := h.Status.State; {
	case len(h.Spec.Notify) == 0:
		return "", ""
	case untold >= 0:
		return troubles[untold].outcome, troubles[untold].text
	case s.IsActive() && !told(outcomeStarted) && !told(string(hold.Open)): // a command started it
		return outcomeStarted, DescribeStart(h.Spec.Replicas, h.Status.ReplicasBefore)
	case s == hold.RolledBack && (!h.Status.GateOpen || h.IsKept()) && !told(string(s)):
		return string(s), o.describeRollback()
	case s == hold.Open && !told(string(s)) && len(troubles) == 0: // at a receiver, it would end them
		return string(s), "up: " + o.describeReplicas()
	case s == hold.Open && isHoldYielded(h) && !told(reasonYielded):
		return reasonYielded, findHoldCondition(h, conditionYielded).Message + ": " + o.describeReplicas()
	case s == hold.Open && isGateWatchUnread(h) && !told(reasonUnwatched):
		return reasonUnwatched, "the gate is open, and nothing watches it: " + findHoldCondition(h, conditionWatched).Message
	case owesHoldEnd(h, now):
		return string(s), "ended: " + o.describeReplicas()
	}
	return "", ""
}

// owesHoldEnd reports whether the end of a hold is to be told, during a pause too: it is over for good, and its other messages were told. The end of a
// hold with an open gate would end that message at a receiver.
func owesHoldEnd(h *hold.Object, now time.Time) bool {
	wasTold := slices.ContainsFunc(h.Status.Told, func(name string) bool {
		return name == outcomeStarted || name == string(hold.Open) || name == string(hold.RolledBack) || name == toldBefore || name == reasonPaused || isHoldTroubleOutcome(name)
	})
	return h.Status.State == hold.Released && len(h.Spec.Notify) > 0 && findLeftOpenGate(h.Status) == nil && wasTold &&
		!wasHoldOutcomeTold(h, string(hold.Released)) && (!h.IsPaused(now) || isHoldPastEnd(h, now))
}

// owesHoldOutcome reports whether a deleted hold that is given back has an outcome to tell that is not in its outbox: its end, a failure, or a gate that it
// left open. It is past its end at any time.
func owesHoldOutcome(h *hold.Object) bool {
	name, _ := (&HeldWorkload{}).owedHoldOutcome(h, time.Time{})
	return name != ""
}

// wasHoldOutcomeTold reports whether the notifiers of a hold were told an outcome.
func wasHoldOutcomeTold(h *hold.Object, name string) bool {
	return slices.Contains(h.Status.Told, name)
}

// toldBefore stands in Status.Told for outcomes that were told and forgotten: the end of the hold ends them too.
const toldBefore = "Before"

// forgetHoldOutcome returns the told outcomes without one, so that it is told again.
func forgetHoldOutcome(told []string, name string) []string {
	kept := slices.DeleteFunc(told, func(t string) bool { return t == name })
	if len(kept) == len(told) || slices.Contains(kept, toldBefore) {
		return kept
	}
	return append(kept, toldBefore)
}

// forgetHoldOutcomes returns the rest of the told outcomes of a hold that begins again with an outbox.
func forgetHoldOutcomes(told []string, outbox []hold.OutboxMessage) []string {
	if len(told)+len(outbox) == 0 || slices.Contains(told, string(hold.Released)) { // its end was told
		return nil
	}
	return []string{toldBefore}
}

// contraryOutcomes are the outcomes after which one is news again: a hold that came up after a failure may fail once more.
var contraryOutcomes = map[string]string{string(hold.Open): string(hold.RolledBack), string(hold.RolledBack): string(hold.Open)}

// forgetContraryOutcomes returns the told outcomes without those that are news again after one. A hold that is up ends all its troubles. After a failure the
// end of a pause is no news: it would be the last word about a hold that fails again.
func forgetContraryOutcomes(told []string, name string) []string {
	if name == string(hold.Open) {
		for _, t := range slices.Clone(told) {
			if isHoldTroubleOutcome(t) {
				told = forgetHoldOutcome(told, t)
			}
		}
	}
	if name == string(hold.RolledBack) {
		told = forgetHoldOutcome(forgetHoldOutcome(told, reasonPaused), reasonResumed)
	}
	return forgetHoldOutcome(told, contraryOutcomes[name])
}

// endWatchTrouble returns the told outcomes after a trouble of the watch has ended: if it was told, it is told again that the hold is up.
func endWatchTrouble(told []string, trouble string) []string {
	if slices.Contains(told, trouble) {
		return forgetHoldOutcome(told, string(hold.Open))
	}
	return told
}

// describeRollback returns where a rollback leaves the workload: an active autoscaler lowers the replicas in its own time.
func (o *HeldWorkload) describeRollback() string {
	if a := o.Autoscaler; o.Scale != nil && a != nil && a.Active && a.Bounds.MinReplicas < o.Scale.Replicas {
		return fmt.Sprintf("failed and rolled back to minReplicas %d; the autoscaler lowers the %d replicas", a.Bounds.MinReplicas, o.Scale.Replicas)
	}
	return "failed and rolled back to " + o.describeReplicas()
}

// storeHoldOutcome stores an outcome in the hold's outbox, before it is posted. The step that led to the outcome has the Event.
func (o *HeldWorkload) storeHoldOutcome(now time.Time) (Step, bool) {
	for i := range o.Holds {
		h := &o.Holds[i]
		name, outcome := o.owedHoldOutcome(h, now)
		if name == "" || !o.Gated || len(h.Status.Outbox) >= maxOutboxMessages {
			continue // a command does not know the notifiers
		}
		status := h.Status.DeepCopy()
		status.Told = append(forgetContraryOutcomes(status.Told, name), name)
		if t := o.findHoldTrouble(h, name, now); t != nil {
			h = h.DeepCopy()
			h.Status.Message = t.reason
		}
		status.Outbox = o.appendOutboxMessage(status.Outbox, h, name, outcome, now)
		return o.writeStatusStep(i, status), true
	}
	return Step{}, false
}

// appendOutboxMessage appends the message about an outcome of a hold, for the notifiers that the hold may use. No other version of the hold has
// its key.
func (o *HeldWorkload) appendOutboxMessage(outbox []hold.OutboxMessage, h *hold.Object, name, outcome string, now time.Time) []hold.OutboxMessage {
	notifiers := slices.DeleteFunc(slices.Compact(slices.Sorted(slices.Values(h.Spec.Notify))), func(n string) bool { return o.NotifierFaults[n] != "" })
	if len(notifiers) == 0 {
		return outbox
	}
	return append(outbox, hold.OutboxMessage{
		Key: fmt.Sprintf("%s/%s/%s", h.UID, kindOfHoldOutcome(name), h.ResourceVersion), Outcome: name, Text: outcome, Why: h.Status.Message,
		Time: metav1.NewMicroTime(now), Notifiers: notifiers,
	})
}

// keepHoldFailure returns the outbox of a hold that begins again, with its failure if nobody was told of it yet.
func (o *HeldWorkload) keepHoldFailure(h *hold.Object, now time.Time) []hold.OutboxMessage {
	outbox := h.Status.DeepCopy().Outbox
	name := string(hold.RolledBack)
	if h.Status.State == hold.RolledBack && len(h.Spec.Notify) > 0 && !wasHoldOutcomeTold(h, name) {
		outbox = o.appendOutboxMessage(outbox, h, name, "failed and rolled back", now)
	}
	return outbox
}

// confirmDelivery removes the notifiers that are done with a message from it, and the message after the last.
func (o *HeldWorkload) confirmDelivery(now time.Time) (Step, bool) {
	if !o.Gated { // a command does not know what the controller's notifiers have
		return Step{}, false
	}
	for i := range o.Holds {
		h := &o.Holds[i]
		status, err := o.confirmDeliveries(h.Status)
		if len(h.Status.Outbox) == 0 || equalHoldOutboxes(status.Outbox, h.Status.Outbox) {
			continue
		}
		c := findHoldCondition(h, conditionNotified)
		switch {
		case err != nil:
			status.Conditions = setHoldCondition(status.Conditions, conditionNotified, metav1.ConditionFalse, "GivenUp", err.Error(), now)
			return o.writeStatusStep(i, status).withStepWarning(reasonUntold, "hold %s: %v", h.HoldID(), err), true
		case c != nil && c.Status == metav1.ConditionFalse:
			status.Conditions = setHoldCondition(status.Conditions, conditionNotified, metav1.ConditionTrue, "Delivered", "the notifiers took the last message", now)
		}
		return o.writeStatusStep(i, status), true
	}
	return Step{}, false
}

// confirmDeliveries returns the status without the finished deliveries, and an error for the deliveries that reached no receiver.
func (o *HeldWorkload) confirmDeliveries(status hold.Status) (hold.Status, error) {
	status = status.DeepCopy()
	var errs []error
	for i := range status.Outbox {
		m := &status.Outbox[i]
		m.Notifiers = slices.DeleteFunc(m.Notifiers, func(name string) bool {
			d := o.Deliveries[messageAddress{m.Key, name}]
			if d.Done && d.Err != nil {
				errs = append(errs, fmt.Errorf("notifier %s did not get %q: %w", name, m.Text, d.Err))
			}
			return d.Done
		})
	}
	status.Outbox = slices.DeleteFunc(status.Outbox, func(m hold.OutboxMessage) bool { return len(m.Notifiers) == 0 })
	return status, errors.Join(errs...)
}

// equalHoldOutboxes reports whether two outboxes of one hold owe the same.
func equalHoldOutboxes(a, b []hold.OutboxMessage) bool {
	return slices.EqualFunc(a, b, func(x, y hold.OutboxMessage) bool { return x.Key == y.Key && slices.Equal(x.Notifiers, y.Notifiers) })
}

// postMessage posts a message to the notifiers that this process has not posted it to.
func (o *HeldWorkload) postMessage(time.Time) (Step, bool) {
	if !o.Gated {
		return Step{}, false
	}
	for i := range o.Holds {
		for _, m := range o.Holds[i].Status.Outbox {
			m.Notifiers = slices.DeleteFunc(slices.Clone(m.Notifiers), func(name string) bool { return o.Deliveries[messageAddress{m.Key, name}].Posted })
			if len(m.Notifiers) > 0 {
				return Step{Kind: PostMessage, Hold: i, Post: m, Confirm: true}, true
			}
		}
	}
	return Step{}, false
}

// outboxInterval returns the pause before the next look at a hold's messages: a quarter of the youngest one's age, since a receiver that did not
// answer at once is down for longer.
func (o *HeldWorkload) outboxInterval(h *hold.Object, now time.Time) time.Duration {
	age := now.Sub(h.Status.Outbox[len(h.Status.Outbox)-1].Time.Time)
	return min(max(age/4, waitInterval), restInterval)
}

// observeDeliveries reads the states of the holds' messages from the notifier. Without one, all are done.
func (p *workloadPass) observeDeliveries() {
	p.observed.Deliveries = map[messageAddress]notify.Delivery{}
	for i := range p.observed.Holds {
		for _, m := range p.observed.Holds[i].Status.Outbox {
			for _, name := range m.Notifiers {
				d := notify.Delivery{Posted: true, Done: true}
				if fault := p.observed.NotifierFaults[name]; fault != "" {
					d.Err = errors.New(fault)
				} else if p.Notifier != nil {
					d = p.Notifier.Delivery(name, m.Key)
				}
				p.observed.Deliveries[messageAddress{m.Key, name}] = d
			}
		}
	}
}

// postHoldMessage posts a message of a hold. A failure is no error of the pass: the next pass posts it again.
func (p *workloadPass) postHoldMessage(ctx context.Context, s Step) {
	h := &p.observed.Holds[s.Hold]
	m := notify.Message{
		Key: s.Post.Key, Kind: kindOfHoldOutcome(s.Post.Outcome), Time: s.Post.Time.Time, Outcome: s.Post.Text, Why: s.Post.Why,
		Workload: p.workload, Hold: h.HoldID(), Reason: h.Spec.Reason, By: h.Spec.By,
	}
	if v, ok := p.observed.findVerdict(h); ok {
		m.Report = v.Report
	}
	if p.Notifier != nil {
		if err := p.Notifier.Post(s.Post.Notifiers, m); err != nil {
			p.passLogger(ctx).Error(err, "Notification cannot be posted yet", "hold", h.HoldID(), "outcome", s.Post.Text)
		}
	}
	p.observeDeliveries()
	for _, name := range s.Post.Notifiers { // successful or not, this pass posts it once
		address := messageAddress{s.Post.Key, name}
		d := p.observed.Deliveries[address]
		d.Posted = true
		p.observed.Deliveries[address] = d
	}
}

// SettleMessages takes the messages back that wait in this process, so that the next leader sends them, and stores which messages of the
// namespaces' holds are done. It ends with ctx.
func (e *Engine) SettleMessages(ctx context.Context, namespaces []string) error {
	if e.Notifier == nil {
		return nil
	}
	e.Notifier.Withdraw(ctx)
	var errs []error
	for _, namespace := range namespaces {
		holds, err := e.Cluster.ListHolds(ctx, namespace)
		errs = append(errs, err)
		for i := range holds {
			errs = append(errs, e.settleHoldMessages(ctx, &holds[i]))
		}
	}
	return errors.Join(errs...)
}

// settleHoldMessages stores which messages of a hold are done.
func (e *Engine) settleHoldMessages(ctx context.Context, h *hold.Object) error {
	p := &workloadPass{Engine: e, observed: HeldWorkload{Holds: []hold.Object{*h}}}
	p.observeDeliveries()
	after := h.DeepCopy()
	if after.Status, _ = p.observed.confirmDeliveries(h.Status); equalHoldOutboxes(after.Status.Outbox, h.Status.Outbox) {
		return nil
	}
	if _, err := e.Cluster.UpdateHoldStatus(ctx, after); err != nil {
		return fmt.Errorf("confirm messages of hold %s: %w", h.Name, err)
	}
	return nil
}
