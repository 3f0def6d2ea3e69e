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
	// mostDrained bounds what is read of an answer that is no page: one that is read to its end leaves the
	// connection usable.
	mostDrained = 8 << 10
	// mostHead bounds the status line and the headers of a response.
	mostHead = 64 << 10
	// mostIdle is how long a connection may wait for its next request.
	mostIdle = 90 * time.Second
)

// fetcher gets pages over HTTP: of plain HTTP by a reader of its own, the rest by net/http. It follows no redirect and
// uses no proxy.
type fetcher struct {
	transport *http.Transport
	dial      func(ctx context.Context, network, address string) (net.Conn, error)
	replies   sync.Pool // of *reply: readers of plain HTTP with a buffer each
	pieces    sync.Pool // of *[]byte: what else is read in
}

func newFetcher(opts Options) *fetcher {
	f := &fetcher{dial: opts.DialContext}
	if f.dial == nil {
		f.dial = (&net.Dialer{}).DialContext
	}
	pages := &sync.Pool{New: func() any { return newBuffer(largeBuffer) }}
	f.replies.New = func() any { return &reply{small: *newBuffer(smallBuffer), pages: pages} }
	f.pieces.New = func() any { return newBuffer(smallBuffer) }
	f.transport = &http.Transport{
		DialContext:         f.dial,
		TLSClientConfig:     opts.TLS,
		MaxIdleConnsPerHost: 1, // one connection a target, kept between scrapes
		IdleConnTimeout:     mostIdle,
		// Buffers that fit a request and a page by family: with the default of 4 KiB each, 10,000 targets
		// would hold 80 MB in them.
		ReadBufferSize:  2 << 10,
		WriteBufferSize: 1 << 10,
		// Compression saves little of a small page, costs both sides CPU, and is a way to make a
		// scraper inflate 16 MiB out of 16 KiB. It is not asked for; who sends it is refused.
		DisableCompression:     true,
		MaxResponseHeaderBytes: mostHead,
	}
	return f
}

func newBuffer(size int) *[]byte {
	b := make([]byte, size)
	return &b
}

func (f *fetcher) close() { f.transport.CloseIdleConnections() }

// fetch gets one page of a target and has it read by the target's parser. Where the target refuses to be asked
// for families, it is asked for the whole page at once, and from then on. The number is that of bytes read of
// the body.
func (f *fetcher) fetch(ctx context.Context, l *loop, e *endpoint, page exposition.Page) (exposition.Result, int64, error) {
	if e.err != nil {
		return exposition.Result{}, 0, e.err
	}
	if len(e.families.Names()) == 0 { // nothing is wanted: no need to ask, and what it had has gone
		r, err := l.parser.Parse(page, nil)
		return r, 0, err
	}
	if page.Now.Before(e.wholeUntil) {
		return f.get(ctx, l, e, e.wholePage(), page)
	}
	r, n, err := f.get(ctx, l, e, e.named, page)
	if err == nil || page.Now.Before(e.namedUntil) || !isRefusal(err) {
		return r, n, err
	}
	r, n, err = f.get(ctx, l, e, e.wholePage(), page)
	var unfit *exposition.Error
	if err == nil || errors.As(err, &unfit) {
		e.wholeUntil = page.Now.Add(namesRetry)
	} else {
		e.namedUntil = page.Now.Add(wholeRetry)
	}
	return r, n, err
}

// isRefusal reports whether a target answered with an error.
func isRefusal(err error) bool {
	var status *statusError
	return errors.As(err, &status) && status.code >= 400
}

func (f *fetcher) get(ctx context.Context, l *loop, e *endpoint, q question, page exposition.Page) (exposition.Result, int64, error) {
	if q.bytes == nil {
		return f.getOther(ctx, l, q.request, page)
	}
	for {
		kept, err := f.connect(ctx, l, e.address, page.Now)
		if err != nil {
			return exposition.Result{}, 0, err
		}
		r, n, err := f.exchange(l, q.bytes, page)
		// A server may close a connection at any time. Where one that was kept turns out to be closed, the
		// request is made once more, over a new one.
		if err == nil || !kept || !isUnanswered(err) {
			return r, n, err
		}
	}
}

// getOther makes one request by net/http.
func (f *fetcher) getOther(ctx context.Context, l *loop, template *http.Request, page exposition.Page) (exposition.Result, int64, error) {
	ctx, release := l.call.context(ctx)
	defer release()
	// The transport alone, without a Client around it: no redirects, no cookies, fewer allocations.
	resp, err := f.transport.RoundTrip(template.WithContext(ctx))
	if err != nil {
		return exposition.Result{}, 0, err
	}
	defer resp.Body.Close()
	buffer := f.pieces.Get().(*[]byte)
	defer f.pieces.Put(buffer)
	a := answerOf(resp, *buffer)
	return take(&a, l.parser, page)
}

// answer is a response, by whichever way it came.
type answer struct {
	status                                 int
	contentType, contentEncoding, location string
	length                                 int64 // of the body; -1: not known
	body                                   body
}

// body is read piece by piece: whatever the size of a page, it costs a buffer or two.
type body interface {
	// next returns what follows, which is valid until the next call, and io.EOF where nothing does. Where less
	// came than the response's own framing says the error is io.ErrUnexpectedEOF.
	next() ([]byte, error)
}

// streamed is a body that net/http reads.
type streamed struct {
	from   io.Reader
	buffer []byte
	ended  bool
}

func (s *streamed) next() ([]byte, error) {
	for range 100 {
		n, err := s.from.Read(s.buffer)
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

func answerOf(resp *http.Response, buffer []byte) answer {
	return answer{
		status:      resp.StatusCode,
		contentType: resp.Header.Get("Content-Type"), contentEncoding: resp.Header.Get("Content-Encoding"),
		location: resp.Header.Get("Location"),
		length:   resp.ContentLength,
		body:     &streamed{from: resp.Body, buffer: buffer},
	}
}

// take has p read the page that is in an answer.
func take(a *answer, p *exposition.Parser, page exposition.Page) (r exposition.Result, n int64, err error) {
	if a.status != http.StatusOK {
		drain(a.body)
		return r, 0, newStatusError(a.status, a.location)
	}
	if page.Format, err = exposition.FormatOf(a.contentType, a.contentEncoding); err != nil {
		return r, 0, err
	}
	if err := page.CheckSize(a.length); err != nil {
		return r, 0, err
	}
	p.Begin(page)
	if n, err = copyTo(p, a.body); err != nil {
		p.Abandon()
		return r, n, err
	}
	r, err = p.End()
	return r, n, err
}

func drain(from body) {
	for n := 0; n < mostDrained; {
		piece, err := from.next()
		if err != nil {
			return
		}
		n += len(piece)
	}
}

func copyTo(p *exposition.Parser, from body) (n int64, err error) {
	for {
		piece, err := from.next()
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
