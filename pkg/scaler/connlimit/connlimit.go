// Package connlimit bounds the open connections of an HTTP server. A new connection closes the oldest connection without a signed request, so
// that idle connections cannot keep others out.
package connlimit

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// Limiter knows the open connections of a server. Its methods may be called concurrently.
type Limiter struct {
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

// New returns a limiter of so many connections in all, and of one address.
func New(total, perAddress int) *Limiter {
	return &Limiter{total: total, perAddress: perAddress, conns: map[net.Conn]*limitedConnection{}}
}

// Apply makes the limiter the ConnState and the ConnContext of a server.
func (l *Limiter) Apply(s *http.Server) {
	s.ConnState = l.followConnectionState
	s.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		return context.WithValue(ctx, connectionKey{}, conn)
	}
}

func (l *Limiter) followConnectionState(conn net.Conn, state http.ConnState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch state {
	case http.StateNew:
		l.addConnection(&limitedConnection{conn: conn, address: Peer(conn.RemoteAddr().String()), openedAt: time.Now()})
	case http.StateClosed, http.StateHijacked:
		delete(l.conns, conn)
	case http.StateIdle: // the response is written
		if c := l.conns[conn]; c != nil {
			c.signed = false
		}
	case http.StateActive:
	}
}

// addConnection adds a connection, and closes another if there are too many. The caller holds mu.
func (l *Limiter) addConnection(c *limitedConnection) {
	counts := map[netip.Addr]int{}
	for _, other := range l.conns {
		counts[other.address]++
	}
	switch {
	case counts[c.address] >= l.perAddress:
		l.closeOldestConnection(c.address)
	case len(l.conns) >= l.total:
		largest := c.address
		for address, n := range counts {
			if n > counts[largest] {
				largest = address
			}
		}
		l.closeOldestConnection(largest)
	}
	l.conns[c.conn] = c
}

// closeOldestConnection closes the oldest connection of an address, unless each has a signed request in progress: these are bounded elsewhere.
// The caller holds mu.
func (l *Limiter) closeOldestConnection(address netip.Addr) {
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

// connectionKey is the key of a connection in the contexts of its requests.
type connectionKey struct{}

// MarkSigned protects the connection of a signed request, by the request's context, until its response is written.
func (l *Limiter) MarkSigned(ctx context.Context) {
	conn, _ := ctx.Value(connectionKey{}).(net.Conn)
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.conns[conn]; c != nil {
		c.signed = true
	}
}

// Peer returns the address of a peer with a port. All addresses of an IPv6 network count as a single address: a host has as many of them as it
// likes.
func Peer(remote string) netip.Addr {
	peer, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	address := peer.Addr().Unmap().WithZone("")
	if address.Is6() {
		network, _ := address.Prefix(64) // 64 bits always fit
		return network.Addr()
	}
	return address
}
