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
// oldest of the address with the most connections. A handshake takes milliseconds, so a flood of idle connections keeps no
// caller out. Connections of the front proxy are exempt as soon as the handshake has proven its certificate.
type connectionTable struct {
	total, perAddress int
	onEvict           func() // called for each connection closed at a bound, with mu held

	mu    sync.Mutex // guards the rest
	count int
	open  map[string][]*limitedConn // unproven connections by address, oldest first; no empty lists
}

func newConnectionTable(total, perAddress int, onEvict func()) *connectionTable {
	return &connectionTable{total: total, perAddress: perAddress, onEvict: onEvict, open: map[string][]*limitedConn{}}
}

// limitedConn is a connection in a connectionTable. It leaves the table when it is closed.
type limitedConn struct {
	net.Conn
	table   *connectionTable
	address string
	since   time.Time
	closed  atomic.Bool
}

// connectionGrace is the age below which the bound of an address closes no connection. An HTTP/2 client such as
// kube-apiserver may begin with as many connections as it has requests, and keeps one.
const connectionGrace = time.Second

// addConnection registers c, and closes another connection if there are too many.
func (t *connectionTable) addConnection(c net.Conn, now time.Time) *limitedConn {
	added := &limitedConn{Conn: c, table: t, address: remoteHost(c.RemoteAddr().String()), since: now}
	t.mu.Lock()
	defer t.mu.Unlock()
	same := t.open[added.address]
	switch {
	case t.count >= t.total:
		t.evictOldest(t.greediestAddress())
	case len(same) >= t.perAddress && now.Sub(same[0].since) >= connectionGrace:
		t.evictOldest(added.address)
	}
	t.count++
	t.open[added.address] = append(t.open[added.address], added)
	return added
}

// greediestAddress returns the address with the most connections.
func (t *connectionTable) greediestAddress() string {
	greediest, most := "", 0
	for address, conns := range t.open {
		if len(conns) > most {
			greediest, most = address, len(conns)
		}
	}
	return greediest
}

func (t *connectionTable) evictOldest(address string) {
	conns := t.open[address]
	if len(conns) == 0 {
		return
	}
	oldest := conns[0]
	t.dropConnection(oldest)
	// The close of a TCP socket does not block. The owner's own close follows, and is without effect.
	_ = oldest.Conn.Close()
	t.onEvict()
}

// dropConnection forgets c if it is still counted.
func (t *connectionTable) dropConnection(c *limitedConn) {
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

// exemptConnection takes c out of the bounds: it belongs to the front proxy.
func (t *connectionTable) exemptConnection(c *limitedConn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dropConnection(c)
}

func (t *connectionTable) countConnections() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count
}

func (c *limitedConn) Close() error {
	if !c.closed.Swap(true) {
		c.table.exemptConnection(c)
	}
	return c.Conn.Close()
}

// remoteHost returns the host of an address with a port, or the whole address if it has none.
func remoteHost(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}
