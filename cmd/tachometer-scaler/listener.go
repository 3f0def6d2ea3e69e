// The port of events, which stays open while the components behind it change.

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
)

// eventListener keeps the port of events open. It lends its connections to one receiver after the other: between two of them connections
// wait, and none is refused.
type eventListener struct {
	address  string // of the configuration
	listener net.Listener
	accepted chan acceptedConnection
	closed   chan struct{}
	accepts  sync.WaitGroup
}

// acceptedConnection is the result of an Accept.
type acceptedConnection struct {
	conn net.Conn
	err  error
}

// openEventListener opens the port.
func openEventListener(ctx context.Context, address string) (*eventListener, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for events: %w; free the port, or change events.http.address", err)
	}
	l := &eventListener{address: address, listener: listener, accepted: make(chan acceptedConnection), closed: make(chan struct{})}
	l.accepts.Go(l.acceptEventConnections)
	return l, nil
}

// acceptEventConnections hands each connection to the receiver that asks for one.
func (l *eventListener) acceptEventConnections() {
	for {
		conn, err := l.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		select {
		case l.accepted <- acceptedConnection{conn, err}:
		case <-l.closed:
			if conn != nil {
				conn.Close()
			}
			return
		}
	}
}

// closeEventListener closes the port.
func (l *eventListener) closeEventListener() {
	if l == nil {
		return
	}
	close(l.closed)
	l.listener.Close()
	l.accepts.Wait()
}

// lendEventListener returns a listener for a receiver. Its Close leaves the port open.
func (l *eventListener) lendEventListener() net.Listener {
	return &lentListener{eventListener: l, returned: make(chan struct{})}
}

// lentListener is a listener on the port of an eventListener.
type lentListener struct {
	*eventListener
	returned chan struct{}
	once     sync.Once
}

var _ net.Listener = (*lentListener)(nil)

// Accept implements net.Listener.
func (l *lentListener) Accept() (net.Conn, error) {
	select {
	case <-l.returned: // else a returned listener may still take a connection
		return nil, net.ErrClosed
	default:
	}
	select {
	case a := <-l.accepted:
		return a.conn, a.err
	case <-l.returned:
	case <-l.closed:
	}
	return nil, net.ErrClosed
}

// Close implements net.Listener.
func (l *lentListener) Close() error {
	l.once.Do(func() { close(l.returned) })
	return nil
}

// Addr implements net.Listener.
func (l *lentListener) Addr() net.Addr { return l.listener.Addr() }
