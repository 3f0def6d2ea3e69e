// Accepts connections and completes their handshakes before an HTTP server sees them.

package apiserver

import (
	"context"
	"crypto/tls"
	"net"
	"runtime"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/retry"
)

// connectionListener offers connections with a complete handshake to an http.Server.
type connectionListener struct {
	address net.Addr
	conns   chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

var _ net.Listener = (*connectionListener)(nil)

func newConnectionListener(address net.Addr) *connectionListener {
	return &connectionListener{address: address, conns: make(chan net.Conn), closed: make(chan struct{})}
}

// Accept returns the next connection, or net.ErrClosed after Close.
func (l *connectionListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept. It does not close connections.
func (l *connectionListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr returns the address of the port.
func (l *connectionListener) Addr() net.Addr { return l.address }

// deliverTLSConnection hands c to Accept, or closes it if the listener is closed.
func (l *connectionListener) deliverTLSConnection(c net.Conn) {
	select {
	case l.conns <- c:
	case <-l.closed:
		_ = c.Close()
	}
}

// connectionAcceptor accepts connections, completes their TLS handshake, and delivers those of the front proxy to proxied and
// all others to direct.
type connectionAcceptor struct {
	listener        net.Listener
	tls             *tls.Config
	table           *connectionTable
	verifier        frontProxyVerifier
	timeout         time.Duration // of a handshake
	gate            *handshakeGate
	metrics         *metrics
	proxied, direct *connectionListener
}

// acceptTLSConnections runs until ctx ends, and returns after the last handshake.
func (a *connectionAcceptor) acceptTLSConnections(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { _ = a.listener.Close() })
	defer stop()
	var handshakes sync.WaitGroup
	defer handshakes.Wait()
	for {
		raw, err := a.listener.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			// Usually out of file descriptors: other connections end sooner or later.
			klog.FromContext(ctx).Error(err, "Connection not accepted")
			if !retry.Sleep(ctx, 100*time.Millisecond) {
				return
			}
			continue
		}
		c := a.table.addClientConnection(raw, time.Now())
		began := make(chan struct{})
		handshakes.Go(func() { _ = a.completeHandshakeSafely(ctx, c, began) })
		// A flood would fill the scheduler's queue with hundreds of its handshakes, in front of the next step of an HPA's read.
		<-began
		runtime.Gosched()
	}
}

// completeHandshakeSafely is completeHandshake. A panic closes this connection alone.
func (a *connectionAcceptor) completeHandshakeSafely(ctx context.Context, c *limitedConn, began chan<- struct{}) (err error) {
	begin := sync.OnceFunc(func() { close(began) })
	defer a.metrics.panics.Catch(ctx, &err, func() []any {
		begin()
		_ = c.Close()
		return []any{"remote", c.RemoteAddr().String()}
	})
	a.completeHandshake(ctx, c, begin)
	return nil
}

// completeHandshake calls begin when it is about to read.
func (a *connectionAcceptor) completeHandshake(ctx context.Context, c *limitedConn, begin func()) {
	end := func() { _ = c.Close() }
	defer time.AfterFunc(a.timeout, end).Stop()
	defer context.AfterFunc(ctx, end)()
	gated := &handshakeConn{limitedConn: c, gate: a.gate}
	defer gated.leaveHandshakeGate(true) // also after a panic
	secured := tls.Server(gated, a.tls)
	begin()
	err := secured.HandshakeContext(context.WithoutCancel(ctx)) // which starts no goroutine
	gated.leaveHandshakeGate(true)
	if err != nil {
		a.metrics.handshakeErrors.Inc()
		klog.FromContext(ctx).V(5).Info("TLS handshake failed", "remote", c.RemoteAddr().String(), "err", err)
		_ = c.Close()
		return
	}
	state := secured.ConnectionState()
	if a.verifier.isFrontProxyPeer(&state) {
		a.table.exemptClientConnection(c)
		a.proxied.deliverTLSConnection(secured)
		return
	}
	a.direct.deliverTLSConnection(secured)
}
