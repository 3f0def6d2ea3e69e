package apiserver

import (
	"context"
	"crypto/tls"
	"net"
	"testing"
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
	gated := &gatedConn{limitedConn: table.addClientConnection(c, time.Now()), gate: newTestHandshakeGate()}
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
	for end := time.Now().Add(10 * time.Second); !hasPeerLeft(c); time.Sleep(time.Millisecond) { //nolint:forbidigo // the kernel's time
		if time.Now().After(end) {
			t.Error("the peer has not left")
			return
		}
	}
}
