package event

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

const (
	// firstRetryPause is short, since most failures of an API server are conflicts and timeouts that are gone at once; maxPause is
	// what an event waits at most after the API server is back.
	firstRetryPause = 100 * time.Millisecond
	maxRetryPause   = 5 * time.Second
	// clockSlack is for the id of an expired event: another replica's clock may be behind.
	clockSlack = 2 * time.Minute
)

// matchRules is what the rules make of an event.
func (h *Handler) matchRules(e *Event, now time.Time) ([]holdCommand, *OutcomeError) {
	known := false
	var all []holdCommand
	for i := range h.rules {
		r := &h.rules[i]
		if !r.handlesType(e.Type) {
			continue
		}
		known = true
		if !r.matchesFields(e) {
			continue
		}
		orders, err := r.buildCommands(e, h.opts.VerifySpecs)
		if err != nil {
			return nil, newOutcomeError(Malformed, "rule %s: %v", r.Name, err)
		}
		all = append(all, orders...)
	}
	switch {
	case !known:
		return nil, newOutcomeError(Unknown, "no rule is about type %s", e.Type)
	case len(all) == 0:
		return nil, newOutcomeError(Unmatched, "no rule about type %s matches its fields", e.Type)
	case e.At.After(now.Add(h.opts.MaxSkew)):
		return nil, newOutcomeError(Future, "at is %s ahead of this clock; up to %s is taken", e.At.Sub(now).Round(time.Second), h.opts.MaxSkew)
	}
	for i := range all {
		if !now.Before(all[i].expiresAt) {
			return nil, newOutcomeError(Expired, "it expired %s ago", now.Sub(all[i].expiresAt).Round(time.Second))
		}
	}
	return all, nil
}

// rejectEvent notes a refusal, and is it.
func (h *Handler) rejectEvent(ctx context.Context, e *Event, source string, r *OutcomeError) error {
	h.recordEventOutcome(ctx, e, source, r.Outcome, r.Reason)
	return r
}

// claimEventID makes d the delivery of its event's id, or returns the one that is on its way.
func (h *Handler) claimEventID(d *Delivery) *Delivery {
	h.mu.Lock()
	defer h.mu.Unlock()
	if earlier := h.pending[d.event.ID]; earlier != nil {
		return earlier
	}
	h.pending[d.event.ID] = d
	return nil
}

// abandonDelivery ends a delivery that did not begin.
func (h *Handler) abandonDelivery(d *Delivery, o Outcome, why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	d.worstOutcome, d.reason, d.remaining = o, why, 0
	delete(h.pending, d.event.ID)
	close(d.done)
}

// enqueueCommands puts the orders of d into the queues of their targets.
func (h *Handler) enqueueCommands(ctx context.Context, d *Delivery, orders []holdCommand) error {
	for i := range orders {
		replaced, err := h.queues[orders[i].workload].appendCommand(ctx, h.stopped, &queuedCommand{command: orders[i], delivery: d})
		if err != nil {
			for range orders[i:] {
				h.finishCommand(ctx, d, Undelivered, "no room among the holds that wait for the target")
			}
			return err
		}
		h.metrics.waiting.Inc()
		if replaced != nil {
			h.metrics.waiting.Dec()
			h.finishCommand(ctx, replaced.delivery, Superseded, "")
		}
	}
	return nil
}

// finishCommand is the end of a delivery to one target; the last one's is the event's. The id is added before another event with it
// can be taken up.
func (h *Handler) finishCommand(ctx context.Context, d *Delivery, o Outcome, why string) {
	h.mu.Lock()
	if o.severityRank() > d.worstOutcome.severityRank() {
		d.worstOutcome, d.reason = o, why
	}
	d.remaining--
	last := d.remaining == 0
	if last {
		if d.worstOutcome != Undelivered { // sent or read again, it may still be delivered before it expires
			h.deliveredIDs.Add(d.event.ID, d.event.Expiry().Add(clockSlack))
		}
		delete(h.pending, d.event.ID)
	}
	h.mu.Unlock()
	if !last {
		return
	}
	if d.worstOutcome == Delivered {
		h.metrics.delay.Observe(time.Since(d.readAt).Seconds())
	}
	h.recordEventOutcome(ctx, &d.event, d.source, d.worstOutcome, d.reason)
	close(d.done)
}

// deliverQueue takes the events of one target one after the other.
func (h *Handler) deliverQueue(ctx context.Context, t hold.Target, q *commandQueue) {
	for {
		e := q.takeCommand(ctx)
		if e == nil {
			return
		}
		o, why, ok := h.deliverCommand(ctx, t, q, e)
		if !ok {
			return
		}
		h.metrics.waiting.Dec()
		h.finishCommand(ctx, e.delivery, o, why)
	}
}

// deliverCommand calls the sink until it takes the order, refuses it, or nothing is to be taken any more; false: ctx has ended.
func (h *Handler) deliverCommand(ctx context.Context, t hold.Target, q *commandQueue, e *queuedCommand) (o Outcome, why string, ok bool) {
	pause := firstRetryPause
	for {
		left := time.Until(e.command.expiresAt)
		switch {
		case q.isSuperseded(e):
			return Superseded, "", true
		case left <= 0:
			return Undelivered, why, true
		}
		err := h.callSink(ctx, t, &e.command)
		switch {
		case err == nil:
			return Delivered, "", true
		case errors.Is(err, hold.ErrRefused):
			return Refused, err.Error(), true
		}
		why = err.Error()
		h.metrics.retries.Inc()
		if pause == firstRetryPause {
			h.logFirstRetry(ctx, t, e, err)
		}
		if !waitBeforeRetry(ctx, min(pause/2+rand.N(pause/2), left)) {
			return "", "", false
		}
		pause = min(2*pause, maxRetryPause)
	}
}

// logFirstRetry says that an order was not taken at its first attempt.
func (h *Handler) logFirstRetry(ctx context.Context, t hold.Target, e *queuedCommand, err error) {
	if hidden, ok := h.throttle.allowLine("retried", time.Now()); ok {
		klog.FromContext(ctx).Info("event not taken, trying again until it expires",
			"target", t, "id", e.delivery.event.ID, "err", err, "expires", e.command.expiresAt, "hidden", hidden)
	}
}

// callSink makes one attempt, which ends when the order expires.
func (h *Handler) callSink(ctx context.Context, t hold.Target, o *holdCommand) error {
	until := time.Now().Add(h.opts.AttemptTimeout)
	if o.expiresAt.Before(until) {
		until = o.expiresAt
	}
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	if o.release {
		return h.sink.Release(ctx, t, o.hold.ID, o.reason)
	}
	return h.sink.Raise(ctx, t, o.hold)
}

// waitBeforeRetry tells whether the time passed before ctx ended.
func waitBeforeRetry(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
