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

// IDSet remembers the ids of events that were delivered. Its methods are called concurrently.
type IDSet interface {
	// Has tells whether the id is remembered. It waits until that can be known; the error is ctx's.
	Has(ctx context.Context, id string) (bool, error)
	// Add remembers the id until then. It does not block, and keeps it where a crash does not reach it a little later, after all
	// ids that were added before.
	Add(id string, until time.Time)
}

// Options are what a Handler does without.
type Options struct {
	// VerifySpecs are the verifications that rules name.
	VerifySpecs map[string]verify.Spec
	// Registerer takes the metrics; nil: none.
	Registerer prometheus.Registerer
	// MaxSkew is how far ahead the senders' clocks may be; 0: DefaultSkew.
	MaxSkew time.Duration
	// MaxWaiting bounds the holds of one target that wait for the sink; Handle waits while there are as many. 0: DefaultWaiting.
	MaxWaiting int
	// AttemptTimeout bounds one call of the sink; 0: DefaultAttempt.
	AttemptTimeout time.Duration
}

const (
	// DefaultMaxSkew is more than machines with a time service differ by, and less than would hide a wrong time zone.
	DefaultMaxSkew = time.Minute
	// DefaultMaxWaiting is far more than the holds that one target takes, and about a megabyte.
	DefaultMaxWaiting = 1024
	// DefaultAttemptTimeout lets a slow API server answer; one that hangs is asked again soon after.
	DefaultAttemptTimeout = 10 * time.Second
)

func (o Options) withDefaults() Options {
	if o.MaxSkew == 0 {
		o.MaxSkew = DefaultMaxSkew
	}
	if o.MaxWaiting == 0 {
		o.MaxWaiting = DefaultMaxWaiting
	}
	if o.AttemptTimeout == 0 {
		o.AttemptTimeout = DefaultAttemptTimeout
	}
	return o
}

// The sources of events, for logs and metrics.
const (
	SourceKafka = "kafka"
	SourceHTTP  = "http"
)

// ErrStopped is for events that were not delivered because Run ended.
var ErrStopped = errors.New("the handler of events has stopped")

// Handler brings events to the sink.
type Handler struct {
	rules        []Rule
	sink         Sink
	deliveredIDs IDSet
	opts         Options
	metrics      *metrics
	throttle     logThrottle
	queues       map[hold.Target]*commandQueue // of every target of every rule; the map does not change
	stopped      chan struct{}

	mu      sync.Mutex // guards pending, and the deliveries in it
	pending map[string]*Delivery
}

// NewHandler returns a handler of events by these rules, as Decode returns them. It delivers nothing before Run.
func NewHandler(rules []Rule, sink Sink, seen IDSet, opts Options) *Handler {
	h := &Handler{
		rules: rules, sink: sink, deliveredIDs: seen, opts: opts.withDefaults(), metrics: newMetrics(opts.Registerer, []string{SourceKafka, SourceHTTP}),
		throttle: logThrottle{byOutcome: map[Outcome]*outcomeLines{}}, queues: map[hold.Target]*commandQueue{}, stopped: make(chan struct{}), pending: map[string]*Delivery{},
	}
	for i := range rules {
		for _, w := range rules[i].Workloads {
			h.queues[w.Workload] = newCommandQueue(h.opts.MaxWaiting)
		}
	}
	return h
}

// Run delivers events until ctx ends, and returns nil. It is called once.
func (h *Handler) Run(ctx context.Context) error {
	defer close(h.stopped)
	var all sync.WaitGroup
	for t, q := range h.queues {
		all.Go(func() { h.deliverQueue(ctx, t, q) })
	}
	all.Wait()
	return nil
}

// Delivery is an event on its way to the sink.
type Delivery struct {
	event        Event
	source       string
	readAt       time.Time
	remaining    int // targets that did not take it yet
	worstOutcome Outcome
	reason       string
	done         chan struct{} // closed when left is 0, and all above is settled
}

// Handle reads an event and waits until the sink took it for every target. The error is a *Refusal for an event that will not
// be delivered; that of ctx, or ErrStopped, where it is not known: it may still be delivered, unless Run has ended.
func (h *Handler) Handle(ctx context.Context, data []byte, source string) error {
	d, err := h.Accept(ctx, data, source)
	if err != nil {
		return err
	}
	return h.WaitDelivered(ctx, d)
}

// WaitDelivered waits for the end of a delivery. Its errors are those of Handle.
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

// Accept reads an event and puts it into the queues of its targets; it waits for room in them. Its errors are those of Handle.
func (h *Handler) Accept(ctx context.Context, data []byte, source string) (*Delivery, error) {
	now := time.Now()
	e, err := Parse(data)
	if err != nil {
		return nil, h.rejectEvent(ctx, &e, source, newOutcomeError(Malformed, "%v", err))
	}
	orders, refusal := h.matchRules(&e, now)
	if refusal != nil {
		return nil, h.rejectEvent(ctx, &e, source, refusal)
	}
	d := &Delivery{event: e, source: source, readAt: now, remaining: len(orders), worstOutcome: Superseded, done: make(chan struct{})}
	if earlier := h.claimEventID(d); earlier != nil {
		h.recordEventOutcome(ctx, &e, source, Duplicate, "it is on its way")
		return earlier, nil
	}
	switch known, err := h.deliveredIDs.Has(ctx, e.ID); {
	case err != nil:
		h.abandonDelivery(d, Undelivered, "it is not known whether its id was seen before")
		return nil, err
	case known:
		h.abandonDelivery(d, Duplicate, "")
		return nil, h.rejectEvent(ctx, &e, source, newOutcomeError(Duplicate, "id %s was seen before", e.ID))
	}
	return d, h.enqueueCommands(ctx, d, orders)
}
