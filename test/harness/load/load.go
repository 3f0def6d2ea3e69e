// Package load sends HTTP requests at a known rate that does not depend on how fast they are answered (open loop).
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

// Options say what to send. Targets and Rate are required.
type Options struct {
	// Targets returns the URLs to send to, each in its turn. It is called for every request, from one goroutine,
	// so it should return a slice that its caller keeps current; the slice is not changed.
	Targets func() []string
	// Rate returns how many requests per second are offered at t. It is called every few milliseconds, from one
	// goroutine. Negative is zero.
	Rate func(t time.Time) float64
	// MaxInFlight bounds the requests that wait for their answer; 0: 512. A request that is due above it is not
	// sent, and counted as Unsent: the offered rate was then less than Rate said.
	MaxInFlight int
	// Timeout bounds one request; 0: 10 s.
	Timeout time.Duration
	// NewConnections opens a connection for every request, which is what spreads requests over the pods behind a
	// Service. Otherwise connections are kept alive.
	NewConnections bool
	// Method is GET if empty. Requests have no body.
	Method string
}

// Count is what became of the requests to one URL. Sent = OK + Failed + those still waiting.
type Count struct {
	// Sent requests were begun.
	Sent int
	// OK requests were answered whole, with a 2xx status.
	OK int
	// Failed requests were answered otherwise, or not at all; Causes says why, by status code or error.
	Failed int
	Causes map[string]int
	// Resent is how often net/http sent a request again by itself, because a kept-alive connection was closed just
	// as it was used. Such a request may well be OK; a client without that patience would have lost it.
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

// Result is what a Generator has done so far.
type Result struct {
	// URLs has the counts of every URL that was sent to.
	URLs map[string]Count
	// Unsent is how many requests were due but not sent, for lack of a target or because of MaxInFlight.
	Unsent int
}

// Total returns the counts of all URLs together.
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

// Run sends until ctx ends, waits for the answers, and returns the counts.
func Run(ctx context.Context, opts Options) Result {
	g := New(opts)
	g.Run(ctx)
	return g.Result()
}

// Generator sends requests; Result may be read while it runs.
type Generator struct {
	opts   Options
	client *http.Client
	slots  chan struct{}

	mu   sync.Mutex // guards what follows
	urls map[string]*Count
	lost int
}

// New returns a generator that Run starts.
func New(opts Options) *Generator {
	if opts.MaxInFlight <= 0 {
		opts.MaxInFlight = 512
	}
	if opts.Timeout <= 0 {
		opts.Timeout = 10 * time.Second
	}
	if opts.Method == "" {
		opts.Method = http.MethodGet
	}
	transport := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: opts.Timeout}).DialContext,
		MaxIdleConnsPerHost: opts.MaxInFlight,
		IdleConnTimeout:     30 * time.Second,
		DisableKeepAlives:   opts.NewConnections,
	}
	return &Generator{
		opts: opts,
		// A redirect is an answer that is not 2xx: following it would be a request that no count knows.
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

// Run sends until ctx ends and returns when every request has been answered or has timed out. Requests under way
// are not cut off by the end of ctx: they were sent, so what becomes of them counts.
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

// sendLoadRequest begins one request, without waiting for a slot or an answer.
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

// loadCountOf returns url's count; g.mu is held.
func (g *Generator) loadCountOf(url string) *Count {
	c, ok := g.urls[url]
	if !ok {
		c = &Count{Causes: map[string]int{}}
		g.urls[url] = c
	}
	return c
}

// doLoadRequest returns why the request failed, or "", and how often net/http sent it again.
func (g *Generator) doLoadRequest(ctx context.Context, url string) (failure string, resent int) {
	resent = -1
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { resent++ }})
	req, err := http.NewRequestWithContext(ctx, g.opts.Method, url, nil)
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

// innermostLoadError returns the innermost words of err, without addresses: few kinds, so that they can be counted.
func innermostLoadError(err error) string {
	text := err.Error()
	if i := strings.LastIndex(text, ": "); i >= 0 {
		text = text[i+2:]
	}
	return text
}
