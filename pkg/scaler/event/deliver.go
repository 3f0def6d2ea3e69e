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
	// firstPause is short, since most failures of an API server are conflicts and timeouts that are gone at once; maxPause is
	// what an event waits at most after the API server is back.
	firstPause = 100 * time.Millisecond
	maxPause   = 5 * time.Second
	// slack is for the id of an expired event: another replica's clock may be behind.
	slack = 2 * time.Minute
)

// judge is what the rules make of an event.
func (h *Handler) judge(e *Event, now time.Time) ([]order, *Refusal) {
	known := false
	var all []order
	for i := range h.rules {
		r := &h.rules[i]
		if !r.knows(e.Type) {
			continue
		}
		known = true
		if !r.matches(e) {
			continue
		}
		orders, err := r.orders(e, h.opts.Verify)
		if err != nil {
			return nil, refuse(Malformed, "rule %s: %v", r.Name, err)
		}
		all = append(all, orders...)
	}
	switch {
	case !known:
		return nil, refuse(Unknown, "no rule is about type %s", e.Type)
	case len(all) == 0:
		return nil, refuse(Unmatched, "no rule about type %s matches its fields", e.Type)
	case e.At.After(now.Add(h.opts.Skew)):
		return nil, refuse(Future, "at is %s ahead of this clock; up to %s is taken", e.At.Sub(now).Round(time.Second), h.opts.Skew)
	}
	for i := range all {
		if !now.Before(all[i].expiry) {
			return nil, refuse(Expired, "it expired %s ago", now.Sub(all[i].expiry).Round(time.Second))
		}
	}
	return all, nil
}

// refused notes a refusal, and is it.
func (h *Handler) refused(ctx context.Context, e *Event, source string, r *Refusal) error {
	h.note(ctx, e, source, r.Outcome, r.Why)
	return r
}

// claim makes d the delivery of its event's id, or returns the one that is on its way.
func (h *Handler) claim(d *Delivery) *Delivery {
	h.mu.Lock()
	defer h.mu.Unlock()
	if earlier := h.pending[d.event.ID]; earlier != nil {
		return earlier
	}
	h.pending[d.event.ID] = d
	return nil
}

// drop ends a delivery that did not begin.
func (h *Handler) drop(d *Delivery, o Outcome, why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	d.worst, d.why, d.left = o, why, 0
	delete(h.pending, d.event.ID)
	close(d.done)
}

// enqueue puts the orders of d into the queues of their targets.
func (h *Handler) enqueue(ctx context.Context, d *Delivery, orders []order) error {
	for i := range orders {
		replaced, err := h.queues[orders[i].target].put(ctx, h.stopped, &entry{order: orders[i], delivery: d})
		if err != nil {
			for range orders[i:] {
				h.finish(ctx, d, Undelivered, "no room among the holds that wait for the target")
			}
			return err
		}
		h.m.waiting.Inc()
		if replaced != nil {
			h.m.waiting.Dec()
			h.finish(ctx, replaced.delivery, Superseded, "")
		}
	}
	return nil
}

// finish is the end of a delivery to one target; the last one's is the event's. The id is added before another event with it
// can be taken up.
func (h *Handler) finish(ctx context.Context, d *Delivery, o Outcome, why string) {
	h.mu.Lock()
	if o.rank() > d.worst.rank() {
		d.worst, d.why = o, why
	}
	d.left--
	last := d.left == 0
	if last {
		if d.worst != Undelivered { // sent or read again, it may still be delivered before it expires
			h.seen.Add(d.event.ID, d.event.Expiry().Add(slack))
		}
		delete(h.pending, d.event.ID)
	}
	h.mu.Unlock()
	if !last {
		return
	}
	if d.worst == Delivered {
		h.m.delay.Observe(time.Since(d.since).Seconds())
	}
	h.note(ctx, &d.event, d.source, d.worst, d.why)
	close(d.done)
}

// deliver takes the events of one target one after the other.
func (h *Handler) deliver(ctx context.Context, t hold.Target, q *queue) {
	for {
		e := q.take(ctx)
		if e == nil {
			return
		}
		o, why, ok := h.persist(ctx, t, q, e)
		if !ok {
			return
		}
		h.m.waiting.Dec()
		h.finish(ctx, e.delivery, o, why)
	}
}

// persist calls the sink until it takes the order, refuses it, or nothing is to be taken any more; false: ctx has ended.
func (h *Handler) persist(ctx context.Context, t hold.Target, q *queue, e *entry) (o Outcome, why string, ok bool) {
	pause := firstPause
	for {
		left := time.Until(e.order.expiry)
		switch {
		case q.overtaken(e):
			return Superseded, "", true
		case left <= 0:
			return Undelivered, why, true
		}
		err := h.call(ctx, t, &e.order)
		switch {
		case err == nil:
			return Delivered, "", true
		case errors.Is(err, hold.ErrRefused):
			return Refused, err.Error(), true
		}
		why = err.Error()
		h.m.retries.Inc()
		if pause == firstPause {
			h.retrying(ctx, t, e, err)
		}
		if !wait(ctx, min(pause/2+rand.N(pause/2), left)) {
			return "", "", false
		}
		pause = min(2*pause, maxPause)
	}
}

// retrying says that an order was not taken at its first attempt.
func (h *Handler) retrying(ctx context.Context, t hold.Target, e *entry, err error) {
	if hidden, ok := h.quiet.may("retried", time.Now()); ok {
		klog.FromContext(ctx).Info("event not taken, trying again until it expires",
			"target", t, "id", e.delivery.event.ID, "err", err, "expires", e.order.expiry, "hidden", hidden)
	}
}

// call makes one attempt, which ends when the order expires.
func (h *Handler) call(ctx context.Context, t hold.Target, o *order) error {
	until := time.Now().Add(h.opts.Attempt)
	if o.expiry.Before(until) {
		until = o.expiry
	}
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	if o.release {
		return h.sink.Release(ctx, t, o.hold.ID, o.why)
	}
	return h.sink.Raise(ctx, t, o.hold)
}

// wait tells whether the time passed before ctx ended.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
