package apiserver

import (
	"net"
	"testing"
	"testing/synctest"
)

// readGated reads once from a new gated connection, whose peer sends data if sends.
func readGated(t *testing.T, gate handshakeGate, sends bool) (c *gatedConn, done <-chan struct{}) {
	t.Helper()
	ours, theirs := net.Pipe()
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	c = &gatedConn{Conn: ours, gate: gate}
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = c.Read(make([]byte, 1))
	}()
	if sends {
		go func() { _, _ = theirs.Write([]byte("x")) }()
	}
	return c, read
}

func isOver(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// TestHandshakeGate: as many handshakes compute as there are places, and none that waits for its client has one.
func TestHandshakeGate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gate := make(handshakeGate, 1)
		for range 100 {
			readGated(t, gate, false) // clients that do not go on
		}
		first, firstDone := readGated(t, gate, true)
		synctest.Wait()
		second, secondDone := readGated(t, gate, true)
		synctest.Wait()
		if !isOver(firstDone) || isOver(secondDone) {
			t.Fatalf("first read: %t, second: %t, with one place", isOver(firstDone), isOver(secondDone))
		}
		first.leaveAPIServerHandshakeGate(true)
		synctest.Wait()
		if !isOver(secondDone) || len(gate) != 1 {
			t.Errorf("second read: %t, %d places taken", isOver(secondDone), len(gate))
		}
		second.leaveAPIServerHandshakeGate(true)
		if len(gate) != 0 {
			t.Errorf("%d places are taken after the handshakes", len(gate))
		}
	})
}

// TestGateAfterHandshake: what is read after the handshake needs no place.
func TestGateAfterHandshake(t *testing.T) {
	t.Parallel()
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	gate := make(handshakeGate, 1)
	gate <- struct{}{} // taken by another
	c := &gatedConn{Conn: ours, gate: gate}
	c.leaveAPIServerHandshakeGate(true)
	go func() { _, _ = theirs.Write([]byte("x")) }()
	if n, err := c.Read(make([]byte, 1)); n != 1 || err != nil || len(gate) != 1 {
		t.Errorf("read %d, %v, %d places taken", n, err, len(gate))
	}
}
