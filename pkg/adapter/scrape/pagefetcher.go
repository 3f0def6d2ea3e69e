// One page over HTTP: by name or whole, and with redirects.

package scrape

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/exposition"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/scrape/http1"
	"github.com/tachometer-metrics/tachometer/pkg/fieldlimit"
)

// The fetcher: one page of a target over HTTP, with the families by name or whole, into the target's parser.

const (
	// namesRetry is how long the scraper asks a target for whole pages after it rejected family names. A restart with a newer
	// library is a new pod and so a new target: the bound is for a proxy in front of it.
	namesRetry = 10 * time.Minute
	// wholeRetry is how long the scraper asks a target for families only, after it rejected both kinds of request: the
	// target is ill, and a second request does not help.
	wholeRetry = time.Minute
	// maxDrainedBytes bounds the bytes read of a response with an error status: a body read to its end leaves the
	// connection usable.
	maxDrainedBytes = 8 << 10
	// maxConnIdle is how long a connection may wait for its next request.
	maxConnIdle = 90 * time.Second
	// readBufferSize is the size of a buffer for a body that net/http reads.
	readBufferSize = 8 << 10
)

// pageFetcher gets pages over HTTP: plain HTTP by package http1, https by net/http. It uses no proxy, and follows a redirect
// only to the same scheme, host and port.
type pageFetcher struct {
	clock       *SampleClock
	client      http1.Client
	transport   *http.Transport
	readBuffers sync.Pool // of *[]byte: for bodies that net/http reads
}

func newPageFetcher(opts Options) *pageFetcher {
	dial := opts.DialContext
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	f := &pageFetcher{clock: opts.Clock, client: http1.Client{DialContext: dial, MaxConnIdle: maxConnIdle, MaxHeaderBytes: fieldlimit.MaxResponseHeaderBytes}}
	f.readBuffers.New = func() any {
		b := make([]byte, readBufferSize)
		return &b
	}
	f.transport = &http.Transport{
		DialContext: dial,
		// As the kubelet for its probes: no certificate names a pod's address, and a page by plain HTTP is verified no more.
		TLSClientConfig:     &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // see above
		MaxIdleConnsPerHost: 1,                                     // one connection a target, kept between scrapes
		IdleConnTimeout:     maxConnIdle,
		// Buffers that fit a request and a page by family: with the default of 4 KiB each, 10,000 targets
		// would hold 80 MB in them.
		ReadBufferSize:  2 << 10,
		WriteBufferSize: 1 << 10,
		// Compression saves little of a small page, costs both sides CPU, and is a way to make a
		// scraper inflate 16 MiB out of 16 KiB. The scraper does not ask for it, and rejects a compressed page.
		DisableCompression:     true,
		MaxResponseHeaderBytes: fieldlimit.MaxResponseHeaderBytes,
	}
	return f
}

func (f *pageFetcher) closeIdleConns() { f.transport.CloseIdleConnections() }

// fetchTargetPage gets one page of a target and has the target's parser read it. It follows redirects on the same host, and looks for
// absent families under their names without dots. It returns the number of bytes read of the body.
func (f *pageFetcher) fetchTargetPage(ctx context.Context, l *scrapeLoop, e *scrapedEndpoint, page exposition.PageOptions) (exposition.ParsedPage, int64, error) {
	if e.urlErr != nil {
		return exposition.ParsedPage{}, 0, e.urlErr
	}
	if len(e.families.Names()) == 0 { // no families wanted: an empty page ends the series of the last page
		page.Now = f.clock.Now()
		r, err := l.parser.Parse(page, nil)
		return r, 0, err
	}
	now := time.Now()
	r, n, err := f.fetchNamedOrWholePage(ctx, l, e, page, now)
	for range maxRedirects {
		if !e.followTargetRedirect(err) {
			break
		}
		r, n, err = f.fetchNamedOrWholePage(ctx, l, e, page, now)
	}
	if err == nil && f.revealHiddenFamilies(ctx, l, e, page, r, now) {
		return f.fetchRevealedPage(ctx, l, e, page, r)
	}
	if isTargetErrorStatus(err) {
		e.forgetTargetRedirect()
	}
	return r, n, err
}

// fetchNamedOrWholePage gets the families by name, or the whole page. If the target rejects family names, it asks for the whole page
// at once, and so do later calls for namesRetry.
func (f *pageFetcher) fetchNamedOrWholePage(ctx context.Context, l *scrapeLoop, e *scrapedEndpoint, page exposition.PageOptions, now time.Time) (exposition.ParsedPage, int64, error) {
	if e.requestsWholePage(now) {
		return f.requestTargetPage(ctx, l, e, e.getWholePageRequest(), l.parser, page)
	}
	r, n, err := f.requestTargetPage(ctx, l, e, e.namedRequest, l.parser, page)
	if err == nil || now.Before(e.namedUntil) || !isTargetErrorStatus(err) {
		return r, n, err
	}
	r, n, err = f.requestTargetPage(ctx, l, e, e.getWholePageRequest(), l.parser, page)
	var unfit *exposition.Error
	if err == nil || errors.As(err, &unfit) {
		e.wholeUntil = now.Add(namesRetry)
	} else {
		e.namedUntil = now.Add(wholeRetry)
	}
	return r, n, err
}

// isTargetErrorStatus reports whether err is a response with a status of 400 or more.
func isTargetErrorStatus(err error) bool {
	var status *statusError
	return errors.As(err, &status) && status.code >= 400
}

// requestTargetPage makes one request and has the parser p read the page.
func (f *pageFetcher) requestTargetPage(ctx context.Context, l *scrapeLoop, e *scrapedEndpoint, q requestTemplate, p *exposition.Parser, page exposition.PageOptions) (exposition.ParsedPage, int64, error) {
	if q.raw == nil {
		return f.fetchPageByNetHTTP(ctx, l, q.netHTTP, p, page)
	}
	resp, err := f.client.Get(ctx, &l.conn, &l.inflight, e.dialAddress, q.raw, time.Now())
	if err != nil {
		return exposition.ParsedPage{}, 0, err
	}
	defer resp.Close()
	return f.parseResponsePage(resp, p, page)
}

func (f *pageFetcher) fetchPageByNetHTTP(ctx context.Context, l *scrapeLoop, template *http.Request, p *exposition.Parser, page exposition.PageOptions) (exposition.ParsedPage, int64, error) {
	ctx, release := l.inflight.DeriveContext(ctx)
	defer release()
	// The transport alone, without a Client around it: no redirects, no cookies, fewer allocations.
	got, err := f.transport.RoundTrip(template.WithContext(ctx)) //nolint:bodyclose // resp.Close closes the body
	if err != nil {
		return exposition.ParsedPage{}, 0, err
	}
	buffer := f.readBuffers.Get().(*[]byte)
	defer f.readBuffers.Put(buffer)
	resp := http1.NewResponse(got, *buffer)
	defer resp.Close()
	resp.Answered = time.Now()
	return f.parseResponsePage(resp, p, page)
}

// parseResponsePage has p read the page in a response. It returns the number of bytes read of the body.
//
// The time of the page is the time of the first byte of the response: a target reads its counters just before it writes them. A
// busy target lets the request wait before that, so that the start of the scrape would be too early by another time on
// every scrape, as would be the middle. A target that always takes long to read its counters is always as late: its rates are
// right.
func (f *pageFetcher) parseResponsePage(resp *http1.Response, p *exposition.Parser, page exposition.PageOptions) (r exposition.ParsedPage, n int64, err error) {
	if resp.Status != http.StatusOK {
		wantsTLS := drainPageBody(resp) && resp.Status == http.StatusBadRequest
		return r, 0, newTargetStatusError(resp.Status, resp.Location, wantsTLS)
	}
	if page.Format, err = exposition.DetectFormat(resp.ContentType, resp.ContentEncoding); err != nil {
		return r, 0, err
	}
	if err := page.CheckSize(resp.Length); err != nil {
		return r, 0, err
	}
	page.Complete = resp.Delimited
	page.Now = f.clock.clockTimeAt(resp.Answered)
	p.BeginPage(page)
	if n, err = copyPageBody(p, resp); err == nil && resp.IsCut() {
		err = &exposition.Error{Kind: exposition.KindTruncated, Detail: "truncated page: its Content-Length is less than its bytes"}
	}
	if err != nil {
		p.AbandonPage()
		return r, n, err
	}
	r, err = p.EndPage()
	return r, n, err
}

// drainPageBody reads the rest of a body, at most maxDrainedBytes. It reports whether the body mentions HTTPS, as servers of TLS do
// in their answer to plain HTTP.
func drainPageBody(resp *http1.Response) (mentionsHTTPS bool) {
	for n := 0; n < maxDrainedBytes; {
		piece, err := resp.NextPiece()
		if err != nil {
			break
		}
		n += len(piece)
		mentionsHTTPS = mentionsHTTPS || bytes.Contains(piece, []byte("HTTPS"))
	}
	return mentionsHTTPS
}

// copyPageBody writes a body into a parser and returns the number of bytes read.
func copyPageBody(parser io.Writer, resp *http1.Response) (n int64, err error) {
	for {
		piece, err := resp.NextPiece()
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return n, &exposition.Error{Kind: exposition.KindTruncated, Detail: "truncated page"}
		}
		if err != nil {
			return n, fmt.Errorf("read page: %w", err)
		}
		n += int64(len(piece))
		if _, err := parser.Write(piece); err != nil {
			return n, err
		}
	}
}
