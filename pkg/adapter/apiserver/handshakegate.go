// TLS handshakes, which compute before anything is known of a client.

package apiserver

import (
	"net"
	"runtime"
	"sync"
)

// handshakeGate bounds the TLS handshakes that compute at the same time. A handshake costs a hundred times the CPU of the packets
// that ask for it: without a bound, a flood of new connections takes the processors from the reads of HPAs.
//
// A handshake holds a place only between two reads from its connection, so a client that does not go on keeps no other out.
type handshakeGate chan struct{}

// newAPIServerHandshakeGate leaves at least half of the processors to requests.
func newAPIServerHandshakeGate() handshakeGate {
	return make(handshakeGate, max(1, runtime.GOMAXPROCS(0)/2))
}

// gatedConn is a connection whose handshake goes through a gate. Read is called by one goroutine at a time.
type gatedConn struct {
	net.Conn
	gate handshakeGate

	mu   sync.Mutex // guards the rest
	held bool
	done bool // the handshake is over
}

// Read implements net.Conn.
func (c *gatedConn) Read(b []byte) (int, error) {
	c.leaveAPIServerHandshakeGate(false)
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil && !c.done {
		c.gate <- struct{}{}
		c.held = true
	}
	return n, err
}

// leaveAPIServerHandshakeGate returns the place of the connection, if it has one. After the last call the gate does not count.
func (c *gatedConn) leaveAPIServerHandshakeGate(last bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held {
		<-c.gate
		c.held = false
	}
	c.done = c.done || last
}
