// Package remote is the backend for Prometheus-compatible servers: HTTP requests with credentials, standing queries refreshed ahead of
// the HPA, decoded responses, and results joined to objects.
//
// A read becomes a standing query, which serves reads of any namespace and any objects where the rule permits that. The first
// read of a new query waits for the server. From then on Run repeats the query every refresh interval, until it has not been read
// for idleTimeout.
package remote

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
	"github.com/tachometer-metrics/tachometer/pkg/panics"
)

// Options are the settings of a Backend beside its configuration. A zero field means the default.
type Options struct {
	// Metrics counts requests and states; nil: no self-metrics.
	Metrics *Metrics
	// Transport sends the requests; nil: the transport of the configuration, with its credentials.
	Transport http.RoundTripper
	// Seed moves this process's refreshes within the interval, so that replicas do not query the server in step.
	Seed uint64
}

// Backend evaluates rules on a Prometheus-compatible server. Its methods may be called concurrently, before, during and after
// Run.
type Backend struct {
	name             string
	config           config.Backend
	client           *backendClient
	metrics          *Metrics
	panics           *panics.Guard
	seed             uint64
	health           backendHealth
	wakeups          chan struct{}  // the queue has changed
	requestSlots     chan struct{}  // bounds the queries that reads start
	largeResponses   chan struct{}  // has the one large response that is read
	runningRefreshes sync.WaitGroup // the queries that Run started

	mu              sync.Mutex // guards all below, and all standing queries
	queries         map[string]*standingQuery
	shares          queryShares
	refreshQueue    refreshQueue
	activeRefreshes int  // queries under way that Run started
	running         bool // Run is running
}

const (
	// idleTimeout ends the refreshes of a query after its last read: several times the HPA's period, so that its next read finds a value
	// also after a restart of its controller.
	idleTimeout = 3 * time.Minute
	// maxQueryNamespaces bounds the namespaces that a query names: as many as a cluster can have.
	maxQueryNamespaces = 10_000
	// maxRefreshes bounds the queries under way that Run started, and separately the queries that reads started. Prometheus
	// evaluates 20 queries at once for all its clients.
	maxRefreshes = 8
	// serverTimeoutGrace lets the server's own timeout arrive before this side's: the server's error says more.
	serverTimeoutGrace = 500 * time.Millisecond
)

// New returns the backend of b, a valid configuration, without starting it. It returns an error if a URL or a file of
// the configuration is unusable.
func New(b config.Backend, opts Options) (*Backend, error) {
	b.SetDefaults()
	if opts.Metrics == nil {
		opts.Metrics = NewMetrics(nil)
	}
	c, err := newBackendClient(b, opts.Transport, opts.Metrics)
	if err != nil {
		return nil, err
	}
	return &Backend{
		name: b.Name, config: b, client: c, metrics: opts.Metrics, seed: opts.Seed,
		panics:  panics.NewGuard("query of a backend", opts.Metrics.panics.WithLabelValues(b.Name)),
		wakeups: make(chan struct{}, 1), requestSlots: make(chan struct{}, maxRefreshes), largeResponses: make(chan struct{}, 1), queries: map[string]*standingQuery{},
	}, nil
}

// Evaluate returns the values of q at now, in no particular order. They come from memory, or from the server if q is new or Run
// is not running. They belong to q.Namespace and q.Objects; an external metric returns all its results. The time of a value is
// the time of the newest sample behind it: zero if the server has none, the evaluation's if the query cannot return sample times.
// The caller owns the slice, and must not change the labels. While the backend fails, Evaluate returns the last values as long as
// any of them is younger than the rule's MaxAge. Errors are of metric's kinds.
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
	r, err := b.awaitQueryResult(ctx, key, q, now)
	if err != nil {
		return nil, err
	}
	return b.serveCachedResult(q, r, now)
}

// serveCachedResult returns the values of a read from memory, or the error of the last try.
func (b *Backend) serveCachedResult(q rule.Query, r cachedResult, now time.Time) ([]metric.Value, error) {
	var values []metric.Value
	if r.result != nil {
		namespace := q.Namespace
		if !isPartitionedServerResult(q.Rule) {
			namespace = ""
		}
		if fault := r.result.findNamespaceFault(namespace); fault != nil {
			return nil, fault
		}
		objects := q.Objects
		if q.Rule.External {
			objects = nil // its results name no objects: the requested objects became matchers of the query
		}
		values = r.result.selectQueryResultValues(namespace, objects)
	}
	if r.failure != nil {
		if isCachedResultServable(q.Rule, values, now) {
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

// isCachedResultServable reports whether the last values may be served while the backend fails. A single value within maxAge is enough. An
// external metric adds its series up, and so needs all within maxAge.
func isCachedResultServable(r *rule.Rule, values []metric.Value, now time.Time) bool {
	old := func(v metric.Value) bool { return v.Age(now).Abs() > r.MaxAge }
	if r.External {
		return len(values) > 0 && !slices.ContainsFunc(values, old)
	}
	return slices.ContainsFunc(values, func(v metric.Value) bool { return !old(v) })
}

// newBackendError returns the error of a read that has no value to serve.
func (b *Backend) newBackendError(q rule.Query, r cachedResult, now time.Time) error {
	f := r.failure
	if f.chooseErrorKind() == metric.KindInternal {
		return metric.Errorf(metric.KindInternal, "rule %q: backend %s: %s", q.Rule.Name, b.name, f.text)
	}
	last := "no answer yet"
	if r.result != nil {
		last = "last answer " + formatServerTime(r.result.evaluatedAt)
	}
	return metric.Errorf(metric.KindUnavailable, "backend %s: %s, since %s (%s ago); %s",
		b.name, f.text, formatServerTime(f.began), max(0, now.Sub(f.began)).Round(time.Second), last)
}

// getOrAddStandingQuery returns the standing query of key, after counting a read of it at now. A new query may take the place of one that was
// not read for longer. The caller holds b.mu.
func (b *Backend) getOrAddStandingQuery(key string, q rule.Query, now time.Time) (*standingQuery, error) {
	sq := b.queries[key]
	if sq == nil {
		sq = newStandingQuery(key, q, b.seed)
		b.queries[key] = sq
		b.shares.addQueryToShare(sq)
		b.countRefreshedQueries(1)
		b.dropStandingQueriesForMemory(sq.owner)
		b.scheduleQueryRefresh(sq, nextRefreshTime(now, now, b.config.Refresh, sq.offset))
	}
	if _, known := sq.lastRequested[q.Namespace]; !known && len(sq.lastRequested) >= maxQueryNamespaces {
		return nil, metric.Errorf(metric.KindUnavailable,
			"backend %s: rule %q: the limit of %d namespaces is reached", b.name, q.Rule.Name, maxQueryNamespaces)
	}
	sq.lastRequested[q.Namespace] = now
	b.shares.markQueryRead(sq)
	return sq, nil
}

// dropStandingQueriesForMemory removes queries until the bounds hold again, after a new query or result of a namespace. The caller holds b.mu.
func (b *Backend) dropStandingQueriesForMemory(owner string) {
	for old := b.shares.findQueryToDrop(owner); old != nil; old = b.shares.findQueryToDrop(owner) {
		b.metrics.droppedQueries.WithLabelValues(b.name).Inc()
		b.removeStandingQuery(old)
	}
}

// fetchQueryResult queries the servers at now, within a scope.
func (b *Backend) fetchQueryResult(ctx context.Context, sq *standingQuery, s namespaceScope, now time.Time) (*queryResult, *backendRequestFailure) {
	var namespaces []string
	if !s.allNamespaces {
		namespaces = slices.Sorted(maps.Keys(s.namespaces))
	}
	t, err := sq.query.BuildRemoteQuery(namespaces)
	if err != nil {
		return nil, newRequestFailuref(outcomeBadResult, "%v", err)
	}
	turn := &largeResponseTurn{places: b.largeResponses}
	defer turn.endLargeResponseTurn()
	r, f := b.sendInstantQuery(ctx, addSampleTimesQuery(t), now, turn)
	if f != nil {
		return nil, f
	}
	if f := b.rejectPartialResponse(ctx, sq, r); f != nil {
		return nil, f
	}
	return serverResultJoin{query: sq.query, text: t, scope: s, evaluatedAt: now}.joinQueryResultSamples(r.samples)
}

// sendInstantQuery sends an instant query for time now.
func (b *Backend) sendInstantQuery(ctx context.Context, expr string, now time.Time, turn *largeResponseTurn) (*queryResponse, *backendRequestFailure) {
	timeout := b.config.Timeout + serverTimeoutGrace
	form := url.Values{
		"query":   {expr},
		"time":    {formatEpochSeconds(now)},
		"timeout": {model.Duration(b.config.Timeout).String()},
		// Without it VictoriaMetrics evaluates half a minute in the past. Other servers ignore it.
		"nocache": {"1"},
	}
	var r *queryResponse
	f := b.client.sendWithFailover(ctx, serverRequest{
		path: "query", method: b.config.Method, form: form, timeout: timeout,
		readResponse: func(ctx context.Context, resp *http.Response, timer *requestTimer) (f *backendRequestFailure) {
			if r, f = readQueryResponse(ctx, resp, b.config.MaxResponseBytes, turn, timer); f != nil {
				turn.endLargeResponseTurn() // the next server may take its time
			}
			return f
		},
	})
	return r, f
}

// formatEpochSeconds formats a time for the API, to the millisecond.
func formatEpochSeconds(t time.Time) string {
	return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64)
}

// rejectPartialResponse returns a failure for a response that may be incomplete, unless the configuration accepts it.
func (b *Backend) rejectPartialResponse(ctx context.Context, sq *standingQuery, r *queryResponse) *backendRequestFailure {
	if len(r.infos) > 0 {
		b.metrics.infos.WithLabelValues(b.name).Inc()
	}
	if len(r.warnings) > 0 {
		b.metrics.partialResponses.WithLabelValues(b.name).Inc()
		if !b.config.AcceptPartial {
			return newServerWarningFailure(r.warnings)
		}
	}
	if notices := slices.Concat(r.warnings, r.infos); len(notices) > 0 {
		b.logServerNotice(ctx, sq, notices[0])
	}
	return nil
}

// newServerWarningFailure returns the failure for warnings. Those of PromQL are about the rule or its series: all series were there.
func newServerWarningFailure(warnings []string) *backendRequestFailure {
	isOfStorage := func(w string) bool { return !strings.HasPrefix(w, "PromQL warning:") }
	if i := slices.IndexFunc(warnings, isOfStorage); i >= 0 {
		return newRequestFailuref(outcomePartial, "partial response: %s", clipServerText(warnings[i]))
	}
	return newRequestFailuref(outcomeBadResult, "%s", clipServerText(warnings[0]))
}

// logServerNotice logs a notice of a server about a query, once for each query.
func (b *Backend) logServerNotice(ctx context.Context, sq *standingQuery, text string) {
	b.mu.Lock()
	logged := sq.noticeLogged
	sq.noticeLogged = true
	b.mu.Unlock()
	if !logged {
		klog.FromContext(ctx).V(1).Info("Backend sent a notice about a query", "backend", b.name, "rule", sq.query.Rule.Name, "message", clipServerText(text))
	}
}
