// The HTTP client of a backend: it sends a request to the preferred server, and after a failure to the next.

package remote

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	promconfig "github.com/prometheus/common/config"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
	"github.com/tachometer-metrics/tachometer/pkg/protocolswitch"
	"github.com/tachometer-metrics/tachometer/pkg/version"
)

// backendClient sends requests to the servers of a backend.
type backendClient struct {
	name    string
	method  string
	refresh time.Duration
	http    *http.Client
	servers []*backendServer // in the order of preference
	metrics *Metrics
}

func newBackendClient(b config.Backend, transport http.RoundTripper, metrics *Metrics) (*backendClient, error) {
	if transport == nil {
		var err error
		if transport, err = NewTransport(b); err != nil {
			return nil, err
		}
		transport = promconfig.NewUserAgentRoundTripper("tachometer/"+version.String(), transport)
	}
	c := &backendClient{name: b.Name, method: b.Method, refresh: b.Refresh, metrics: metrics}
	c.http = &http.Client{Transport: protocolswitch.Reject(transport), CheckRedirect: newRedirectPolicy(b.HTTP.FollowRedirects)}
	for _, address := range append([]string{b.URL}, b.Failover...) {
		s, err := newBackendServer(address)
		if err != nil {
			return nil, err
		}
		c.servers = append(c.servers, s)
	}
	return c, nil
}

// newRedirectPolicy returns a policy that follows a redirect only to the same host, with the same method. Credentials are for a
// single host, and their headers (a tenant, a key) would follow; a POST that becomes a GET loses its form.
func newRedirectPolicy(follow bool) func(*http.Request, []*http.Request) error {
	const maxRedirects = 3
	return func(req *http.Request, via []*http.Request) error {
		first := via[0]
		same := req.URL.Scheme == first.URL.Scheme && req.URL.Host == first.URL.Host && req.Method == first.Method
		if !follow || !same || len(via) > maxRedirects {
			return http.ErrUseLastResponse
		}
		return nil
	}
}

// serverRequest is a request of the Prometheus API, the same for every server.
type serverRequest struct {
	path    string // below /api/v1
	method  string
	form    url.Values
	timeout time.Duration // for each server
	// readResponse reads a response with status 200 and any body, before the timer ends.
	readResponse func(context.Context, *http.Response, *requestTimer) *backendRequestFailure
}

// sendWithFailover sends a request to the servers in their order, until the first response.
func (c *backendClient) sendWithFailover(ctx context.Context, r serverRequest) *backendRequestFailure {
	var failures []*backendRequestFailure
	for _, s := range c.servers {
		f := c.sendUnlessServerDown(ctx, s, r)
		if f == nil || !f.allowsServerFailover() {
			return f
		}
		failures = append(failures, f)
	}
	return c.mergeServerFailures(failures)
}

// mergeServerFailures merges the failures of all servers, in the order of the servers.
func (c *backendClient) mergeServerFailures(failures []*backendRequestFailure) *backendRequestFailure {
	all := *failures[0]
	if len(failures) == 1 {
		return &all
	}
	var texts []string
	for i, f := range failures {
		u := c.servers[i].base // without its path: HPAs show the text
		texts = append(texts, u.Scheme+"://"+u.Host+": "+f.text)
		all.serverWide = all.serverWide && f.serverWide
		all.retryAfter = min(all.retryAfter, f.retryAfter)
		if f.outcome != outcomeSkipped {
			all.outcome = f.outcome // this server received the request
		}
		all.since = chooseEarlierResultTime(all.since, f.since)
	}
	all.text = strings.Join(texts, "; ")
	return &all
}

// sendUnlessServerDown sends a request to a server. It skips a server that waits for its next try.
func (c *backendClient) sendUnlessServerDown(ctx context.Context, s *backendServer, r serverRequest) *backendRequestFailure {
	start := time.Now()
	if f := s.admitServerRequest(start); f != nil {
		return f
	}
	f := c.sendQueryToServer(ctx, s, r)
	if f != nil && ctx.Err() != nil {
		f = newRequestFailuref(outcomeCancelled, "%v", ctx.Err())
	}
	now := time.Now()
	c.metrics.observeServerRequest(c.name, f, now.Sub(start))
	was, is := s.recordServerOutcome(now, f, c.refresh)
	if was != is && len(c.servers) > 1 {
		c.logServerState(ctx, s, f)
	}
	return f
}

// logServerState logs that one of several servers went down or came back.
func (c *backendClient) logServerState(ctx context.Context, s *backendServer, f *backendRequestFailure) {
	log := klog.FromContext(ctx).WithValues("backend", c.name, "url", s.displayURL)
	if f == nil {
		log.Info("Server of a backend is back")
		return
	}
	log.Info("Server of a backend is down", "reason", f.text)
}

func (c *backendClient) sendQueryToServer(ctx context.Context, s *backendServer, r serverRequest) *backendRequestFailure {
	ctx, timer, cancel := startRequestTimer(ctx, r.timeout)
	defer cancel()
	var connecting atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { connecting.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { connecting.Store(false) },
	})
	req, err := s.newServerRequest(ctx, r.method, r.path, r.form)
	if err != nil {
		return newRequestFailuref(outcomeOther, "the url makes no valid request")
	}
	req.Header.Set("Accept", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		f := classifyBackendTransportError(findBackendErrorCause(ctx, err), r.timeout)
		if f.outcome == outcomeTimeout && connecting.Load() {
			f = &backendRequestFailure{outcome: outcomeTimeout, text: fmt.Sprintf("no connection within %v", r.timeout), serverWide: true}
		}
		return f
	}
	defer resp.Body.Close()
	if f := checkResponseStatus(resp, time.Now()); f != nil {
		return f
	}
	return r.readResponse(ctx, resp, timer)
}

// chooseEarlierResultTime returns the earlier of two times. It ignores a zero time.
func chooseEarlierResultTime(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
