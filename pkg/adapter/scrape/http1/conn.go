package http1

// A kept connection, and one request over it.

import (
	"errors"
	"net"
	"net/http"
	"os"
	"time"
)

// Conn is a connection to one target, kept from request to request. The zero value is not connected. It must not be used
// concurrently.
type Conn struct {
	conn     net.Conn // nil: not connected
	address  string
	lastUsed time.Time // when the last request began
}

// Close closes the connection if it is open. The next request opens a new connection.
func (c *Conn) Close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// isKeptConn reports whether the connection is open, leads to address, and has not been idle for maxIdle; 0 means no bound.
func (c *Conn) isKeptConn(address string, now time.Time, maxIdle time.Duration) bool {
	return c.conn != nil && c.address == address && (maxIdle <= 0 || now.Sub(c.lastUsed) < maxIdle)
}

// unansweredError reports that a connection ended before any byte of a response came.
type unansweredError struct{ error }

func (e *unansweredError) Unwrap() error { return e.error }

func isUnansweredRequest(err error) bool {
	var unanswered *unansweredError
	return errors.As(err, &unanswered)
}

// errIdleTimeout makes Get retry. Some proxies send status 408 to a connection that was idle for long: it does not answer
// this request.
var errIdleTimeout = errors.New("connection timed out while idle")

// sendAndReadHeader sends a request and reads the header of the response. A connection with a response of status 408 is not
// used again.
func (r *connResponseReader) sendAndReadHeader(request []byte, kept bool) error {
	_, err := r.conn.conn.Write(request)
	if err == nil {
		err = r.readResponseHeader()
		r.response.Answered = r.answered
	}
	switch {
	case err == nil && r.response.Status == http.StatusRequestTimeout:
		r.mustClose = true
		if kept {
			return &unansweredError{errIdleTimeout}
		}
	case err != nil && r.hi == 0 && !errors.Is(err, os.ErrDeadlineExceeded):
		return &unansweredError{err}
	}
	return err
}
