package sale

import (
	"context"
	"net"
	"sync"
)

// brokerListener is the port of the broker, which can refuse connections for a while. The broker keeps its records meanwhile.
type brokerListener struct {
	address net.Addr

	mu      sync.Mutex // guards the fields below
	inner   net.Listener
	conns   []net.Conn    // accepted since the last interruption
	resumed chan struct{} // nil unless interrupted; closed when that is over
	closed  bool
}

func listenForBroker(ctx context.Context, network, address string) (*brokerListener, error) {
	inner, err := (&net.ListenConfig{}).Listen(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &brokerListener{address: inner.Addr(), inner: inner}, nil
}

// Accept implements net.Listener. During an interruption it waits.
func (l *brokerListener) Accept() (net.Conn, error) {
	for {
		l.mu.Lock()
		inner, resumed, closed := l.inner, l.resumed, l.closed
		l.mu.Unlock()
		if closed {
			return nil, net.ErrClosed
		}
		if resumed != nil {
			<-resumed
			continue
		}
		conn, err := inner.Accept()
		l.mu.Lock()
		current := l.inner == inner && l.resumed == nil
		if current && err == nil {
			l.conns = append(l.conns, conn)
		}
		l.mu.Unlock()
		switch {
		case current:
			return conn, err
		case err == nil:
			conn.Close()
		}
	}
}

// Close implements net.Listener.
func (l *brokerListener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.resumed != nil {
		close(l.resumed)
		l.resumed = nil
		return nil
	}
	return l.inner.Close()
}

// Addr implements net.Listener.
func (l *brokerListener) Addr() net.Addr { return l.address }

// interruptBrokerListener closes the port and its connections.
func (l *brokerListener) interruptBrokerListener() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.resumed = make(chan struct{})
	for _, conn := range l.conns {
		_ = conn.Close() // many are closed already
	}
	l.conns = nil
	return l.inner.Close()
}

// resumeBrokerListener opens the port again.
func (l *brokerListener) resumeBrokerListener(ctx context.Context) error {
	inner, err := (&net.ListenConfig{}).Listen(ctx, l.address.Network(), l.address.String())
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inner = inner
	close(l.resumed)
	l.resumed = nil
	return nil
}
