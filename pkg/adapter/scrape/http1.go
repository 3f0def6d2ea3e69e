package scrape

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/exposition"
)

// keptConn is a target's connection, kept from scrape to scrape. Between them it holds no goroutine and no buffer, of which
// net/http's has two each: that takes a third less CPU a scrape of 2 KB, and 28 KB less memory a target. A scrape under way
// owns it, else Manager.mu guards it.
type keptConn struct {
	conn     net.Conn // nil: there is none
	address  string
	lastUsed time.Time // when the last request was made
}

func (w *keptConn) closeConn() {
	if w.conn != nil {
		w.conn.Close()
		w.conn = nil
	}
}

// unansweredError is that of a connection which ended before anything of a response came.
type unansweredError struct{ error }

func (e *unansweredError) Unwrap() error { return e.error }

func isUnanswered(err error) bool {
	var unanswered *unansweredError
	return errors.As(err, &unanswered)
}

// ensureConn makes sure that the target's connection is there. It reports whether that was used before.
func (f *pageFetcher) ensureConn(ctx context.Context, l *scrapeLoop, address string, now time.Time) (kept bool, err error) {
	w := &l.conn
	if w.conn != nil && w.address == address && now.Sub(w.lastUsed) < maxConnIdle {
		w.lastUsed = now
		return true, nil
	}
	w.closeConn()
	ctx, release := l.inflight.deriveContext(ctx)
	defer release()
	conn, err := f.dial(ctx, "tcp", address)
	if err != nil {
		return false, err
	}
	*w = keptConn{conn: conn, address: address, lastUsed: now}
	return false, nil
}

// roundTrip sends a request over the target's connection and has the page read. It is all done by the goroutine that
// calls: nothing is handed over. The connection is closed unless it is good for another request.
func (f *pageFetcher) roundTrip(l *scrapeLoop, request []byte, page exposition.PageOptions) (exposition.ParsedPage, int64, error) {
	r := f.responseReaders.Get().(*responseReader)
	defer func() {
		l.inflight.detachConn()
		if !r.isConnReusable() {
			l.conn.closeConn()
		}
		r.returnBuffers()
		f.responseReaders.Put(r)
	}()
	r.beginResponse(l.conn.conn)
	if err := l.inflight.attachConn(l.conn.conn); err != nil {
		return exposition.ParsedPage{}, 0, &unansweredError{err}
	}
	if err := r.sendAndReadHeader(l.conn.conn, request); err != nil {
		return exposition.ParsedPage{}, 0, err
	}
	return parseResponsePage(&r.response, l.parser, page)
}

// sendAndReadHeader sends a request and reads the head of the response.
func (r *responseReader) sendAndReadHeader(conn net.Conn, request []byte) error {
	_, err := conn.Write(request)
	if err == nil {
		err = r.readHeader()
	}
	switch {
	case err == nil && r.response.status == http.StatusRequestTimeout:
		// Said by some proxies to a connection that was idle for long, and not to this request.
		return &unansweredError{newStatusError(r.response.status, "")}
	case err != nil && r.hi == 0 && !errors.Is(err, os.ErrDeadlineExceeded):
		return &unansweredError{err}
	}
	return err
}
