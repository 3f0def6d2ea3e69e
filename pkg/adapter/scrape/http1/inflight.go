package http1

// The end of a request under way: by its deadline or by an interrupt.

import (
	"context"
	"net"
	"sync"
	"time"
)

// InflightRequest is a request under way: it ends the request at its deadline, or at once by Interrupt. A request over an open
// connection needs no context and no timer except the connection's own; only dialing and net/http get a context. The zero
// value has a deadline that passed; its methods may be called concurrently.
type InflightRequest struct {
	mu          sync.Mutex // guards all below
	deadline    time.Time
	interrupted bool
	conn        net.Conn           // in use; nil: not connected
	cancel      context.CancelFunc // of the context in use; nil: no context
}

// SetDeadline prepares for the next request. It is called before each.
func (i *InflightRequest) SetDeadline(deadline time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.deadline, i.interrupted = deadline, false
}

// Interrupt ends the request under way at once.
func (i *InflightRequest) Interrupt() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.interrupted = true
	if i.conn != nil {
		_ = i.conn.SetDeadline(time.Unix(1, 0)) // a connection that rejects a deadline is broken, which ends the request too
	}
	if i.cancel != nil {
		i.cancel()
	}
}

// WasInterrupted reports whether Interrupt ended the request; its outcome then says nothing about the target.
func (i *InflightRequest) WasInterrupted() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.interrupted
}

// attachInflightConn makes the deadline and Interrupt end reads and writes of conn, until detachInflightConn.
func (i *InflightRequest) attachInflightConn(conn net.Conn) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.interrupted {
		return context.Canceled
	}
	i.conn = conn
	return conn.SetDeadline(i.deadline)
}

func (i *InflightRequest) detachInflightConn() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.conn = nil
}

// DeriveContext returns a context that ends with the request, and a function that the caller must call to release it.
func (i *InflightRequest) DeriveContext(parent context.Context) (context.Context, func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	ctx, cancel := context.WithDeadline(parent, i.deadline)
	i.cancel = cancel
	if i.interrupted {
		cancel()
	}
	return ctx, func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.cancel = nil
		cancel()
	}
}
