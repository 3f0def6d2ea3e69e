package scrape

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/exposition"
)

const (
	// namesRetry is how long a target that refuses to be asked for families is asked for whole pages. A
	// restart with a newer library is a new pod, and so a new target: this is for what stands before it.
	namesRetry = 10 * time.Minute
	// wholeRetry is how long a target that refused both is asked for families only: it is ill, and asking
	// twice does not help.
	wholeRetry = time.Minute
	// maxDrainedBytes bounds what is read of an answer that is no page: one that is read to its end leaves the
	// connection usable.
	maxDrainedBytes = 8 << 10
	// maxHeaderBytes bounds the status line and the headers of a response.
	maxHeaderBytes = 64 << 10
	// maxConnIdle is how long a connection may wait for its next request.
	maxConnIdle = 90 * time.Second
)

// pageFetcher gets pages over HTTP: of plain HTTP by a reader of its own, the rest by net/http. It follows no redirect and
// uses no proxy.
type pageFetcher struct {
	transport       *http.Transport
	dial            func(ctx context.Context, network, address string) (net.Conn, error)
	responseReaders sync.Pool // of *reply: readers of plain HTTP with a buffer each
	readBuffers     sync.Pool // of *[]byte: what else is read in
}

func newPageFetcher(opts Options) *pageFetcher {
	f := &pageFetcher{dial: opts.DialContext}
	if f.dial == nil {
		f.dial = (&net.Dialer{}).DialContext
	}
	pages := &sync.Pool{New: func() any { return newReadBuffer(largeBufferSize) }}
	f.responseReaders.New = func() any { return &responseReader{smallBuf: *newReadBuffer(smallBufferSize), largeBufs: pages} }
	f.readBuffers.New = func() any { return newReadBuffer(smallBufferSize) }
	f.transport = &http.Transport{
		DialContext:         f.dial,
		TLSClientConfig:     opts.TLS,
		MaxIdleConnsPerHost: 1, // one connection a target, kept between scrapes
		IdleConnTimeout:     maxConnIdle,
		// Buffers that fit a request and a page by family: with the default of 4 KiB each, 10,000 targets
		// would hold 80 MB in them.
		ReadBufferSize:  2 << 10,
		WriteBufferSize: 1 << 10,
		// Compression saves little of a small page, costs both sides CPU, and is a way to make a
		// scraper inflate 16 MiB out of 16 KiB. It is not asked for; who sends it is refused.
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeaderBytes,
	}
	return f
}

func newReadBuffer(size int) *[]byte {
	b := make([]byte, size)
	return &b
}

func (f *pageFetcher) closeIdleConns() { f.transport.CloseIdleConnections() }

// fetchPage gets one page of a target and has it read by the target's parser. Where the target refuses to be asked
// for families, it is asked for the whole page at once, and from then on. The number is that of bytes read of
// the body.
func (f *pageFetcher) fetchPage(ctx context.Context, l *scrapeLoop, e *targetEndpoint, page exposition.PageOptions) (exposition.ParsedPage, int64, error) {
	if e.urlErr != nil {
		return exposition.ParsedPage{}, 0, e.urlErr
	}
	if len(e.families.Names()) == 0 { // nothing is wanted: no need to ask, and what it had has gone
		r, err := l.parser.Parse(page, nil)
		return r, 0, err
	}
	if page.Now.Before(e.wholeUntil) {
		return f.requestPage(ctx, l, e, e.wholePageRequest(), page)
	}
	r, n, err := f.requestPage(ctx, l, e, e.namedRequest, page)
	if err == nil || page.Now.Before(e.namedUntil) || !isErrorStatus(err) {
		return r, n, err
	}
	r, n, err = f.requestPage(ctx, l, e, e.wholePageRequest(), page)
	var unfit *exposition.Error
	if err == nil || errors.As(err, &unfit) {
		e.wholeUntil = page.Now.Add(namesRetry)
	} else {
		e.namedUntil = page.Now.Add(wholeRetry)
	}
	return r, n, err
}

// isErrorStatus reports whether a target answered with an error.
func isErrorStatus(err error) bool {
	var status *statusError
	return errors.As(err, &status) && status.code >= 400
}

func (f *pageFetcher) requestPage(ctx context.Context, l *scrapeLoop, e *targetEndpoint, q requestTemplate, page exposition.PageOptions) (exposition.ParsedPage, int64, error) {
	if q.raw == nil {
		return f.fetchByNetHTTP(ctx, l, q.netHTTP, page)
	}
	for {
		kept, err := f.ensureConn(ctx, l, e.dialAddress, page.Now)
		if err != nil {
			return exposition.ParsedPage{}, 0, err
		}
		r, n, err := f.roundTrip(l, q.raw, page)
		// A server may close a connection at any time. Where one that was kept turns out to be closed, the
		// request is made once more, over a new one.
		if err == nil || !kept || !isUnanswered(err) {
			return r, n, err
		}
	}
}

// fetchByNetHTTP makes one request by net/http.
func (f *pageFetcher) fetchByNetHTTP(ctx context.Context, l *scrapeLoop, template *http.Request, page exposition.PageOptions) (exposition.ParsedPage, int64, error) {
	ctx, release := l.inflight.deriveContext(ctx)
	defer release()
	// The transport alone, without a Client around it: no redirects, no cookies, fewer allocations.
	resp, err := f.transport.RoundTrip(template.WithContext(ctx))
	if err != nil {
		return exposition.ParsedPage{}, 0, err
	}
	defer resp.Body.Close()
	buffer := f.readBuffers.Get().(*[]byte)
	defer f.readBuffers.Put(buffer)
	a := newResponse(resp, *buffer)
	return parseResponsePage(&a, l.parser, page)
}

// response is a response, by whichever way it came.
type response struct {
	status                                 int
	contentType, contentEncoding, location string
	length                                 int64 // of the body; -1: not known
	body                                   responseBody
}

// responseBody is read piece by piece: whatever the size of a page, it costs a buffer or two.
type responseBody interface {
	// nextPiece returns what follows, which is valid until the next call, and io.EOF where nothing does. Where less
	// came than the response's own framing says the error is io.ErrUnexpectedEOF.
	nextPiece() ([]byte, error)
}

// netHTTPBody is a body that net/http reads.
type netHTTPBody struct {
	reader io.Reader
	buffer []byte
	ended  bool
}

func (s *netHTTPBody) nextPiece() ([]byte, error) {
	for range 100 {
		n, err := s.reader.Read(s.buffer)
		s.ended = errors.Is(err, io.EOF)
		if n > 0 {
			return s.buffer[:n], nil
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, io.ErrNoProgress
}

func newResponse(resp *http.Response, buffer []byte) response {
	return response{
		status:      resp.StatusCode,
		contentType: resp.Header.Get("Content-Type"), contentEncoding: resp.Header.Get("Content-Encoding"),
		location: resp.Header.Get("Location"),
		length:   resp.ContentLength,
		body:     &netHTTPBody{reader: resp.Body, buffer: buffer},
	}
}

// parseResponsePage has p read the page that is in an answer.
func parseResponsePage(a *response, p *exposition.Parser, page exposition.PageOptions) (r exposition.ParsedPage, n int64, err error) {
	if a.status != http.StatusOK {
		drainBody(a.body)
		return r, 0, newStatusError(a.status, a.location)
	}
	if page.Format, err = exposition.DetectFormat(a.contentType, a.contentEncoding); err != nil {
		return r, 0, err
	}
	if err := page.CheckSize(a.length); err != nil {
		return r, 0, err
	}
	p.BeginPage(page)
	if n, err = copyBodyTo(p, a.body); err != nil {
		p.AbandonPage()
		return r, n, err
	}
	r, err = p.EndPage()
	return r, n, err
}

func drainBody(from responseBody) {
	for n := 0; n < maxDrainedBytes; {
		piece, err := from.nextPiece()
		if err != nil {
			return
		}
		n += len(piece)
	}
}

func copyBodyTo(p *exposition.Parser, from responseBody) (n int64, err error) {
	for {
		piece, err := from.nextPiece()
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
		if _, err := p.Write(piece); err != nil {
			return n, err
		}
	}
}
