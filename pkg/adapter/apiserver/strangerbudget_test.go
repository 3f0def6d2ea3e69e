package apiserver

import (
	"crypto/tls"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// TestStrangerBudget: an address pays for its rejected requests in time, at most two seconds at once, and no other address pays.
func TestStrangerBudget(t *testing.T) {
	t.Parallel()
	now := time.Unix(1900000000, 0)
	b := newStrangerBudget(50, 200)
	for range 200 {
		b.chargeStranger("10.0.0.1", now)
	}
	if d := b.measureStrangerDelay("10.0.0.1", now); d != 0 {
		t.Errorf("within its burst an address waits %s", d)
	}
	for range 25 {
		b.chargeStranger("10.0.0.1", now)
	}
	if d := b.measureStrangerDelay("10.0.0.1", now); d != 500*time.Millisecond {
		t.Errorf("25 requests above its burst cost %s, want 500ms", d)
	}
	for range 100_000 {
		b.chargeStranger("10.0.0.1", now)
	}
	if d := b.measureStrangerDelay("10.0.0.1", now); d != maxStrangerDelay {
		t.Errorf("100,000 requests cost %s, want %s", d, maxStrangerDelay)
	}
	if d := b.measureStrangerDelay("10.0.0.1", now.Add(maxStrangerDelay)); d != 0 {
		t.Errorf("after that an address waits %s", d)
	}
	if d := b.measureStrangerDelay("10.0.0.2", now); d != 0 {
		t.Errorf("another address waits %s", d)
	}
}

// TestChargedConnectionWaits: over the budget only connections with rejected requests wait, and none of them longer than it is open.
func TestChargedConnectionWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		table := newConnectionTable(defaultServerLimits(), func() {})
		open := func() (*limitedConn, net.Conn) {
			ours, theirs := net.Pipe()
			t.Cleanup(func() { ours.Close(); theirs.Close() })
			go func() { _, _ = theirs.Write([]byte("x")) }()
			return table.addClientConnection(ours, time.Now()), theirs
		}
		read := func(c *limitedConn) time.Duration {
			began := time.Now()
			_, _ = c.Read(make([]byte, 1))
			return time.Since(began)
		}
		flooded, _ := open()
		innocent, _ := open()
		ended, _ := open()
		for _, c := range []*limitedConn{flooded, ended} {
			ctx := withRequestConnection(t.Context(), tls.Server(&handshakeConn{limitedConn: c}, &tls.Config{}))
			for range 1000 {
				chargeClientConnection(ctx)
			}
		}
		if waited := read(innocent); waited != 0 {
			t.Errorf("an innocent connection of the address waited %s", waited)
		}
		time.AfterFunc(time.Second, func() { ended.Close() })
		if waited := read(ended); waited != time.Second {
			t.Errorf("a connection that was closed after a second waited %s", waited)
		}
		if waited := read(flooded); waited != maxStrangerDelay-time.Second {
			t.Errorf("the flood waited %s, want the rest of %s", waited, maxStrangerDelay)
		}
	})
}
