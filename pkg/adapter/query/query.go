// Engine: its options, its settings and Evaluate.

// Package query evaluates rules over the store's samples: resets, pauses and spikes of counters, increments, rates, bucket quantiles,
// and a fast path beside Prometheus's engine.
//
// It reads float samples only (no native histograms): the store holds no others.
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
	"github.com/tachometer-metrics/tachometer/pkg/panics"
	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
)

const (
	// lookbackIntervals is the greatest age of a sample for a selector without range, in scrape intervals: two
	// scrapes may fail.
	lookbackIntervals = 3
	// slackIntervals is how far beyond a window the scan looks, in scrape intervals. The newest sample may be five
	// late (the default of maxAge), and three may be missing at the start of the window.
	slackIntervals = 8
)

// Retention returns how long a store must keep samples for windows up to maxWindow.
func Retention(maxWindow, interval time.Duration) time.Duration {
	return maxWindow + slackIntervals*interval
}

// Settings are the options that Reconfigure changes while an Engine runs. The zero value is usable.
type Settings struct {
	// Interval is the scrape interval. 0 means 2 s.
	Interval time.Duration
	// MaxWindow is the longest span of an expression, and the longest window of auto. 0 means 60 s.
	MaxWindow time.Duration
}

func (s *Settings) setQuerySettingDefaults() {
	if s.Interval <= 0 {
		s.Interval = 2 * time.Second
	}
	if s.MaxWindow <= 0 {
		s.MaxWindow = time.Minute
	}
}

// Options bound an Engine. The zero value is usable.
type Options struct {
	// Settings are the initial settings; see Reconfigure.
	Settings Settings
	// MaxSamples bounds the samples of an evaluation in memory. 0 means 5,000,000: a minute of every series of a full
	// store, in 80 MB.
	MaxSamples int
	// Timeout bounds an evaluation, including the wait for its turn. 0 means 5 s: an HPA's read waits for it.
	Timeout time.Duration
	// MaxConcurrent bounds the concurrent evaluations; further evaluations wait. 0 means 16: evaluations only
	// compute, so that more would only wait for each other.
	MaxConcurrent int
	// Registerer receives the self-metrics; nil registers no metrics.
	Registerer prometheus.Registerer
}

func (o *Options) setQueryEngineDefaults() {
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

// SampleSource is the storage that an Engine reads; *store.Store implements it. It is safe for concurrent use.
type SampleSource interface {
	storage.Queryable
	// Visit calls visit for every series that all matchers match, with one of the values, which ascend, in its label.
	// visit gets the samples in [mint, maxt], milliseconds, oldest first and with staleness markers. If label is
	// empty, values is ignored. The slices are valid only during the call. Series of a metric name and a pod come one
	// after the other, in the order of Select. visit may call Visit.
	Visit(mint, maxt int64, matchers []*labels.Matcher, label string, values []string,
		visit func(l labels.Labels, times []int64, values []float64))
}

// Engine evaluates rules over a store. Its methods are safe for concurrent use.
type Engine struct {
	data            SampleSource
	promqlEngine    *promqlEngine
	reviewEngine    *promqlEngine // for reviewed queries
	opts            Options
	settings        atomic.Pointer[activeSettings]
	semaphore       chan struct{} // holds an element for each evaluation under way
	expressions     expressionCache
	buffers         sync.Pool // of *evalBuffers
	disableFastPath bool      // for tests: only Prometheus's engine computes
	metrics         metrics
	panics          *panics.Guard
}

// New returns an engine over data. Retention says how long data must keep samples.
func New(data SampleSource, opts Options) *Engine {
	opts.setQueryEngineDefaults()
	e := &Engine{
		data:        data,
		opts:        opts,
		expressions: newExpressionCache(),
		semaphore:   make(chan struct{}, opts.MaxConcurrent),
		metrics:     newMetrics(opts.Registerer),
	}
	e.panics = panics.NewGuard("evaluation of a rule", e.metrics.panics)
	step := func() time.Duration { return e.settings.Load().Interval }
	e.promqlEngine = newPromQLEngine(data, opts.MaxSamples, opts.Timeout, step)
	e.reviewEngine = newPromQLEngine(data, min(opts.MaxSamples, maxReviewedSamples), opts.Timeout, step)
	e.buffers.New = func() any { return &evalBuffers{} }
	e.Reconfigure(opts.Settings)
	return e
}

// activeSettings are Settings, beside the interval of the samples that the store has from before them.
type activeSettings struct {
	Settings
	earlierInterval time.Duration
	earlierUntil    time.Time // from then on, no window has a sample of the earlier interval
	changed         time.Time // when the interval last changed
}

// mayHaveEarlierSampleInterval reports whether a window may have samples of two intervals.
func (s *activeSettings) mayHaveEarlierSampleInterval() bool {
	return time.Now().Before(s.earlierUntil)
}

// longestSampleInterval returns the longest interval between samples without a missed scrape.
func (s *activeSettings) longestSampleInterval() time.Duration {
	if s.mayHaveEarlierSampleInterval() {
		return max(s.Interval, s.earlierInterval)
	}
	return s.Interval
}

// newestSampleInterval returns the interval that the newest samples of punctual pods have: the present one, soon after a change.
func (s *activeSettings) newestSampleInterval() time.Duration {
	if isPauseBetweenSamples(time.Since(s.changed).Milliseconds(), s.Interval.Milliseconds()) {
		return s.Interval
	}
	return s.longestSampleInterval()
}

// Reconfigure replaces the settings. Evaluations under way keep the previous settings. It must not be called concurrently with itself.
func (e *Engine) Reconfigure(s Settings) {
	s.setQuerySettingDefaults()
	next := &activeSettings{Settings: s}
	if before := e.settings.Load(); before != nil && (before.Interval != s.Interval || before.mayHaveEarlierSampleInterval()) {
		next.earlierInterval = before.longestSampleInterval()
		next.earlierUntil = time.Now().Add(Retention(s.MaxWindow, max(s.Interval, next.earlierInterval)))
		if next.changed = before.changed; before.Interval != s.Interval {
			next.changed = time.Now()
		}
	}
	e.settings.Store(next)
}

// Evaluate evaluates a query as of now: a value for each object, or for each series of an external metric, in a
// stable order. It omits objects without a right value: unknown, scraped less than twice, or with fewer samples than
// the expression's ranges need. A value with a Reason is none: the object's, or the value of an external rule with operators that exclude every
// series. It does not validate values: they may be old, negative or NaN.
//
// Errors have a metric.Kind: KindUnavailable after a timeout, KindInternal for a fault of the rule or this program.
// An error comes without values. The caller owns the slice.
func (e *Engine) Evaluate(ctx context.Context, q rule.Query, now time.Time) ([]metric.Value, error) {
	started := time.Now() // for the self-metrics only
	values, err := e.evaluatePromQLQuery(ctx, q, now)
	e.metrics.observePromQLQuery(time.Since(started), values, err)
	return values, err
}

func (e *Engine) evaluatePromQLQuery(ctx context.Context, q rule.Query, now time.Time) (values []metric.Value, err error) {
	defer func() {
		if fault := recover(); fault != nil { // of an expression that no test of Prometheus's engine has
			values, err = nil, metric.Errorf(metric.KindInternal, "evaluate rule %q: %w", q.Rule.Name, e.panics.Report(ctx, fault, "rule", q.Rule.Name))
		}
	}()
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
	defer func() { buffers.resetQueryEvalBuffers(); e.buffers.Put(buffers) }()
	settings := e.settings.Load()
	ev := evaluation{Query: q, now: now, buffers: buffers, interval: settings.longestSampleInterval(), maxWindow: settings.MaxWindow}
	ev.mixedIntervals, ev.scrapeInterval = settings.mayHaveEarlierSampleInterval(), settings.Interval
	ev.newestInterval = settings.newestSampleInterval()
	if err := ev.preparePromQLQuery(ctx, e); err != nil {
		return nil, wrapEvaluatedQueryError(q, err)
	}
	if err := ev.rejectDifferentBuckets(); err != nil {
		return nil, err
	}
	for i := range ev.evalGroups {
		if err := ev.evaluateQueryGroup(ctx, e, i); err != nil {
			return nil, wrapEvaluatedQueryError(q, err)
		}
	}
	slices.SortFunc(ev.values, compareQueryValues)
	return ev.values, nil
}

// wrapEvaluatedQueryError adds a kind and the rule's name to an error.
func wrapEvaluatedQueryError(q rule.Query, err error) error {
	var missing *metric.MissingError
	if errors.As(err, &missing) {
		return missing // the rule is right
	}
	if metric.KindOf(err) == metric.KindInvalid {
		return err // likewise
	}
	kind := metric.KindInternal
	var timeout promql.ErrQueryTimeout
	var canceled promql.ErrQueryCanceled
	if errors.As(err, &timeout) || errors.As(err, &canceled) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		kind = metric.KindUnavailable
	}
	return metric.Errorf(kind, "evaluate rule %q: %w", q.Rule.Name, err)
}

// wrapPromQLError adds the expression to an error of the engine.
func wrapPromQLError(text string, err error) error {
	const maxBytes = 300 // for a reader: the names of a thousand pods would not help
	return fmt.Errorf("%s: %w", plaintext.Clip(text, maxBytes), err)
}
