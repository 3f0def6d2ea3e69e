package scrape

import (
	"context"
	"net"
	"sync"
	"time"
)

// inflight is a scrape under way, as far as it can be cut short: by its deadline, the end of its target, or that of
// Run. A scrape over a connection that stands needs no context and no timer but the connection's own; only
// dialing and net/http get a context.
type inflight struct {
	mu          sync.Mutex
	deadline    time.Time
	interrupted bool               // it was cut short
	conn        net.Conn           // in use; nil: none is
	cancel      context.CancelFunc // of the context in use; nil: none is
}

// setDeadline is called before each scrape.
func (c *inflight) setDeadline(deadline time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline, c.interrupted = deadline, false
}

// interrupt has the scrape under way end at once.
func (c *inflight) interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.interrupted = true
	if c.conn != nil {
		_ = c.conn.SetDeadline(time.Unix(1, 0)) // a connection that cannot is broken, and so ends the scrape
	}
	if c.cancel != nil {
		c.cancel()
	}
}

// wasInterrupted reports whether the scrape was cut short; what came of it then says nothing about the target.
func (c *inflight) wasInterrupted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.interrupted
}

// attachConn has the scrape's end interrupt reads and writes of a connection, until leave.
func (c *inflight) attachConn(conn net.Conn) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.interrupted {
		return context.Canceled
	}
	c.conn = conn
	return conn.SetDeadline(c.deadline)
}

func (c *inflight) detachConn() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn = nil
}

// deriveContext returns one that ends with the scrape, and what must be called when it is not needed any more.
func (c *inflight) deriveContext(parent context.Context) (context.Context, func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ctx, cancel := context.WithDeadline(parent, c.deadline)
	c.cancel = cancel
	if c.interrupted {
		cancel()
	}
	return ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.cancel = nil
		cancel()
	}
}
