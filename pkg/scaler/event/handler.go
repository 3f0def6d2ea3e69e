package event

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
)

// Sink takes what events ask for. Both methods are idempotent, are called for different targets at the same time and for
// one target never, end with ctx, and return nil only when the change is kept where a crash does not reach it. An error
// that is hold.ErrRefused is for good; after any other the call is made again until the event expires.
type Sink interface {
	// Raise adds the hold, or replaces the one with its ID. State is hold.Received; Since, Entered and Before are the sink's.
	Raise(ctx context.Context, t hold.Target, h hold.Hold) error
	// Release ends the hold with the ID; one that is not there is no error.
	Release(ctx context.Context, t hold.Target, id, why string) error
}

// Seen remembers the ids of events that were delivered. Its methods are called concurrently.
type Seen interface {
	// Has tells whether the id is remembered. It waits until that can be known; the error is ctx's.
	Has(ctx context.Context, id string) (bool, error)
	// Add remembers the id until then. It does not block, and keeps it where a crash does not reach it a little later, after all
	// ids that were added before.
	Add(id string, until time.Time)
}

// Options are what a Handler does without.
type Options struct {
	// Verify are the verifications that rules name.
	Verify map[string]verify.Spec
	// Registerer takes the metrics; nil: none.
	Registerer prometheus.Registerer
	// Skew is how far ahead the senders' clocks may be; 0: DefaultSkew.
	Skew time.Duration
	// Waiting bounds the holds of one target that wait for the sink; Handle waits while there are as many. 0: DefaultWaiting.
	Waiting int
	// Attempt bounds one call of the sink; 0: DefaultAttempt.
	Attempt time.Duration
}

const (
	// DefaultSkew is more than machines with a time service differ by, and less than would hide a wrong time zone.
	DefaultSkew = time.Minute
	// DefaultWaiting is far more than the holds that one target takes, and about a megabyte.
	DefaultWaiting = 1024
	// DefaultAttempt lets a slow API server answer; one that hangs is asked again soon after.
	DefaultAttempt = 10 * time.Second
)

func (o Options) withDefaults() Options {
	if o.Skew == 0 {
		o.Skew = DefaultSkew
	}
	if o.Waiting == 0 {
		o.Waiting = DefaultWaiting
	}
	if o.Attempt == 0 {
		o.Attempt = DefaultAttempt
	}
	return o
}

// The sources of events, for logs and metrics.
const (
	Kafka = "kafka"
	HTTP  = "http"
)

// ErrStopped is for events that were not delivered because Run ended.
var ErrStopped = errors.New("the handler of events has stopped")

// Handler brings events to the sink.
type Handler struct {
	rules   []Rule
	sink    Sink
	seen    Seen
	opts    Options
	m       *instruments
	quiet   quiet
	queues  map[hold.Target]*queue // of every target of every rule; the map does not change
	stopped chan struct{}

	mu      sync.Mutex // guards pending, and the deliveries in it
	pending map[string]*Delivery
}

// NewHandler returns a handler of events by these rules, as Decode returns them. It delivers nothing before Run.
func NewHandler(rules []Rule, sink Sink, seen Seen, opts Options) *Handler {
	h := &Handler{
		rules: rules, sink: sink, seen: seen, opts: opts.withDefaults(), m: newInstruments(opts.Registerer, []string{Kafka, HTTP}),
		quiet: quiet{kinds: map[Outcome]*lines{}}, queues: map[hold.Target]*queue{}, stopped: make(chan struct{}), pending: map[string]*Delivery{},
	}
	for i := range rules {
		for _, w := range rules[i].Targets {
			h.queues[w.Target] = newQueue(h.opts.Waiting)
		}
	}
	return h
}

// Run delivers events until ctx ends, and returns nil. It is called once.
func (h *Handler) Run(ctx context.Context) error {
	defer close(h.stopped)
	var all sync.WaitGroup
	for t, q := range h.queues {
		all.Go(func() { h.deliver(ctx, t, q) })
	}
	all.Wait()
	return nil
}

// Delivery is an event on its way to the sink.
type Delivery struct {
	event  Event
	source string
	since  time.Time
	left   int // targets that did not take it yet
	worst  Outcome
	why    string
	done   chan struct{} // closed when left is 0, and all above is settled
}

// Handle reads an event and waits until the sink took it for every target. The error is a *Refusal for an event that will not
// be delivered; that of ctx, or ErrStopped, where it is not known: it may still be delivered, unless Run has ended.
func (h *Handler) Handle(ctx context.Context, data []byte, source string) error {
	d, err := h.Accept(ctx, data, source)
	if err != nil {
		return err
	}
	return h.Wait(ctx, d)
}

// Wait waits for the end of a delivery. Its errors are those of Handle.
func (h *Handler) Wait(ctx context.Context, d *Delivery) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-h.stopped:
		return ErrStopped
	case <-d.done:
	}
	if d.worst == Refused || d.worst == Undelivered {
		return &Refusal{Outcome: d.worst, Why: d.why}
	}
	return nil
}

// Accept reads an event and puts it into the queues of its targets; it waits for room in them. Its errors are those of Handle.
func (h *Handler) Accept(ctx context.Context, data []byte, source string) (*Delivery, error) {
	now := time.Now()
	e, err := Parse(data)
	if err != nil {
		return nil, h.refused(ctx, &e, source, refuse(Malformed, "%v", err))
	}
	orders, refusal := h.judge(&e, now)
	if refusal != nil {
		return nil, h.refused(ctx, &e, source, refusal)
	}
	d := &Delivery{event: e, source: source, since: now, left: len(orders), worst: Superseded, done: make(chan struct{})}
	if earlier := h.claim(d); earlier != nil {
		h.note(ctx, &e, source, Duplicate, "it is on its way")
		return earlier, nil
	}
	switch known, err := h.seen.Has(ctx, e.ID); {
	case err != nil:
		h.drop(d, Undelivered, "it is not known whether its id was seen before")
		return nil, err
	case known:
		h.drop(d, Duplicate, "")
		return nil, h.refused(ctx, &e, source, refuse(Duplicate, "id %s was seen before", e.ID))
	}
	return d, h.enqueue(ctx, d, orders)
}
