// The open connections: their number, in all and of an address.

package apiserver

import (
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// connectionTable bounds the open connections, in all and per remote address.
//
// A new connection always gets in: at the bound of an address its oldest connection is closed, and at the bound for all the
// oldest of the address with the most connections; of these, one whose client has left goes first. A handshake takes milliseconds, so a flood of idle connections keeps no
// caller out. Connections of the front proxy are exempt as soon as the handshake has proven its certificate.
type connectionTable struct {
	total, perAddress int
	maxYoung          int    // connections above total while the oldest are young
	onEvict           func() // called for each connection closed at a bound
	strangers         *strangerBudget

	mu    sync.Mutex // guards the rest
	count int
	open  map[string][]*limitedConn // unproven connections by address, oldest first; no empty lists
}

func newConnectionTable(limits serverLimits, onEvict func()) *connectionTable {
	return &connectionTable{
		total: limits.connections, perAddress: limits.connectionsPerAddress, maxYoung: limits.youngConnections, onEvict: onEvict, open: map[string][]*limitedConn{},
		strangers: newStrangerBudget(limits.strangerRequests, limits.strangerBurst),
	}
}

// limitedConn is a connection in a connectionTable. It leaves the table when it is closed.
type limitedConn struct {
	net.Conn
	table   *connectionTable
	address string
	since   time.Time
	closed  atomic.Bool
	closing chan struct{} // closed with the connection
	charged atomic.Bool   // its requests count in the budget of strangers
	writing chan struct{} // has an item during a Write
}

// connectionGrace is the age below which a bound closes no connection, until there are maxYoung more than the bound for all: a connection of
// the front proxy is not known as such before its handshake has ended, which takes seconds on a starved machine. An HTTP/2 client such as
// kube-apiserver may begin with as many connections as it has requests, and keeps one.
const connectionGrace = 5 * time.Second

// addClientConnection registers c, and closes another connection if there are too many.
func (t *connectionTable) addClientConnection(c net.Conn, now time.Time) *limitedConn {
	added := &limitedConn{Conn: c, table: t, address: parseClientHost(c.RemoteAddr().String()), since: now, closing: make(chan struct{}), writing: make(chan struct{}, 1)}
	if evicted := t.insertClientConnection(added, now); evicted != nil {
		// The owner's own close follows, and is without effect.
		_ = evicted.Close()
		t.onEvict()
	}
	return added
}

// insertClientConnection returns the connection that has left the table for a new one; nil for none.
func (t *connectionTable) insertClientConnection(added *limitedConn, now time.Time) (evicted *limitedConn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	greediest := added.address
	if t.count >= t.total {
		greediest = t.findGreediestClientAddress()
	}
	conns := t.open[greediest]
	if isFull := t.count >= t.total || len(conns) >= t.perAddress; isFull && len(conns) > 0 {
		if evicted = t.chooseEvictedConnection(conns, now); evicted != nil {
			t.removeClientConnection(evicted)
		}
	}
	t.count++
	t.open[added.address] = append(t.open[added.address], added)
	return evicted
}

// maxLeftChecks bounds the connections that are checked for a client that has left, each by a system call.
const maxLeftChecks = 32

// chooseEvictedConnection returns the connection that a new one closes; nil: none. Without regard to clients that have left, a flood of hellos would
// close the probe of a kubelet that shares its address, just before its turn.
func (t *connectionTable) chooseEvictedConnection(oldestFirst []*limitedConn, now time.Time) *limitedConn {
	for _, c := range oldestFirst[:min(len(oldestFirst), maxLeftChecks)] {
		if hasClientLeft(c.Conn) {
			return c
		}
	}
	if t.count >= t.total+t.maxYoung || now.Sub(oldestFirst[0].since) >= connectionGrace {
		return oldestFirst[0]
	}
	return nil
}

// findGreediestClientAddress returns the address with the most connections.
func (t *connectionTable) findGreediestClientAddress() string {
	greediest, most := "", 0
	for address, conns := range t.open {
		if len(conns) > most {
			greediest, most = address, len(conns)
		}
	}
	return greediest
}

// removeClientConnection forgets c if it is still counted.
func (t *connectionTable) removeClientConnection(c *limitedConn) {
	conns := t.open[c.address]
	i := slices.Index(conns, c)
	if i < 0 {
		return
	}
	t.count--
	if conns = slices.Delete(conns, i, i+1); len(conns) == 0 {
		delete(t.open, c.address)
		return
	}
	t.open[c.address] = conns
}

// exemptClientConnection takes c out of the bounds: it belongs to the front proxy.
func (t *connectionTable) exemptClientConnection(c *limitedConn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.removeClientConnection(c)
}

func (t *connectionTable) countClientConnections() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count
}

func (c *limitedConn) Close() error {
	if !c.closed.Swap(true) {
		close(c.closing)
		c.table.exemptClientConnection(c)
	}
	return c.Conn.Close()
}

// Write implements net.Conn.
func (c *limitedConn) Write(b []byte) (int, error) {
	c.writing <- struct{}{} // the close of the connection ends any write before
	defer func() { <-c.writing }()
	return c.Conn.Write(b)
}

// Read implements net.Conn. It waits while the connection's client is over its budget, or does not read what the server writes: each
// HTTP/2 frame may cost an answer in a queue.
func (c *limitedConn) Read(b []byte) (int, error) {
	if c.charged.Load() {
		c.awaitStrangerBudget()
	}
	c.writing <- struct{}{}
	<-c.writing
	return c.Conn.Read(b)
}

// parseClientHost returns the host of an address with a port, or the whole address if it has none.
func parseClientHost(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}
