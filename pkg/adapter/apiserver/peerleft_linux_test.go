package apiserver

import (
	"context"
	"crypto/tls"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// openSocketPair returns both ends of a TCP connection.
func openSocketPair(t *testing.T) (ours, peer *net.TCPConn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	dialed, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dialed.Close(); _ = accepted.Close() })
	ours, _ = accepted.(*net.TCPConn)
	peer, _ = dialed.(*net.TCPConn)
	return ours, peer
}

// startTestHandshake completes the server's part of a handshake in a gate, and returns whether the server computed for a hello.
func startTestHandshake(t *testing.T, c net.Conn) (computed bool, err error) {
	t.Helper()
	table := newConnectionTable(defaultServerLimits(), func() {})
	gated := &handshakeConn{limitedConn: table.addClientConnection(c, time.Now()), gate: newTestHandshakeGate()}
	secured := tls.Server(gated, &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		computed = true
		return nil, nil //nolint:nilnil // keeps the configuration
	}})
	err = secured.HandshakeContext(context.WithoutCancel(t.Context()))
	gated.leaveHandshakeGate(true)
	return computed, err
}

// sendTestHello sends the first message of a handshake.
func sendTestHello(t *testing.T, peer net.Conn) {
	t.Helper()
	go func() {
		_ = tls.Client(peer, &tls.Config{ServerName: "localhost", MinVersion: tls.VersionTLS12}).HandshakeContext(t.Context())
	}()
}

// TestHandshakesOfLeftClients: a client that sends a hello and leaves costs no key and no signature.
func TestHandshakesOfLeftClients(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(*net.TCPConn) error{
		"closed": (*net.TCPConn).CloseWrite,
		"reset": func(c *net.TCPConn) error {
			_ = c.SetLinger(0)
			return c.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ours, peer := openSocketPair(t)
			sendTestHello(t, peer)
			arrived := &arrivedConn{TCPConn: ours, leave: func() { _ = leave(peer); awaitLeftPeer(t, ours) }}
			if computed, err := startTestHandshake(t, arrived); computed || err == nil {
				t.Errorf("computed: %t, error %v", computed, err)
			}
		})
	}
	ours, peer := openSocketPair(t)
	sendTestHello(t, peer)
	if computed, _ := startTestHandshake(t, ours); !computed {
		t.Error("the hello of a client that stays is not read")
	}
}

// pipedConn is a pipe with the state of a socket.
type pipedConn struct {
	net.Conn
	socket *net.TCPConn
}

// SyscallConn implements syscall.Conn.
func (c pipedConn) SyscallConn() (syscall.RawConn, error) { return c.socket.SyscallConn() }

// TestLeftClientsAreEvictedFirst: at the bound, the connection of a client that stays is not closed while there are clients that have left.
func TestLeftClientsAreEvictedFirst(t *testing.T) {
	t.Parallel()
	left, peer := openSocketPair(t)
	_ = peer.CloseWrite()
	awaitLeftPeer(t, left)
	stays, _ := openSocketPair(t)
	table := newConnectionTable(serverLimits{connections: 4, connectionsPerAddress: 2, youngConnections: 4, strangerRequests: 1}, func() {})
	add := func(socket *net.TCPConn, age time.Duration) *limitedConn {
		ours, theirs := net.Pipe()
		t.Cleanup(func() { ours.Close(); theirs.Close() })
		return table.addClientConnection(pipedConn{ours, socket}, time.Now().Add(-age))
	}
	probe := add(stays, time.Hour)
	for range 100 {
		add(left, 0)
	}
	if probe.closed.Load() {
		t.Error("the client that stays was closed")
	}
	if n := table.countClientConnections(); n > 2 {
		t.Errorf("%d connections of one address, want 2", n)
	}
	add(stays, 0)
	if add(stays, 0); !probe.closed.Load() {
		t.Error("the oldest connection stayed beside two newer ones whose clients stay")
	}
}

// TestLeftClientsDelayNobody: while HPAs' reads have all processors, a client behind a hundred of its address that have left waits for one pause.
func TestLeftClientsDelayNobody(t *testing.T) {
	t.Parallel()
	left, peer := openSocketPair(t)
	_ = peer.CloseWrite()
	awaitLeftPeer(t, left)
	stays, _ := openSocketPair(t)
	synctest.Test(t, func(t *testing.T) {
		gate := newTestHandshakeGate()
		gate.places.takeQueuedPlace("another", nil)
		for range 2 {
			defer gate.load.beginRequestComputation()()
		}
		table := newConnectionTable(defaultServerLimits(), func() {})
		begins := func(socket *net.TCPConn) <-chan struct{} {
			ours, theirs := net.Pipe()
			done := make(chan struct{})
			c := &handshakeConn{limitedConn: table.addClientConnection(pipedConn{ours, socket}, time.Now()), gate: gate}
			go func() {
				defer close(done)
				_, _ = c.Read(make([]byte, 1))
				c.leaveHandshakeGate(true)
			}()
			_, _ = theirs.Write([]byte("x"))
			synctest.Wait()
			return done
		}
		for range 100 {
			begins(left)
		}
		done := begins(stays)
		began := time.Now()
		gate.places.returnQueuedPlace()
		<-done
		if waited := time.Since(began); waited != maxHandshakePause {
			t.Errorf("the handshake began after %v, want %v", waited, maxHandshakePause)
		}
	})
}

// arrivedConn is a connection whose peer leaves once its first bytes are read.
type arrivedConn struct {
	*net.TCPConn
	leave func()
}

// Read implements net.Conn.
func (c *arrivedConn) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	if c.leave != nil {
		c.leave()
		c.leave = nil
	}
	return n, err
}

// awaitLeftPeer waits until the end of the peer's bytes has arrived.
func awaitLeftPeer(t *testing.T, c net.Conn) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !hasClientLeft(c); time.Sleep(time.Millisecond) { //nolint:forbidigo // the kernel's time
		if time.Now().After(end) {
			t.Error("the peer has not left")
			return
		}
	}
}
