package httpevent

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// This file bounds the connections of the endpoint. A new connection closes the oldest connection without a signed request, so that idle
// connections cannot keep senders out.

// connectionLimiter knows the open connections of a server.
type connectionLimiter struct {
	total, perAddress int

	mu    sync.Mutex // guards all below
	conns map[net.Conn]*limitedConnection
}

// limitedConnection is an open connection.
type limitedConnection struct {
	conn     net.Conn
	address  netip.Addr
	openedAt time.Time
	signed   bool // the response to a signed request is not written yet
}

func newHTTPEventConnectionLimiter(total, perAddress int) *connectionLimiter {
	return &connectionLimiter{total: total, perAddress: perAddress, conns: map[net.Conn]*limitedConnection{}}
}

// followHTTPEventConnection is the ConnState of the server.
func (l *connectionLimiter) followHTTPEventConnection(conn net.Conn, state http.ConnState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch state {
	case http.StateNew:
		l.addHTTPEventConnection(&limitedConnection{conn: conn, address: httpEventPeer(conn.RemoteAddr().String()), openedAt: time.Now()})
	case http.StateClosed, http.StateHijacked:
		delete(l.conns, conn)
	case http.StateIdle: // the response is written
		if c := l.conns[conn]; c != nil {
			c.signed = false
		}
	case http.StateActive:
	}
}

// addHTTPEventConnection adds a connection, and closes another if there are too many. The caller holds mu.
func (l *connectionLimiter) addHTTPEventConnection(c *limitedConnection) {
	counts := map[netip.Addr]int{}
	for _, other := range l.conns {
		counts[other.address]++
	}
	switch {
	case counts[c.address] >= l.perAddress:
		l.closeOldestHTTPEventConnection(c.address)
	case len(l.conns) >= l.total:
		largest := c.address
		for address, n := range counts {
			if n > counts[largest] {
				largest = address
			}
		}
		l.closeOldestHTTPEventConnection(largest)
	}
	l.conns[c.conn] = c
}

// closeOldestHTTPEventConnection closes the oldest connection of an address, unless each has a signed request in progress: these are bounded
// elsewhere. The caller holds mu.
func (l *connectionLimiter) closeOldestHTTPEventConnection(address netip.Addr) {
	var oldest *limitedConnection
	for _, c := range l.conns {
		if c.address == address && !c.signed && (oldest == nil || c.openedAt.Before(oldest.openedAt)) {
			oldest = c
		}
	}
	if oldest != nil {
		delete(l.conns, oldest.conn)
		_ = oldest.conn.Close() // its peer is gone, or has sent nothing signed
	}
}

// limitedConnectionKey is the key of a connection in the contexts of its requests.
type limitedConnectionKey struct{}

// keepHTTPEventConnection is the ConnContext of the server.
func keepHTTPEventConnection(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, limitedConnectionKey{}, conn)
}

// markSignedHTTPEvent protects the connection of a signed request until its response is written.
func (l *connectionLimiter) markSignedHTTPEvent(ctx context.Context) {
	conn, _ := ctx.Value(limitedConnectionKey{}).(net.Conn)
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.conns[conn]; c != nil {
		c.signed = true
	}
}
