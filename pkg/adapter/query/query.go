// Package query answers rules from the store, with Prometheus's own engine, over windows that the samples fill.
package query

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

const (
	// lookbackIntervals is how old the sample may be, in scrape intervals, that a selector without range
	// finds: two scrapes may fail.
	lookbackIntervals = 3
	// slackIntervals is how far beyond a window samples are looked for, in scrape intervals: the newest may be
	// five late (the default of maxAge), and three missing where the window begins.
	slackIntervals = 8
)

// Retention is how long a store must keep samples for windows up to maxWindow to be answered in full.
func Retention(maxWindow, interval time.Duration) time.Duration {
	return maxWindow + slackIntervals*interval
}

// Settings are the options that Reconfigure changes while an Engine runs. The zero value is usable.
type Settings struct {
	// Interval is the scrape interval. 0 means 2 s.
	Interval time.Duration
	// MaxWindow is the longest that an expression may look back, and the longest window of auto. 0 means 60 s.
	MaxWindow time.Duration
}

func (s *Settings) setDefaults() {
	if s.Interval <= 0 {
		s.Interval = 2 * time.Second
	}
	if s.MaxWindow <= 0 {
		s.MaxWindow = time.Minute
	}
}

// Options bound an Engine. The zero value is usable.
type Options struct {
	// Settings are the first settings; see Reconfigure.
	Settings Settings
	// MaxSamples bounds the samples that one evaluation holds in memory. 0 means 5,000,000: a minute of every
	// series of a full store, with 80 MB.
	MaxSamples int
	// Timeout bounds one evaluation, waiting included. 0 means 5 s: an HPA's read waits for it.
	Timeout time.Duration
	// MaxConcurrent bounds the evaluations under way at one time; others wait. 0 means 16: they do nothing
	// but compute, so that more would only wait for each other.
	MaxConcurrent int
	// Registerer receives the self-metrics; nil registers nothing.
	Registerer prometheus.Registerer
}

func (o *Options) setDefaults() {
	if o.MaxSamples <= 0 {
		o.MaxSamples = 5_000_000
	}
	if o.Timeout <= 0 {
		o.Timeout = 5 * time.Second
	}
	if o.MaxConcurrent <= 0 {
		o.MaxConcurrent = 16
	}
}

// SampleSource is what an Engine evaluates over; *store.Store is one. It is safe for concurrent use.
type SampleSource interface {
	storage.Queryable
	// Visit calls visit for every series that all matchers match and whose label has one of the values, which ascend,
	// with its samples in [mint, maxt], milliseconds, oldest first and with staleness markers. An empty label leaves out
	// what it says of values. The slices are not visit's to keep. Series of one metric name and one pod come one after the
	// other, in the order of Select.
	Visit(mint, maxt int64, matchers []*labels.Matcher, label string, values []string,
		visit func(l labels.Labels, times []int64, values []float64))
}

// Engine evaluates rules over a store. All methods may be called concurrently.
type Engine struct {
	data            SampleSource
	promqlEngine    *promqlEngine
	opts            Options
	settings        atomic.Pointer[Settings]
	semaphore       chan struct{} // holds an element for each evaluation under way
	expressions     expressionCache
	buffers         sync.Pool // of *memory
	disableFastPath bool      // nothing is computed without Prometheus's engine; for tests
	metrics         metrics
}

// New returns an engine over data; see Retention for how long it must keep samples.
func New(data SampleSource, opts Options) *Engine {
	opts.setDefaults()
	e := &Engine{
		data:         data,
		promqlEngine: newPromQLEngine(data, opts.MaxSamples, opts.Timeout),
		opts:         opts,
		semaphore:    make(chan struct{}, opts.MaxConcurrent),
		metrics:      newMetrics(opts.Registerer),
	}
	e.buffers.New = func() any { return &evalBuffers{} }
	e.Reconfigure(opts.Settings)
	return e
}

// Reconfigure replaces the settings. Evaluations under way keep the previous settings.
func (e *Engine) Reconfigure(s Settings) {
	s.setDefaults()
	e.settings.Store(&s)
}

// Evaluate answers a question as of now: a value for each object, or for each series of an external metric,
// in a stable order. An object that is not among them has no value that is right: it is not known, was not
// scraped twice yet, or is watched for less than the ranges that the expression spells out. Values are not
// judged: they may be old, negative or NaN.
//
// Errors have a metric.Kind: KindUnavailable when it took too long, KindInternal when the rule or this program
// is at fault. There are no values then. The caller owns the slice.
func (e *Engine) Evaluate(ctx context.Context, q rule.Query, now time.Time) ([]metric.Value, error) {
	started := time.Now() // of the self-metrics only
	values, err := e.evaluateQuery(ctx, q, now)
	e.metrics.observeEvaluation(time.Since(started), values, err)
	return values, err
}

func (e *Engine) evaluateQuery(ctx context.Context, q rule.Query, now time.Time) ([]metric.Value, error) {
	ctx, cancel := context.WithTimeout(ctx, e.opts.Timeout)
	defer cancel()
	select {
	case e.semaphore <- struct{}{}:
		defer func() { <-e.semaphore }()
	case <-ctx.Done():
		return nil, metric.Errorf(metric.KindUnavailable, "evaluate rule %q: wait for %d other evaluations: %w",
			q.Rule.Name, e.opts.MaxConcurrent, ctx.Err())
	}
	buffers := e.buffers.Get().(*evalBuffers)
	defer func() { buffers.resetBuffers(); e.buffers.Put(buffers) }()
	settings := e.settings.Load()
	ev := evaluation{Query: q, now: now, buffers: buffers, interval: settings.Interval, maxWindow: settings.MaxWindow}
	if err := ev.prepareGroups(ctx, e); err != nil {
		return nil, wrapEvaluationError(q, err)
	}
	for i := range ev.evalGroups {
		if err := ev.evaluateGroup(ctx, e, i); err != nil {
			return nil, wrapEvaluationError(q, err)
		}
	}
	slices.SortFunc(ev.values, compareMetricValues)
	return ev.values, nil
}

// wrapEvaluationError gives an error its kind, and the names of what it is about.
func wrapEvaluationError(q rule.Query, err error) error {
	kind := metric.KindInternal
	var timeout promql.ErrQueryTimeout
	var canceled promql.ErrQueryCanceled
	if errors.As(err, &timeout) || errors.As(err, &canceled) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		kind = metric.KindUnavailable
	}
	return metric.Errorf(kind, "evaluate rule %q: %w", q.Rule.Name, err)
}

// wrapExpressionError is an error of the engine, with what it was asked.
func wrapExpressionError(text string, err error) error {
	const maxText = 300 // bytes: a person reads it, and the names of a thousand pods would not help
	if len(text) > maxText {
		text = text[:maxText] + "…"
	}
	return fmt.Errorf("%s: %w", text, err)
}
