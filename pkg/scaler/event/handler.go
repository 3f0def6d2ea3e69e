// This file is the way of an event: Accept parses it (event.go), matches it with the rules (match.go) and queues its commands
// (commandqueue.go); Run delivers them (delivery.go).

package event

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tachometer-metrics/tachometer/pkg/retry"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
)

// Sink applies the holds that events request. Both methods are idempotent, and end with ctx. The handler calls them concurrently for
// different workloads, and never concurrently for one workload. They return nil only after the change is stored beyond a crash. An error
// that wraps hold.ErrRejected is final; after any other error the handler retries until the event expires.
type Sink interface {
	// Raise adds the hold, or replaces the hold with its ID.
	Raise(ctx context.Context, w hold.Workload, h hold.Hold) error
	// Release ends the hold with the ID. An absent hold is no error.
	Release(ctx context.Context, w hold.Workload, id, reason string) error
}

// IDSet remembers delivered events, by type and id. Its methods are called concurrently.
type IDSet interface {
	// Has reports whether the id is remembered. It waits until the set is loaded; its error is the error of ctx.
	Has(ctx context.Context, id string) (bool, error)
	// Add remembers the id until the given time. It does not block. It stores the id beyond a crash a little later, after all ids
	// that were added before.
	Add(id string, until time.Time)
}

// Options are the optional settings of a Handler.
type Options struct {
	// VerifySpecs are the verifications by name, for rules.
	VerifySpecs map[string]verify.Spec
	// Format describes messages of other systems. TTL 0: DefaultTTL.
	Format Format
	// Times remembers the times of starts and ends beyond a restart; nil: in memory.
	Times CommandTimes
	// Registerer takes the metrics; nil: no metrics.
	Registerer prometheus.Registerer
	// MaxWaiting bounds the waiting commands of a workload; twice as many may wait if the last are ends. 0: DefaultMaxWaiting.
	MaxWaiting int
}

const (
	// maxSkew is how far the senders' clocks may be ahead: above the skew of machines with a time service, and below the error of a wrong time zone.
	maxSkew = time.Minute
	// DefaultMaxWaiting is far above the holds of a workload, and about a megabyte.
	DefaultMaxWaiting = 1024
	// attemptTimeout bounds a call of the sink: it lets a slow API server answer, and ends a hanging request soon.
	attemptTimeout = 10 * time.Second
)

func (o Options) withDefaults() Options {
	if o.Format.TTL == 0 {
		o.Format.TTL = DefaultTTL
	}
	if o.Times == nil {
		o.Times = newHoldCommandTimes()
	}
	if o.MaxWaiting == 0 {
		o.MaxWaiting = DefaultMaxWaiting
	}
	return o
}

// The sources of events, for logs and metrics.
const (
	SourceKafka = "kafka"
	SourceHTTP  = "http"
)

// ErrStopped is the error of events that were not delivered because Run ended.
var ErrStopped = errors.New("the handler of events has stopped")

// Handler delivers events to the sink.
type Handler struct {
	rules        []HoldRule
	sink         Sink
	deliveredIDs IDSet
	opts         Options
	metrics      *metrics
	throttle     retry.Throttle                      // by outcome
	queues       map[hold.Workload]*holdCommandQueue // of every workload of every rule; the map does not change
	stopped      chan struct{}

	mu      sync.Mutex           // guards pending, and the deliveries in it
	pending map[string]*Delivery // by the identity of their events
}

// NewHandler returns a handler of events by these rules, as Decode returns them. It delivers no event before Run.
func NewHandler(rules []HoldRule, sink Sink, deliveredIDs IDSet, opts Options) *Handler {
	h := &Handler{
		rules: rules, sink: sink, deliveredIDs: deliveredIDs, opts: opts.withDefaults(),
		metrics:  newMetrics(opts.Registerer, []string{SourceKafka, SourceHTTP}),
		throttle: retry.Throttle{Interval: throttlePeriod, Lines: maxLinesPerOutcome},
		queues:   map[hold.Workload]*holdCommandQueue{}, stopped: make(chan struct{}), pending: map[string]*Delivery{},
	}
	for i := range rules {
		for _, w := range rules[i].Workloads {
			h.queues[w.Workload] = newHoldCommandQueue(h.opts.MaxWaiting)
		}
	}
	return h
}

// Run delivers events until ctx ends, and returns nil. It is called once.
func (h *Handler) Run(ctx context.Context) error {
	defer close(h.stopped)
	var workers sync.WaitGroup
	for w, q := range h.queues {
		workers.Go(func() { h.deliverCommandQueue(ctx, w, q) })
	}
	workers.Wait()
	return nil
}

// HandleMessage reads an event and waits until the sink has taken it for every workload. The error is an *OutcomeError if the event was not
// delivered and will not be. The error of ctx, or ErrStopped, leaves the outcome open: the event may still be delivered, unless Run has
// ended.
func (h *Handler) HandleMessage(ctx context.Context, m Message) error {
	d, err := h.AcceptMessage(ctx, m)
	if err != nil {
		return err
	}
	return h.WaitDelivered(ctx, d)
}

// AcceptMessage reads an event and appends its commands to the queues of their workloads. It waits up to maxFullWait while a queue is full. It
// returns the same errors as HandleMessage.
func (h *Handler) AcceptMessage(ctx context.Context, m Message) (*Delivery, error) {
	now := time.Now()
	e, err := h.opts.Format.ParseMessage(m.withMessageDefaults(now))
	if err != nil {
		return nil, h.rejectEvent(ctx, &e, m.Source, newEventOutcomeError(Malformed, "%v", err))
	}
	commands, rejection := h.matchEventRules(&e, now)
	if rejection != nil {
		return nil, h.rejectEvent(ctx, &e, m.Source, rejection)
	}
	h.noteCommandReleases(commands)
	d := &Delivery{event: e, source: m.Source, readAt: now, expiresAt: e.Expiry(), remaining: len(commands), worstOutcome: Superseded, done: make(chan struct{})}
	for i := range commands {
		if at := commands[i].expiresAt; at.After(d.expiresAt) {
			d.expiresAt = at
		}
	}
	if earlier := h.claimEventID(d); earlier != nil {
		h.recordEventOutcome(ctx, &e, m.Source, Duplicate, "an event with this id is being delivered")
		return earlier, nil
	}
	switch known, err := h.deliveredIDs.Has(ctx, e.eventIdentity()); {
	case err != nil:
		h.abandonEventDelivery(d, Undelivered, "the set of delivered ids is not loaded")
		return nil, err
	case known:
		h.abandonEventDelivery(d, Duplicate, "")
		return nil, h.rejectEvent(ctx, &e, m.Source, newEventOutcomeError(Duplicate, "id %s was seen before", e.ID))
	}
	return d, h.enqueueHoldCommands(ctx, d, commands)
}

// rejectEvent records the outcome of a rejected event, and returns it as the error.
func (h *Handler) rejectEvent(ctx context.Context, e *Event, source string, r *OutcomeError) error {
	h.recordEventOutcome(ctx, e, source, r.Outcome, r.Reason)
	return r
}
