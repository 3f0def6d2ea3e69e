package apiserver

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// floodListener has a new connection at each Accept until its count is reached, and counts the accepted ones whose handshake has not begun.
type floodListener struct {
	left          int
	waiting, most atomic.Int64
	end           func()
}

// floodedConn is a connection whose client has left.
type floodedConn struct {
	net.Conn
	listener *floodListener
}

func (c floodedConn) RemoteAddr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 1000}
}
func (c floodedConn) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
func (c floodedConn) Close() error              { return nil }
func (c floodedConn) Read([]byte) (int, error) {
	c.listener.waiting.Add(-1)
	return 0, io.EOF
}

func (l *floodListener) Addr() net.Addr { return nil }
func (l *floodListener) Close() error   { return nil }
func (l *floodListener) Accept() (net.Conn, error) {
	if l.left--; l.left < 0 {
		l.end()
		return nil, net.ErrClosed
	}
	l.most.Store(max(l.most.Load(), l.waiting.Add(1)))
	return floodedConn{listener: l}, nil
}

// TestAcceptedConnectionsTakeTurns: a flood of connections fills the scheduler's queue with few of its handshakes, so the next step of an HPA's read
// waits for few.
func TestAcceptedConnectionsTakeTurns(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	listener := &floodListener{left: 5000, end: cancel}
	acceptor := &connectionAcceptor{
		listener: listener, tls: &tls.Config{MinVersion: tls.VersionTLS12}, table: newConnectionTable(defaultServerLimits(), func() {}),
		timeout: time.Hour, gate: newTestHandshakeGate(), metrics: newMetrics(prometheus.NewRegistry()),
	}
	acceptor.acceptTLSConnections(ctx)
	if most := listener.most.Load(); most > 10 {
		t.Errorf("%d of 5000 accepted connections waited for their turn at once, want few", most)
	}
}

// TestSilentHandshakesEnd: a client that says nothing loses its connection after the time of a handshake.
func TestSilentHandshakesEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		limits := defaultServerLimits()
		table := newConnectionTable(limits, func() {})
		acceptor := &connectionAcceptor{tls: &tls.Config{MinVersion: tls.VersionTLS12}, table: table, timeout: limits.handshake, gate: newTestHandshakeGate(), metrics: newMetrics(nil)}
		c, began := table.addClientConnection(ours, time.Now()), time.Now()
		go acceptor.completeHandshake(t.Context(), c, func() {})
		_ = theirs.SetReadDeadline(began.Add(time.Hour))
		if _, err := theirs.Read(make([]byte, 1)); !errors.Is(err, io.EOF) || time.Since(began) != limits.handshake {
			t.Errorf("after %v: %v; want the connection closed after %v", time.Since(began), err, limits.handshake)
		}
		_ = ours.Close()
	})
}

// TestPanicEndsOneHandshake: a panic over a connection closes this connection, and the next one is accepted.
func TestPanicEndsOneHandshake(t *testing.T) {
	t.Parallel()
	ours, theirs := net.Pipe()
	defer theirs.Close()
	config := &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { panic("a bug over a hello") }}
	m := newMetrics(nil)
	table := newConnectionTable(defaultServerLimits(), func() {})
	acceptor := &connectionAcceptor{tls: config, table: table, timeout: time.Minute, gate: newTestHandshakeGate(), metrics: m}
	began := make(chan struct{})
	ended := make(chan error)
	go func() {
		ended <- acceptor.completeHandshakeSafely(t.Context(), table.addClientConnection(ours, time.Now()), began)
	}()
	go func() { _ = tls.Client(theirs, &tls.Config{InsecureSkipVerify: true}).HandshakeContext(t.Context()) }() //nolint:gosec // the test server has no certificate
	if err := <-ended; err == nil || testutil.ToFloat64(m.panics.Counter()) != 1 {
		t.Errorf("%v, %v panics counted", err, testutil.ToFloat64(m.panics.Counter()))
	}
	<-began
	if _, err := ours.Write([]byte("more")); err == nil {
		t.Error("the connection is still open")
	}
}
