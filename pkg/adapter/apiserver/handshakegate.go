// TLS handshakes, which compute before anything is known of a client.

package apiserver

import (
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// handshakeGate bounds the TLS handshakes that compute at the same time. A handshake costs a hundred times the CPU of the packets
// that ask for it: without a bound, a flood of new connections takes the processors from the reads of HPAs.
//
// A handshake holds a place only between two reads from its connection, so a client that does not go on keeps no other out. A connection that
// closes waits no longer: its handshake would compute in vain, and a flood would wait in any number. A client that leaves behind its first message
// costs no key and no signature. The addresses with the fewest handshakes lately come first.
type handshakeGate struct {
	places *admissionQueue
	load   *processorLoad
}

// maxHandshakePause bounds the wait of the next handshake for HPAs' reads. Even under them, the connections of the bound and kube-apiserver's get
// their turn within a second or two.
const maxHandshakePause = 5 * time.Millisecond

// maxHandshakeBytes bounds what a client may send in a handshake: its certificates, mostly, which are in memory as long as the connection. A usual
// one sends 4 KiB. The library permits certificates of 256 KiB.
const maxHandshakeBytes = 64 << 10

// newHandshakeGate leaves at least half of the processors to requests.
func newHandshakeGate(load *processorLoad) *handshakeGate {
	return &handshakeGate{places: newAdmissionQueue(max(1, runtime.GOMAXPROCS(0)/2)), load: load}
}

// enterHandshakeGate reports whether a handshake may compute. It must then leave the gate. That of a client that has left does not wait for reads: a
// flood of them would delay the probes of a kubelet that shares its address.
func (g *handshakeGate) enterHandshakeGate(c *handshakeConn) bool {
	if !g.places.takeQueuedPlace(c.address, c.closing) {
		return false
	}
	if !c.isGivenUp() {
		g.load.awaitFreeProcessor(maxHandshakePause, c.closing)
	}
	if c.isGivenUp() {
		g.places.returnQueuedPlace()
		return false
	}
	return true
}

// handshakeConn is a connection whose handshake goes through a gate. Read is called by one goroutine at a time.
type handshakeConn struct {
	*limitedConn
	gate      *handshakeGate
	responded atomic.Bool // the server has begun to write

	mu       sync.Mutex // guards the rest
	held     bool
	done     bool // the handshake is over
	received int  // bytes of the handshake
}

// Read implements net.Conn.
func (c *handshakeConn) Read(b []byte) (int, error) {
	c.leaveHandshakeGate(false)
	n, err := c.limitedConn.Read(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil || c.done {
		return n, err
	}
	if c.received += n; c.received > maxHandshakeBytes {
		return 0, fmt.Errorf("read a handshake: it has more than %d bytes", maxHandshakeBytes)
	}
	if c.held = c.gate.enterHandshakeGate(c); !c.held {
		return 0, io.EOF
	}
	return n, nil
}

// isGivenUp reports whether the connection closes, or its client has left. Without the server's part no handshake goes on. Behind its last message a
// client may send a request, and close its side.
func (c *handshakeConn) isGivenUp() bool {
	select {
	case <-c.closing:
		return true
	default:
		return !c.responded.Load() && hasClientLeft(c.Conn)
	}
}

// Write implements net.Conn.
func (c *handshakeConn) Write(b []byte) (int, error) {
	c.responded.Store(true)
	return c.limitedConn.Write(b)
}

// leaveHandshakeGate returns the place of the connection, if it has one. After the last call the gate does not count.
func (c *handshakeConn) leaveHandshakeGate(last bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held {
		c.gate.places.returnQueuedPlace()
		c.held = false
	}
	c.done = c.done || last
}
