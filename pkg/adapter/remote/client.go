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
	"github.com/tachometer-metrics/tachometer/pkg/version"
)

// client puts questions to the servers of a backend.
type client struct {
	name    string
	method  string
	refresh time.Duration
	http    *http.Client
	servers []*server // in the order of preference
	metrics *Metrics
}

func newClient(b config.Backend, transport http.RoundTripper, metrics *Metrics) (*client, error) {
	if transport == nil {
		var err error
		transport, err = promconfig.NewRoundTripperFromConfig(b.HTTP, "backend_"+b.Name,
			promconfig.WithUserAgent("tachometer/"+version.String()))
		if err != nil {
			return nil, fmt.Errorf("configure the HTTP client of backend %q: %w", b.Name, err)
		}
	}
	c := &client{name: b.Name, method: b.Method, refresh: b.Refresh, metrics: metrics}
	c.http = &http.Client{Transport: transport, CheckRedirect: redirects(b.HTTP.FollowRedirects)}
	for _, address := range append([]string{b.URL}, b.Failover...) {
		s, err := newServer(address)
		if err != nil {
			return nil, err
		}
		c.servers = append(c.servers, s)
	}
	return c, nil
}

// redirects follows a redirect only to the same host and only if the question stays what it is. Credentials are for one
// host, and headers among them (a tenant, a key) would go along; a POST that becomes a GET loses its form.
func redirects(follow bool) func(*http.Request, []*http.Request) error {
	const most = 3
	return func(req *http.Request, via []*http.Request) error {
		first := via[0]
		same := req.URL.Scheme == first.URL.Scheme && req.URL.Host == first.URL.Host && req.Method == first.Method
		if !follow || !same || len(via) > most {
			return http.ErrUseLastResponse
		}
		return nil
	}
}

// request is a question in the words of HTTP.
type request struct {
	path     string // below /api/v1
	method   string
	form     url.Values
	patience time.Duration // for one server
	// read takes the answer of a server: status 200, any body.
	read func(*http.Response) *fault
}

// ask puts a question to the first server that answers it.
func (c *client) ask(ctx context.Context, r request) *fault {
	var faults []*fault
	for _, s := range c.servers {
		f := c.try(ctx, s, r)
		if f == nil || !f.elsewhere() {
			return f
		}
		faults = append(faults, f)
	}
	return c.allOf(faults)
}

// allOf is what the faults of all servers come to.
func (c *client) allOf(faults []*fault) *fault {
	all := *faults[0]
	if len(faults) == 1 {
		return &all
	}
	var texts []string
	for i, f := range faults {
		texts = append(texts, c.servers[i].shown+": "+f.text)
		all.whole = all.whole && f.whole
		all.retryAfter = min(all.retryAfter, f.retryAfter)
		if f.outcome != skipped {
			all.outcome = f.outcome // somebody was asked
		}
		all.since = earlier(all.since, f.since)
	}
	all.text = strings.Join(texts, "; ")
	return &all
}

// try puts a question to one server, unless that is left alone.
func (c *client) try(ctx context.Context, s *server, r request) *fault {
	began := time.Now()
	if f := s.enter(began); f != nil {
		return f
	}
	f := c.send(ctx, s, r)
	if f != nil && ctx.Err() != nil {
		f = faultf(cancelled, "%v", ctx.Err())
	}
	now := time.Now()
	c.metrics.asked(c.name, f, now.Sub(began))
	was, is := s.leave(now, f, c.refresh)
	if was != is && len(c.servers) > 1 {
		c.log(ctx, s, f)
	}
	return f
}

// log tells that one of several servers went or came back.
func (c *client) log(ctx context.Context, s *server, f *fault) {
	log := klog.FromContext(ctx).WithValues("backend", c.name, "url", s.shown)
	if f == nil {
		log.Info("Server of a backend is back")
		return
	}
	log.Info("Server of a backend is down", "err", f.text)
}

func (c *client) send(ctx context.Context, s *server, r request) *fault {
	ctx, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	var connecting atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { connecting.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { connecting.Store(false) },
	})
	req, err := s.request(ctx, r.method, r.path, r.form)
	if err != nil {
		return faultf(otherFault, "no request can be made for this url")
	}
	req.Header.Set("Accept", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		f := causeOf(err, r.patience)
		if f.outcome == timedOut && connecting.Load() {
			f = &fault{outcome: timedOut, text: fmt.Sprintf("no connection within %v", r.patience), whole: true}
		}
		return f
	}
	defer resp.Body.Close()
	if f := statusFault(resp, time.Now()); f != nil {
		return f
	}
	return r.read(resp)
}

// earlier is the earlier of two times, of which the zero time is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
