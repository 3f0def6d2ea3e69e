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

// wire is a target's connection, kept from scrape to scrape. Between them it holds no goroutine and no buffer, of which
// net/http's has two each: that takes a third less CPU a scrape of 2 KB, and 28 KB less memory a target. A scrape under way
// owns it, else Manager.mu guards it.
type wire struct {
	conn    net.Conn // nil: there is none
	address string
	used    time.Time // when the last request was made
}

func (w *wire) close() {
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

// connect makes sure that the target's connection is there. It reports whether that was used before.
func (f *fetcher) connect(ctx context.Context, l *loop, address string, now time.Time) (kept bool, err error) {
	w := &l.wire
	if w.conn != nil && w.address == address && now.Sub(w.used) < mostIdle {
		w.used = now
		return true, nil
	}
	w.close()
	ctx, release := l.call.context(ctx)
	defer release()
	conn, err := f.dial(ctx, "tcp", address)
	if err != nil {
		return false, err
	}
	*w = wire{conn: conn, address: address, used: now}
	return false, nil
}

// exchange sends a request over the target's connection and has the page read. It is all done by the goroutine that
// calls: nothing is handed over. The connection is closed unless it is good for another request.
func (f *fetcher) exchange(l *loop, request []byte, page exposition.Page) (exposition.Result, int64, error) {
	r := f.replies.Get().(*reply)
	defer func() {
		l.call.leave()
		if !r.reusable() {
			l.wire.close()
		}
		r.end()
		f.replies.Put(r)
	}()
	r.read(l.wire.conn)
	if err := l.call.use(l.wire.conn); err != nil {
		return exposition.Result{}, 0, &unansweredError{err}
	}
	if err := r.ask(l.wire.conn, request); err != nil {
		return exposition.Result{}, 0, err
	}
	return take(&r.answer, l.parser, page)
}

// ask sends a request and reads the head of the response.
func (r *reply) ask(conn net.Conn, request []byte) error {
	_, err := conn.Write(request)
	if err == nil {
		err = r.readHead()
	}
	switch {
	case err == nil && r.answer.status == http.StatusRequestTimeout:
		// Said by some proxies to a connection that was idle for long, and not to this request.
		return &unansweredError{newStatusError(r.answer.status, "")}
	case err != nil && r.hi == 0 && !errors.Is(err, os.ErrDeadlineExceeded):
		return &unansweredError{err}
	}
	return err
}
