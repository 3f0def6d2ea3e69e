package event

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"k8s.io/klog/v2"
)

// Outcome is what became of an event.
type Outcome string

// The outcomes. Every event that Handle is called with has exactly one, unless the handler ends before, or the caller gives up
// before it is known whether the id was seen.
const (
	Delivered   Outcome = "delivered"   // the sink took it for every target
	Superseded  Outcome = "superseded"  // a later event of the same hold was delivered in its place
	Duplicate   Outcome = "duplicate"   // its id was seen before
	Malformed   Outcome = "malformed"   // it is no event, or lacks a field that a rule needs
	Unknown     Outcome = "unknown"     // no rule is about its type
	Unmatched   Outcome = "unmatched"   // rules are about its type, and none about its fields
	Expired     Outcome = "expired"     // it was read after its expiry
	Future      Outcome = "future"      // its at is too far ahead
	Refused     Outcome = "refused"     // the sink refused the hold for a target, for good
	Undelivered Outcome = "undelivered" // the sink did not take it for a target before it expired
)

var allOutcomes = []Outcome{Delivered, Superseded, Duplicate, Malformed, Unknown, Unmatched, Expired, Future, Refused, Undelivered}

// OutcomeError is the error for an event that was not delivered.
type OutcomeError struct {
	Outcome Outcome
	// Reason is for whoever sent it.
	Reason string
}

// Error is the outcome and why.
func (r *OutcomeError) Error() string { return fmt.Sprintf("event %s: %s", r.Outcome, r.Reason) }

func newOutcomeError(o Outcome, format string, args ...any) *OutcomeError {
	return &OutcomeError{Outcome: o, Reason: fmt.Sprintf(format, args...)}
}

// severityRank orders the outcomes of one event's targets: the worst is the event's.
func (o Outcome) severityRank() int {
	switch o {
	case Undelivered:
		return 3
	case Refused:
		return 2
	case Delivered:
		return 1
	default:
		return 0
	}
}

// metrics are the self-metrics of a Handler.
type metrics struct {
	events  *prometheus.CounterVec
	retries prometheus.Counter
	waiting prometheus.Gauge
	delay   prometheus.Histogram
}

func newMetrics(r prometheus.Registerer, sources []string) *metrics {
	f := promauto.With(r)
	i := &metrics{
		events: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tachometer_scaler_events_total",
			Help: "Events that were read, by where from and what became of them.",
		}, []string{"source", "outcome"}),
		retries: f.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_scaler_event_retries_total",
			Help: "Deliveries of events to a target that failed and were tried again.",
		}),
		waiting: f.NewGauge(prometheus.GaugeOpts{
			Name: "tachometer_scaler_events_waiting",
			Help: "Holds that events ask for and that are not delivered yet, counted once for each target.",
		}),
		delay: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "tachometer_scaler_event_delivery_seconds",
			Help:    "Time from when an event was read until its hold was on every target.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}),
	}
	for _, s := range sources {
		for _, o := range allOutcomes {
			i.events.WithLabelValues(s, string(o))
		}
	}
	return i
}

const (
	// maxLinesPerOutcome and linesSpan bound the lines of one outcome: enough to see what is wrong, whatever the burst.
	maxLinesPerOutcome = 5
	throttlePeriod     = 10 * time.Second
)

// logThrottle lets a few lines of each kind through, and counts the rest into the next that is let through.
type logThrottle struct {
	mu        sync.Mutex // guards all below
	byOutcome map[Outcome]*outcomeLines
}

type outcomeLines struct {
	since           time.Time
	written, hidden int
}

// allowLine tells whether a line of a kind may be written now, and how many were not since the last one.
func (q *logThrottle) allowLine(kind Outcome, now time.Time) (hidden int, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.byOutcome[kind]
	if l == nil {
		l = &outcomeLines{since: now}
		q.byOutcome[kind] = l
	}
	if now.Sub(l.since) >= throttlePeriod {
		l.since, l.written = now, 0
	}
	if l.written == maxLinesPerOutcome {
		l.hidden++
		return 0, false
	}
	hidden, l.hidden = l.hidden, 0
	l.written++
	return hidden, true
}

// recordEventOutcome counts and logs what became of an event. Its id and type are empty where they could not be read.
func (h *Handler) recordEventOutcome(ctx context.Context, e *Event, source string, o Outcome, why string) {
	h.metrics.events.WithLabelValues(source, string(o)).Inc()
	hidden, ok := h.throttle.allowLine(o, time.Now())
	if !ok {
		return
	}
	log := klog.FromContext(ctx).WithValues("source", source, "outcome", o, "id", e.ID, "type", e.Type)
	if hidden > 0 {
		log = log.WithValues("hidden", hidden)
	}
	if why != "" {
		log = log.WithValues("why", why)
	}
	if o == Delivered || o == Superseded || o == Duplicate || o == Unmatched {
		log.V(1).Info("event handled")
		return
	}
	log.Info("event not delivered")
}
