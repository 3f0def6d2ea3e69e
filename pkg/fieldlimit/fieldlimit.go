// Package fieldlimit bounds the header fields of an HTTP/1 request while a server reads them. net/http bounds only their bytes, and a field of
// five bytes takes about 120 bytes of memory. It also has the bound of clients on the headers of a response.
package fieldlimit

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// MaxResponseHeaderBytes bounds the status line and the headers of a response that a client reads. net/http takes up to 25 times as much memory
// for tiny headers, and by default 10 MiB of them.
const MaxResponseHeaderBytes = 16 << 10

// LongHeadersCause is the cause of requests that fail at MaxResponseHeaderBytes.
const LongHeadersCause = "response headers over 16 KiB"

// IsLongHeadersError reports whether a request failed at MaxResponseHeaderBytes. net/http has no error values for it.
func IsLongHeadersError(err error) bool {
	text := err.Error()
	return strings.Contains(text, "server response headers exceeded") || strings.Contains(text, "response header list larger than advertised limit")
}

// Max is the greatest number of lines in a request's header. A browser sends 20, a proxy adds 10.
const Max = 200

// Serve is server.Serve with the bound, for a server that does not serve yet. Requests know the state of a TLS connection as ever. It leaves
// connections that have negotiated HTTP/2 to net/http, which counts 32 bytes for each field.
func Serve(server *http.Server, listener net.Listener) error {
	follow, addContext, handler := server.ConnState, server.ConnContext, server.Handler
	server.ConnState = func(c net.Conn, state http.ConnState) {
		if limited, ok := c.(*Conn); ok {
			limited.followHeaderState(state)
		}
		if follow != nil {
			follow(c, state)
		}
	}
	server.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if addContext != nil {
			ctx = addContext(ctx, c)
		}
		return context.WithValue(ctx, connectionKey{}, c)
	}
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if limited, ok := r.Context().Value(connectionKey{}).(*Conn); ok && r.TLS == nil {
			if secured, ok := limited.Conn.(*tls.Conn); ok {
				state := secured.ConnectionState()
				r.TLS = &state
			}
		}
		handler.ServeHTTP(w, r)
	})
	return server.Serve(limitedListener{listener})
}

// connectionKey is the key of a request's connection in its context.
type connectionKey struct{}

// limitedListener accepts connections with the bound.
type limitedListener struct{ net.Listener }

// Accept implements net.Listener.
func (l limitedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if secured, ok := c.(*tls.Conn); ok && secured.ConnectionState().NegotiatedProtocol == "h2" {
		return c, nil
	}
	return &Conn{Conn: c}, nil
}

// Conn is a connection that carries HTTP/1 requests. Read returns an error when a request's header has more than Max lines. net/http reads by one
// goroutine at a time, and reports between two reads that a header has ended and that the next one may begin. A client that does not wait for
// the last response may have sent the beginning of the next header with it: up to the 4 KiB of net/http's buffer do not count.
type Conn struct {
	net.Conn

	lines  int  // of the header that is read, without the last one
	filled bool // the last line is not blank
	ended  bool // a blank line, or net/http, has ended the header
	inside bool // the next read may begin inside of a header
}

// NetConn returns the connection below, as a tls.Conn does.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// Read implements net.Conn. The error stays: net/http overlooks one at the end of a line, and reads again.
func (c *Conn) Read(b []byte) (n int, err error) {
	if c.inside { // a blank line may end this header or precede it, so the read is too short for Max lines of a body
		b, c.inside = b[:min(len(b), Max)], false
	}
	if c.lines <= Max {
		n, err = c.Conn.Read(b)
		if plain := (tls.RecordHeaderError{}); errors.As(err, &plain) && plain.Conn != nil { // as net/http does for its own TLS connections
			_, _ = io.WriteString(plain.Conn, "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n")
		}
		c.countHeaderLines(b[:n])
	}
	if c.lines > Max {
		return 0, fmt.Errorf("read a request: its header has more than %d lines", Max)
	}
	return n, err
}

// countHeaderLines counts the lines up to the blank line that ends the header. Blank lines before a header do not count, as in net/http.
func (c *Conn) countHeaderLines(data []byte) {
	for !c.ended {
		line, rest, complete := bytes.Cut(data, []byte("\n"))
		c.filled = c.filled || len(bytes.Trim(line, "\r")) > 0
		switch {
		case !complete:
			return
		case c.filled:
			c.lines++
		default:
			c.ended = c.lines > 0
		}
		c.filled, data = false, rest
	}
}

// followHeaderState begins anew when the response to the last request is written, and ends the header when net/http has read it.
func (c *Conn) followHeaderState(state http.ConnState) {
	if state == http.StateIdle {
		c.lines, c.filled, c.ended, c.inside = 0, false, false, true
	}
	if state == http.StateActive {
		c.ended = true
	}
}
