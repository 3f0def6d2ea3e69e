// Package prometheus is the remote backend: the Prometheus HTTP API, answered from memory, refreshed ahead of the HPA.
//
// What is read is kept as a question: one query that answers reads of any namespace and any objects where the
// rule permits that. The first read of something new asks the server and waits; from then on Run repeats the question
// every refresh interval, until nobody reads it any more.
package remote

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// Options are the settings of a Backend beside its configuration. A zero value means the default.
type Options struct {
	// Metrics take the self-metrics; nil: none.
	Metrics *Metrics
	// Transport speaks to the servers; nil: as the configuration says, with its credentials.
	Transport http.RoundTripper
	// IdleTimeout is how long something is refreshed that nobody reads. Default 3m: several times the HPA's period, so that
	// its next read is answered at once also after a restart of its controller.
	IdleTimeout time.Duration
	// Seed moves this process's refreshes within the interval, so that replicas do not ask in step.
	Seed uint64
}

// Backend answers questions from a Prometheus-compatible server. Its methods may be called from several goroutines,
// before, while and after Run runs.
type Backend struct {
	name             string
	config           config.Backend
	client           *backendClient
	metrics          *Metrics
	idleTimeout      time.Duration
	seed             uint64
	health           backendHealth
	wakeups          chan struct{}  // the loop has something to look at
	requestSlots     chan struct{}  // for reads that ask
	runningRefreshes sync.WaitGroup // those that Run started

	mu              sync.Mutex // guards all below, and all questions
	queries         map[string]*standingQuery
	refreshQueue    refreshQueue
	activeRefreshes int  // flights that Run started
	running         bool // Run runs
}

const (
	// maxStandingQueries bounds the questions kept. Each is a query every refresh interval.
	maxStandingQueries = 10_000
	// maxQueryNamespaces bounds those of one question, which names them all. It is as many as a cluster can have.
	maxQueryNamespaces = 10_000
	// maxRefreshes bounds the queries under way that Run started, and as well those that reads started. Prometheus
	// has 20 places for all who ask it.
	maxRefreshes = 8
	// serverTimeoutGrace is what the server's own timeout is given to arrive before this side's: its error says more.
	serverTimeoutGrace = 500 * time.Millisecond
)

// New returns the backend of b, which must be complete as config makes it. It starts nothing. It fails if the files that
// the configuration names cannot be used.
func New(b config.Backend, opts Options) (*Backend, error) {
	b.Complete()
	if opts.Metrics == nil {
		opts.Metrics = NewMetrics(nil)
	}
	if opts.IdleTimeout <= 0 {
		opts.IdleTimeout = 3 * time.Minute
	}
	c, err := newBackendClient(b, opts.Transport, opts.Metrics)
	if err != nil {
		return nil, err
	}
	return &Backend{
		name: b.Name, config: b, client: c, metrics: opts.Metrics, idleTimeout: opts.IdleTimeout, seed: opts.Seed,
		wakeups: make(chan struct{}, 1), requestSlots: make(chan struct{}, maxRefreshes), queries: map[string]*standingQuery{},
	}, nil
}

// Evaluate answers q as of now: from memory, or, if it is new or Run does not run, from the server. The values are
// those of q.Namespace and q.Objects (of an external metric all that it found), in no particular order; their time is that of the newest sample behind them, or
// the zero time where the server has none, or the time of the evaluation where that cannot be asked for. The caller
// owns the slice, and must not change the labels. While the backend fails, values are served as long as one of them is
// younger than the rule's MaxAge; errors are of metric's kinds.
func (b *Backend) Evaluate(ctx context.Context, q rule.Query, now time.Time) ([]metric.Value, error) {
	if q.Objects != nil && len(q.Objects) == 0 {
		return nil, nil
	}
	if !q.Rule.Namespaced {
		q.Namespace = ""
	}
	key, err := buildStandingQueryKey(q)
	if err != nil {
		return nil, metric.Errorf(metric.KindInternal, "%w", err)
	}
	r, err := b.awaitResult(ctx, key, q, now)
	if err != nil {
		return nil, err
	}
	return b.serveCachedResult(q, r, now)
}

// serveCachedResult answers a read with what there is.
func (b *Backend) serveCachedResult(q rule.Query, r cachedResult, now time.Time) ([]metric.Value, error) {
	var values []metric.Value
	if r.result != nil {
		namespace := q.Namespace
		if !isPartitioned(q.Rule) {
			namespace = ""
		}
		objects := q.Objects
		if q.Rule.External {
			objects = nil // its results name none; those asked for were matchers of the query
		}
		values = r.result.selectValues(namespace, objects)
	}
	if r.failure != nil {
		if isWorthServing(q.Rule, values, now) {
			return values, nil
		}
		return nil, b.newBackendError(q, r, now)
	}
	if age := now.Sub(r.result.evaluatedAt); age > max(q.Rule.MaxAge, 2*b.config.Refresh+b.config.Timeout) {
		return nil, metric.Errorf(metric.KindUnavailable, "backend %s: last answer %s ago: refreshing does not keep up",
			b.name, age.Round(time.Second))
	}
	return values, nil
}

// isWorthServing tells whether the last values stand for those that the backend fails to give: one that is not older than
// maxAge, or of an external metric, whose series are added up, all of them.
func isWorthServing(r *rule.Rule, values []metric.Value, now time.Time) bool {
	old := func(v metric.Value) bool { return v.Age(now).Abs() > r.MaxAge }
	if r.External {
		return len(values) > 0 && !slices.ContainsFunc(values, old)
	}
	return slices.ContainsFunc(values, func(v metric.Value) bool { return !old(v) })
}

// newBackendError is the error of a read for which there is nothing else.
func (b *Backend) newBackendError(q rule.Query, r cachedResult, now time.Time) error {
	f := r.failure
	if f.errorKind() == metric.KindInternal {
		return metric.Errorf(metric.KindInternal, "rule %q: backend %s: %s", q.Rule.Name, b.name, f.text)
	}
	last := "no answer yet"
	if r.result != nil {
		last = "last answer " + formatClockTime(r.result.evaluatedAt)
	}
	return metric.Errorf(metric.KindUnavailable, "backend %s: %s, since %s (%s ago); %s",
		b.name, f.text, formatClockTime(f.began), max(0, now.Sub(f.began)).Round(time.Second), last)
}

// getOrAddQuery is the one of that key, read now; a new one if there is room. The caller holds b.mu.
func (b *Backend) getOrAddQuery(key string, q rule.Query, now time.Time) (*standingQuery, error) {
	e := b.queries[key]
	if e == nil {
		if len(b.queries) >= maxStandingQueries {
			return nil, metric.Errorf(metric.KindUnavailable,
				"backend %s: %d different questions are asked already, and no more are taken", b.name, maxStandingQueries)
		}
		e = newStandingQuery(key, q, b.seed)
		b.queries[key] = e
		b.countRefreshedQueries(1)
		b.scheduleQuery(e, nextRefreshTime(now, now, b.config.Refresh, e.offset))
	}
	if _, known := e.lastRequested[q.Namespace]; !known && len(e.lastRequested) >= maxQueryNamespaces {
		return nil, metric.Errorf(metric.KindUnavailable,
			"backend %s: rule %q is asked for %d namespaces already, and no more are taken", b.name, q.Rule.Name, maxQueryNamespaces)
	}
	e.lastRequested[q.Namespace] = now
	return e, nil
}

// fetchQueryResult asks the servers as of now, within a scope.
func (b *Backend) fetchQueryResult(ctx context.Context, e *standingQuery, s namespaceScope, now time.Time) (*queryResult, *requestFailure) {
	var namespaces []string
	if !s.allNamespaces {
		namespaces = slices.Sorted(maps.Keys(s.namespaces))
	}
	t, err := e.query.BuildRemoteQuery(namespaces)
	if err != nil {
		return nil, newRequestFailuref(outcomeBadResult, "%v", err)
	}
	r, f := b.sendInstantQuery(ctx, addSampleTimes(t), now)
	if f != nil {
		return nil, f
	}
	if f := b.rejectPartialResponse(ctx, e, r); f != nil {
		return nil, f
	}
	return resultJoin{query: e.query, text: t, scope: s, evaluatedAt: now}.joinSamples(r.samples)
}

// sendInstantQuery puts an instant query.
func (b *Backend) sendInstantQuery(ctx context.Context, expr string, now time.Time) (*queryResponse, *requestFailure) {
	patience := b.config.Timeout + serverTimeoutGrace
	form := url.Values{
		"query":   {expr},
		"time":    {formatUnixSeconds(now)},
		"timeout": {model.Duration(b.config.Timeout).String()},
		// VictoriaMetrics evaluates half a minute in the past unless it is told that the time is meant. Others ignore it.
		"nocache": {"1"},
	}
	var r *queryResponse
	f := b.client.sendWithFailover(ctx, serverRequest{
		path: "query", method: b.config.Method, form: form, timeout: patience,
		readResponse: func(resp *http.Response) (f *requestFailure) {
			r, f = readQueryResponse(resp, b.config.MaxResponseBytes, patience)
			return f
		},
	})
	return r, f
}

// formatUnixSeconds is a time as the API has it, to the millisecond.
func formatUnixSeconds(t time.Time) string {
	return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64)
}

// rejectPartialResponse refuses an answer that may not be whole, unless those are accepted.
func (b *Backend) rejectPartialResponse(ctx context.Context, e *standingQuery, r *queryResponse) *requestFailure {
	if len(r.infos) > 0 {
		b.metrics.infos.WithLabelValues(b.name).Inc()
	}
	if len(r.warnings) > 0 {
		b.metrics.partialResponses.WithLabelValues(b.name).Inc()
		if !b.config.AcceptPartial {
			return newRequestFailuref(outcomePartial, "partial response: %s", clipServerText(r.warnings[0]))
		}
	}
	if remarks := slices.Concat(r.warnings, r.infos); len(remarks) > 0 {
		b.logServerRemark(ctx, e, remarks[0])
	}
	return nil
}

// logServerRemark logs what a server has to say about a question, once.
func (b *Backend) logServerRemark(ctx context.Context, e *standingQuery, text string) {
	b.mu.Lock()
	again := e.remarkLogged
	e.remarkLogged = true
	b.mu.Unlock()
	if !again {
		klog.FromContext(ctx).V(1).Info("Backend remarks on a query", "backend", b.name, "rule", e.query.Rule.Name, "remark", clipServerText(text))
	}
}
