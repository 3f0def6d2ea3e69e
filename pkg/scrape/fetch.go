package scrape

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"tachometer/pkg/exposition"
)

const (
	// namesRetry is how long a target that refuses to be asked for families is asked for whole pages. A
	// restart with a newer library is a new pod, and so a new target: this is for what stands before it.
	namesRetry = 10 * time.Minute
	// wholeRetry is how long a target that refused both is asked for families only: it is ill, and asking
	// twice does not help.
	wholeRetry = time.Minute
	// readSize is the size of the pieces in which a page is read; pages by family fit into one.
	readSize = 8 << 10
)

// fetcher gets pages over HTTP. It follows no redirect and uses no proxy.
type fetcher struct {
	transport *http.Transport
	buffers   sync.Pool
}

func newFetcher(opts Options) *fetcher {
	dial := opts.DialContext
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	return &fetcher{
		transport: &http.Transport{
			DialContext:     dial,
			TLSClientConfig: opts.TLS,
			// One connection a target, kept between scrapes, with buffers that fit a request and a page by
			// family: with the default of 4 KiB each, 10,000 targets would hold 80 MB in them.
			MaxIdleConnsPerHost: 1,
			IdleConnTimeout:     90 * time.Second,
			ReadBufferSize:      2 << 10,
			WriteBufferSize:     1 << 10,
			// Compression saves little of a small page, costs both sides CPU, and is a way to make a
			// scraper inflate 16 MiB out of 16 KiB. It is not asked for; who sends it is refused.
			DisableCompression:     true,
			MaxResponseHeaderBytes: 64 << 10,
		},
		buffers: sync.Pool{New: func() any { b := make([]byte, readSize); return &b }},
	}
}

func (f *fetcher) close() { f.transport.CloseIdleConnections() }

// endpoint is where and how to ask one target for some families. It is used by one scrape at a time.
type endpoint struct {
	url      string
	shown    string // the URL for logs: without user and query, which may hold secrets
	families *exposition.Families
	err      error // the URL is no URL

	named, whole *http.Request // templates: the page of the families; the whole page, made when needed
	wholeUntil   time.Time     // asked for whole pages until then
	namedUntil   time.Time     // not asked for whole pages until then
}

var header = http.Header{
	"Accept":     {exposition.Accept},
	"User-Agent": {"tachometer"},
}

func newEndpoint(address string, families *exposition.Families) *endpoint {
	e := &endpoint{url: address, families: families, shown: "invalid"}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		e.err = errInvalidURL
		return e
	}
	e.shown = u.Scheme + "://" + u.Host + u.Path
	named := *u
	named.RawQuery = withNames(u.RawQuery, families.Names())
	e.named = request(&named)
	return e
}

// with returns an endpoint for another URL or other families that remembers how the target likes to be asked.
func (e *endpoint) with(address string, families *exposition.Families) *endpoint {
	n := newEndpoint(address, families)
	n.wholeUntil, n.namedUntil = e.wholeUntil, e.namedUntil
	return n
}

func request(u *url.URL) *http.Request {
	return &http.Request{
		Method: http.MethodGet, URL: u, Host: u.Host, Header: header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
}

// wholePage returns the request without names.
func (e *endpoint) wholePage() *http.Request {
	if e.whole == nil {
		u, _ := url.Parse(e.url) // newEndpoint parsed it
		e.whole = request(u)
	}
	return e.whole
}

// withNames adds to a query the names that a target may know the families' samples under. client_golang wants the
// family's name, Python's client those of the samples; names that do not exist are ignored by both. The
// samples of FAMILY_sum and FAMILY_count may be those of a histogram or summary FAMILY.
func withNames(query string, families []string) string {
	var b strings.Builder
	b.WriteString(query)
	name := func(s string) {
		if b.Len() > 0 {
			b.WriteByte('&')
		}
		b.WriteString("name%5B%5D=")
		b.WriteString(url.QueryEscape(s))
	}
	for _, f := range families {
		name(f)
		if strings.HasSuffix(f, "_total") {
			continue // a counter, beyond doubt
		}
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if base, ok := strings.CutSuffix(f, suffix); ok {
				name(base)
			} else {
				name(f + suffix)
			}
		}
	}
	return b.String()
}

// fetch gets one page of a target and has it read by p. Where the target refuses to be asked for families, it
// is asked for the whole page at once, and from then on.
func (f *fetcher) fetch(ctx context.Context, e *endpoint, p *exposition.Parser, page exposition.Page) (exposition.Result, int64, error) {
	if e.err != nil {
		return exposition.Result{}, 0, e.err
	}
	if len(e.families.Names()) == 0 { // nothing is wanted: no need to ask, and what it had has gone
		r, err := p.Parse(page, nil)
		return r, 0, err
	}
	if page.Now.Before(e.wholeUntil) {
		return f.get(ctx, e.wholePage(), p, page)
	}
	r, n, err := f.get(ctx, e.named, p, page)
	var refused *statusError
	if !errors.As(err, &refused) || refused.code < 400 || page.Now.Before(e.namedUntil) {
		return r, n, err
	}
	r, n, err = f.get(ctx, e.wholePage(), p, page)
	var unfit *exposition.Error
	if err == nil || errors.As(err, &unfit) {
		e.wholeUntil = page.Now.Add(namesRetry)
	} else {
		e.namedUntil = page.Now.Add(wholeRetry)
	}
	return r, n, err
}

// get makes one request. The number is that of bytes read of the body.
func (f *fetcher) get(ctx context.Context, template *http.Request, p *exposition.Parser, page exposition.Page) (exposition.Result, int64, error) {
	// The transport alone, without a Client around it: no redirects, no cookies, fewer allocations.
	resp, err := f.transport.RoundTrip(template.WithContext(ctx))
	if err != nil {
		return exposition.Result{}, 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		_, _ = io.CopyN(io.Discard, resp.Body, readSize) // a short answer read to its end leaves the connection usable
		return exposition.Result{}, 0, newStatusError(resp)
	}
	if page.Format, err = exposition.FormatOf(resp.Header.Get("Content-Type"), resp.Header.Get("Content-Encoding")); err != nil {
		return exposition.Result{}, 0, err
	}
	if err := page.CheckSize(resp.ContentLength); err != nil {
		return exposition.Result{}, 0, err
	}
	p.Begin(page)
	n, err := f.copy(p, resp.Body)
	if err != nil {
		p.Abandon()
		return exposition.Result{}, n, err
	}
	r, err := p.End()
	return r, n, err
}

// copy has p read a body, piece by piece: whatever the size of a page, it costs one small buffer.
func (f *fetcher) copy(p *exposition.Parser, body io.Reader) (n int64, err error) {
	buffer := f.buffers.Get().(*[]byte)
	defer f.buffers.Put(buffer)
	for {
		read, err := body.Read(*buffer)
		n += int64(read)
		if read > 0 {
			if _, err := p.Write((*buffer)[:read]); err != nil {
				return n, err
			}
		}
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if errors.Is(err, io.ErrUnexpectedEOF) { // fewer bytes than the response's own framing says
			return n, &exposition.Error{Kind: exposition.KindTruncated, Detail: "truncated page"}
		}
		if err != nil {
			return n, fmt.Errorf("read page: %w", err)
		}
	}
}
