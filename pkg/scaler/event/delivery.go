// This file delivers the commands of an event to the sink: it claims the event's id, fills the queues, empties them with retries, and
// settles the outcome.

package event

import (
	"context"
	"errors"
	"time"

	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/retry"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

const (
	// firstRetryPause is short, because most failures of an API server are conflicts and timeouts that pass at once. maxRetryPause is
	// the longest wait of an event after the API server is back.
	firstRetryPause = 100 * time.Millisecond
	maxRetryPause   = 5 * time.Second
	// clockSlack keeps the id of an expired event a little longer: the clock of another replica may be behind.
	clockSlack = 2 * time.Minute
)

// retryBackoff waits for a random share of a pause, at least half; the pause doubles from firstRetryPause to maxRetryPause.
var retryBackoff = retry.Backoff{First: firstRetryPause / 2, Max: maxRetryPause / 2, Jitter: 1}

// Delivery is an event on its way to the sink.
type Delivery struct {
	event        Event
	source       string
	readAt       time.Time
	expiresAt    time.Time // of the event, and of its last command
	remaining    int       // commands without an outcome
	worstOutcome Outcome
	reason       string
	done         chan struct{} // closed when remaining is 0 and the other fields are final
}

// WaitDelivered waits for the end of a delivery. It returns the same errors as Handle.
func (h *Handler) WaitDelivered(ctx context.Context, d *Delivery) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-h.stopped:
		return ErrStopped
	case <-d.done:
	}
	if d.worstOutcome == Refused || d.worstOutcome == Undelivered {
		return &OutcomeError{Outcome: d.worstOutcome, Reason: d.reason}
	}
	return nil
}

// claimEventID makes d the delivery of its event's id, or returns the delivery that already has the id.
func (h *Handler) claimEventID(d *Delivery) *Delivery {
	h.mu.Lock()
	defer h.mu.Unlock()
	if earlier := h.pending[d.event.eventIdentity()]; earlier != nil {
		return earlier
	}
	h.pending[d.event.eventIdentity()] = d
	return nil
}

// abandonEventDelivery ends a delivery before its first command.
func (h *Handler) abandonEventDelivery(d *Delivery, o Outcome, reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	d.worstOutcome, d.reason, d.remaining = o, reason, 0
	delete(h.pending, d.event.eventIdentity())
	close(d.done)
}

// enqueueHoldCommands appends the commands of d to the queues of their workloads. A full queue rejects the command of its workload alone.
func (h *Handler) enqueueHoldCommands(ctx context.Context, d *Delivery, commands []holdCommand) error {
	var rejected error
	for i := range commands {
		replaced, err := h.queues[commands[i].workload].appendQueuedCommand(ctx, h.stopped, &queuedCommand{command: commands[i], delivery: d})
		switch {
		case errors.Is(err, errQueueFull):
			rejected = &OutcomeError{Outcome: Undelivered, Reason: err.Error()}
			h.finishHoldCommand(ctx, d, Undelivered, err.Error())
			continue
		case err != nil:
			for range commands[i:] {
				h.finishHoldCommand(ctx, d, Undelivered, err.Error())
			}
			return err
		}
		h.metrics.waiting.Inc()
		if replaced != nil {
			h.metrics.waiting.Dec()
			h.finishHoldCommand(ctx, replaced.delivery, Superseded, "")
		}
	}
	return rejected
}

// finishHoldCommand settles a command of a delivery. With the last command it settles the event; it adds the event's id before another
// event with the same id can be claimed.
func (h *Handler) finishHoldCommand(ctx context.Context, d *Delivery, o Outcome, reason string) {
	h.mu.Lock()
	switch rank := o.eventOutcomeRank() - d.worstOutcome.eventOutcomeRank(); {
	case rank > 0:
		d.worstOutcome, d.reason = o, reason
	case rank == 0 && d.reason == "":
		d.reason = reason
	}
	d.remaining--
	last := d.remaining == 0
	if last {
		if d.worstOutcome != Undelivered { // a second reading may still deliver it before it expires
			h.deliveredIDs.Add(d.event.eventIdentity(), d.expiresAt.Add(clockSlack))
		}
		delete(h.pending, d.event.eventIdentity())
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

// deliverCommandQueue delivers the commands of a workload in their order, until ctx ends.
func (h *Handler) deliverCommandQueue(ctx context.Context, w hold.Workload, q *holdCommandQueue) {
	for {
		c := q.takeQueuedCommand(ctx)
		if c == nil {
			return
		}
		o, reason, ok := h.deliverHoldCommand(ctx, w, q, c)
		if !ok {
			return
		}
		if o == outcomeRequeued {
			continue
		}
		h.metrics.waiting.Dec()
		h.finishHoldCommand(ctx, c.delivery, o, reason)
	}
}

// outcomeRequeued is no outcome of an event: its command waits behind the others of the workload again.
const outcomeRequeued Outcome = "requeued"

// deliverHoldCommand calls the sink until the sink takes or rejects the command, or the command expires or is superseded. It returns false
// if ctx ends first.
func (h *Handler) deliverHoldCommand(ctx context.Context, w hold.Workload, q *holdCommandQueue, c *queuedCommand) (o Outcome, reason string, ok bool) {
	for failures := 1; ; failures++ {
		left := time.Until(c.command.expiresAt)
		switch {
		case q.isEventCommandSuperseded(c):
			return Superseded, "", true
		case h.isEventCommandOutdated(&c.command):
			return Superseded, "a later event of the hold came first", true
		case left <= 0:
			return Undelivered, reason, true
		}
		err := h.callHoldSink(ctx, w, &c.command)
		q.recordSinkResult(err != nil && !errors.Is(err, hold.ErrRejected))
		switch {
		case err == nil:
			h.noteCommandRaise(&c.command)
			return Delivered, "", true
		case errors.Is(err, hold.ErrRejected):
			return Refused, err.Error(), true
		}
		reason = err.Error()
		h.metrics.retries.Inc()
		if q.requeueLateEventCommand(c) {
			return outcomeRequeued, "", true
		}
		pause := min(retryBackoff.Delay(failures), left)
		if failures == 1 {
			h.logFirstSinkRetry(ctx, w, c, err, pause)
		}
		if !retry.Sleep(ctx, pause) {
			return "", "", false
		}
	}
}

// logFirstSinkRetry logs the first failed attempt of a command.
func (h *Handler) logFirstSinkRetry(ctx context.Context, w hold.Workload, c *queuedCommand, err error, pause time.Duration) {
	if suppressed, ok := h.throttle.AllowLine("retried", time.Now()); ok {
		klog.FromContext(ctx).Info("Event not taken, retrying until it expires",
			"workload", w, "event", c.delivery.event.ID, "err", err, "retryIn", pause, "expiresAt", c.command.expiresAt, "suppressed", suppressed)
	}
}

// callHoldSink makes an attempt, which ends when the command expires. A panic ends this attempt alone.
func (h *Handler) callHoldSink(ctx context.Context, w hold.Workload, c *holdCommand) (err error) {
	defer h.metrics.panics.Catch(ctx, &err, func() []any { return []any{"workload", w.String(), "hold", c.hold.ID} })
	until := time.Now().Add(attemptTimeout)
	if c.expiresAt.Before(until) {
		until = c.expiresAt
	}
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	if c.release {
		return h.sink.Release(ctx, w, c.hold.ID, c.reason)
	}
	return h.sink.Raise(ctx, w, c.hold)
}
