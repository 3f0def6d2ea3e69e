// Package load sends HTTP requests at a known rate that does not depend on the response times (open loop).
package load

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Options configure a Generator. Targets and Rate are required.
type Options struct {
	// Targets returns the URLs; requests go to each in turn. One goroutine calls it for every request, so it should return a slice
	// that its owner keeps current. The Generator does not change the slice.
	Targets func() []string
	// Rate returns the offered requests per second at t. One goroutine calls it every few milliseconds. Negative means zero.
	Rate func(t time.Time) float64
	// MaxInFlight bounds the requests that wait for a response; 0: 512. A due request above the bound is not sent, and counted as
	// Unsent: the offered rate was then less than Rate.
	MaxInFlight int
	// Timeout bounds one request; 0: 10 s.
	Timeout time.Duration
	// NewConnections opens a connection for every request, which spreads requests over the pods behind a Service. By default
	// connections are kept alive.
	NewConnections bool
}

// Count counts the outcomes of the requests to one URL. Sent = OK + Failed + the requests in flight.
type Count struct {
	// Sent counts the started requests.
	Sent int
	// OK counts the requests with a complete 2xx response.
	OK int
	// Failed counts all other finished requests; Causes has the reasons, by status code or error.
	Failed int
	Causes map[string]int
	// Resent counts the requests that net/http sent again by itself, because the server closed a kept-alive connection at the moment
	// of its use. Such a request may be OK; a client without retries would have lost it.
	Resent int
}

func (c Count) cloneCount() Count {
	causes := make(map[string]int, len(c.Causes))
	for k, v := range c.Causes {
		causes[k] = v
	}
	c.Causes = causes
	return c
}

// Result is the state of a Generator's counts.
type Result struct {
	// URLs has the counts of every URL with at least one request.
	URLs map[string]Count
	// Unsent counts the due requests that were not sent, for lack of a target or because of MaxInFlight.
	Unsent int
}

// Total returns the sum over all URLs.
func (r Result) Total() Count {
	total := Count{Causes: map[string]int{}}
	for _, c := range r.URLs {
		total.Sent += c.Sent
		total.OK += c.OK
		total.Failed += c.Failed
		total.Resent += c.Resent
		for cause, n := range c.Causes {
			total.Causes[cause] += n
		}
	}
	return total
}

// Run sends until ctx ends, waits for the responses, and returns the counts.
func Run(ctx context.Context, opts Options) Result {
	g := New(opts)
	g.Run(ctx)
	return g.Result()
}

// Generator sends requests; Result may be called while it runs.
type Generator struct {
	opts   Options
	client *http.Client
	slots  chan struct{}

	mu   sync.Mutex // guards the fields below
	urls map[string]*Count
	lost int
}

// New returns a stopped Generator.
func New(opts Options) *Generator {
	if opts.MaxInFlight <= 0 {
		opts.MaxInFlight = 512
	}
	if opts.Timeout <= 0 {
		opts.Timeout = 10 * time.Second
	}
	transport := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: opts.Timeout}).DialContext,
		MaxIdleConnsPerHost: opts.MaxInFlight,
		IdleConnTimeout:     30 * time.Second,
		DisableKeepAlives:   opts.NewConnections,
	}
	return &Generator{
		opts: opts,
		// A redirect counts as a response other than 2xx: following it would send an uncounted request.
		client: &http.Client{Transport: transport, Timeout: opts.Timeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		slots: make(chan struct{}, opts.MaxInFlight),
		urls:  map[string]*Count{},
	}
}

// Result returns a copy of the counts so far. It may be called at any time, concurrently.
func (g *Generator) Result() Result {
	g.mu.Lock()
	defer g.mu.Unlock()
	urls := make(map[string]Count, len(g.urls))
	for url, c := range g.urls {
		urls[url] = c.cloneCount()
	}
	return Result{URLs: urls, Unsent: g.lost}
}

// Run sends until ctx ends and returns after the last response or timeout. The end of ctx does not cancel requests in flight: they
// were sent, so their outcomes count.
func (g *Generator) Run(ctx context.Context) {
	defer g.client.CloseIdleConnections()
	var pending sync.WaitGroup
	defer pending.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	p := newLoadPace(time.Now())
	for turn := 0; ctx.Err() == nil; {
		select {
		case <-ctx.Done():
			continue
		case <-timer.C:
		}
		now := time.Now()
		due, wait := p.advanceLoadPace(now, g.opts.Rate(now))
		for range due {
			g.sendLoadRequest(ctx, &pending, turn)
			turn++
		}
		timer.Reset(wait)
	}
}

// sendLoadRequest starts one request, without waiting for a slot or a response.
func (g *Generator) sendLoadRequest(ctx context.Context, pending *sync.WaitGroup, turn int) {
	targets := g.opts.Targets()
	if len(targets) == 0 {
		g.updateLoadCount(func() { g.lost++ })
		return
	}
	select {
	case g.slots <- struct{}{}:
	default:
		g.updateLoadCount(func() { g.lost++ })
		return
	}
	url := targets[turn%len(targets)]
	g.updateLoadCount(func() { g.loadCountOf(url).Sent++ })
	ctx = context.WithoutCancel(ctx)
	pending.Go(func() {
		defer func() { <-g.slots }()
		cause, resent := g.doLoadRequest(ctx, url)
		g.updateLoadCount(func() {
			c := g.loadCountOf(url)
			c.Resent += resent
			if cause == "" {
				c.OK++
				return
			}
			c.Failed++
			c.Causes[cause]++
		})
	})
}

func (g *Generator) updateLoadCount(change func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change()
}

// loadCountOf returns the count of url. The caller holds g.mu.
func (g *Generator) loadCountOf(url string) *Count {
	c, ok := g.urls[url]
	if !ok {
		c = &Count{Causes: map[string]int{}}
		g.urls[url] = c
	}
	return c
}

// doLoadRequest returns the reason of a failed request, or "", and how often net/http sent the request again.
func (g *Generator) doLoadRequest(ctx context.Context, url string) (failure string, resent int) {
	resent = -1
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { resent++ }})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "bad URL", 0
	}
	resp, err := g.client.Do(req)
	if err != nil {
		return innermostLoadError(err), max(resent, 0)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return innermostLoadError(err), resent
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return strconv.Itoa(resp.StatusCode), resent
	}
	return "", resent
}

// innermostLoadError returns the innermost words of err, without addresses: few kinds, which can be counted.
func innermostLoadError(err error) string {
	text := err.Error()
	if i := strings.LastIndex(text, ": "); i >= 0 {
		text = text[i+2:]
	}
	return text
}
