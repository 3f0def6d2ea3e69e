package apiserver

import (
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// addressedConn is a connection from an address. Whether it is closed, it notes.
type addressedConn struct {
	net.Conn
	from   string
	closed bool
}

func (c *addressedConn) RemoteAddr() net.Addr {
	return &net.TCPAddr{IP: net.ParseIP(c.from), Port: 1000}
}
func (c *addressedConn) Close() error { c.closed = true; return nil }

func TestConnectionBounds(t *testing.T) {
	t.Parallel()
	now := time.Unix(1900000000, 0)
	evicted := 0
	table := newConnectionTable(serverLimits{connections: 5, connectionsPerAddress: 3}, func() { evicted++ })
	open := func(from string, after time.Duration) (*addressedConn, *limitedConn) {
		c := &addressedConn{from: from}
		return c, table.addClientConnection(c, now.Add(after))
	}
	first, _ := open("10.0.0.1", 0)
	for range 3 {
		open("10.0.0.1", 0)
	}
	if first.closed || table.countClientConnections() != 4 {
		t.Errorf("a young connection was closed at the bound of its address")
	}
	open("10.0.0.1", time.Minute)
	if !first.closed || table.countClientConnections() != 4 {
		t.Errorf("an address has %d connections, the oldest closed: %v", table.countClientConnections(), first.closed)
	}
	other, limited := open("10.0.0.2", time.Minute)
	second, _ := open("10.0.0.3", time.Minute)
	if other.closed || second.closed || table.countClientConnections() != 5 || evicted != 2 {
		t.Errorf("at the bound for all, %d connections, %d closed: not one of the greediest address", table.countClientConnections(), evicted)
	}
	table.exemptClientConnection(limited)
	for range 20 {
		open("10.0.0.2", time.Hour)
	}
	if other.closed {
		t.Error("a connection of the front proxy was closed for others")
	}
	if err := limited.Close(); err != nil || !other.closed || table.countClientConnections() != 5 {
		t.Errorf("Close = %v, %d connections", err, table.countClientConnections())
	}
}

// TestYoungConnectionsFinishTheirHandshakes: a burst of handshakes, among them those of kube-apiserver, closes none of them; a flood does.
func TestYoungConnectionsFinishTheirHandshakes(t *testing.T) {
	t.Parallel()
	now := time.Unix(1900000000, 0)
	evicted := 0
	table := newConnectionTable(serverLimits{connections: 5, connectionsPerAddress: 3, youngConnections: 4}, func() { evicted++ })
	for i := range 9 {
		table.addClientConnection(&addressedConn{from: "10.0.0.1"}, now.Add(time.Duration(i)*time.Second/2))
	}
	if evicted != 0 || table.countClientConnections() != 9 {
		t.Errorf("%d of a burst of 9 connections were closed", evicted)
	}
	table.addClientConnection(&addressedConn{from: "10.0.0.2"}, now.Add(4500*time.Millisecond))
	if evicted != 1 || table.countClientConnections() != 9 {
		t.Errorf("%d connections are open, %d were closed; want 9 and 1", table.countClientConnections(), evicted)
	}
	table.addClientConnection(&addressedConn{from: "10.0.0.2"}, now.Add(time.Minute))
	if evicted != 2 {
		t.Error("an old connection was kept above the bound")
	}
}

func TestAddressPlaces(t *testing.T) {
	t.Parallel()
	p := newClientAddressPlaces(3, 2)
	for i, step := range []struct {
		address string
		want    bool
	}{{"a", true}, {"a", true}, {"a", false}, {"b", true}, {"c", false}} {
		if got := p.takeClientAddressPlace(step.address); got != step.want {
			t.Errorf("step %d: %v", i, got)
		}
	}
	p.returnClientAddressPlace("a")
	if !p.takeClientAddressPlace("c") || p.takeClientAddressPlace("a") {
		t.Error("a place that was given back went to the wrong address")
	}
}

// TestUnreadAnswersStopReads: a connection is not read while its client does not take what was written.
func TestUnreadAnswersStopReads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		c := newConnectionTable(defaultServerLimits(), func() {}).addClientConnection(ours, time.Now())
		go func() { _, _ = c.Write([]byte("answer")) }()
		synctest.Wait()
		read := make(chan struct{})
		go func() { defer close(read); _, _ = c.Read(make([]byte, 1)) }()
		sent := make(chan struct{})
		go func() { defer close(sent); _, _ = theirs.Write([]byte("x")) }()
		synctest.Wait()
		if isOver(sent) {
			t.Error("a request was read before the answer to the last one was taken")
		}
		_, _ = theirs.Read(make([]byte, 16))
		synctest.Wait()
		if !isOver(sent) || !isOver(read) {
			t.Error("the next request was not read")
		}
		if err := errors.Join(c.Close(), theirs.Close()); err != nil {
			t.Error(err)
		}
	})
}
