package apiserver

import (
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// newTestHandshakeGate returns a gate with one place, on two processors.
func newTestHandshakeGate() *handshakeGate {
	return &handshakeGate{places: newAdmissionQueue(1), load: &processorLoad{processors: 2, freed: make(chan struct{})}}
}

// openGated returns a new gated connection, and its peer.
func openGated(t *testing.T, gate *handshakeGate) (c *handshakeConn, peer net.Conn) {
	t.Helper()
	ours, theirs := net.Pipe()
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	table := newConnectionTable(defaultServerLimits(), func() {})
	return &handshakeConn{limitedConn: table.addClientConnection(ours, time.Now()), gate: gate}, theirs
}

// readGated reads once from a new gated connection, whose peer sends data if sends.
func readGated(t *testing.T, gate *handshakeGate, sends bool) (c *handshakeConn, done <-chan struct{}) {
	t.Helper()
	c, peer := openGated(t, gate)
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = c.Read(make([]byte, 1))
	}()
	if sends {
		go func() { _, _ = peer.Write([]byte("x")) }()
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
		gate := newTestHandshakeGate()
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
		first.leaveHandshakeGate(true)
		synctest.Wait()
		if !isOver(secondDone) || gate.places.free != 0 {
			t.Errorf("second read: %t, %d places free", isOver(secondDone), gate.places.free)
		}
		second.leaveHandshakeGate(true)
		if gate.places.free != 1 {
			t.Errorf("%d places are free after the handshakes", gate.places.free)
		}
	})
}

// TestGateAfterHandshake: what is read after the handshake needs no place.
func TestGateAfterHandshake(t *testing.T) {
	t.Parallel()
	gate := newTestHandshakeGate()
	gate.places.takeQueuedPlace("another", nil)
	c, peer := openGated(t, gate)
	c.leaveHandshakeGate(true)
	go func() { _, _ = peer.Write([]byte("x")) }()
	if n, err := c.Read(make([]byte, 1)); n != 1 || err != nil || gate.places.free != 0 {
		t.Errorf("read %d, %v, %d places free", n, err, gate.places.free)
	}
}

// TestClosedConnectionsLeaveTheGate: a flood of hellos waits in no greater number than its connections, and a connection that was closed for a new one
// computes nothing.
func TestClosedConnectionsLeaveTheGate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gate := newTestHandshakeGate()
		gate.places.takeQueuedPlace("another", nil)
		limits := serverLimits{connections: 5, connectionsPerAddress: 5, youngConnections: 5, strangerRequests: 1}
		table := newConnectionTable(limits, func() {})
		var waiting, computed atomic.Int64
		for range 100 {
			ours, theirs := net.Pipe()
			c := &handshakeConn{limitedConn: table.addClientConnection(ours, time.Now()), gate: gate}
			waiting.Add(1)
			go func() {
				defer waiting.Add(-1)
				if _, err := c.Read(make([]byte, 1)); err == nil {
					computed.Add(1)
				}
				c.leaveHandshakeGate(true)
			}()
			go func() { _, _ = theirs.Write([]byte("x")); theirs.Close() }()
			synctest.Wait()
		}
		if n := waiting.Load(); n != 10 {
			t.Errorf("%d handshakes wait, want as many as connections: 10", n)
		}
		gate.places.returnQueuedPlace()
		synctest.Wait()
		if n := computed.Load(); n != 10 {
			t.Errorf("%d handshakes computed, want those of the 10 open connections", n)
		}
	})
}

// TestHandshakesWaitForReads: while HPAs' reads have all processors, one handshake begins each maxHandshakePause; with a free one, all do.
func TestHandshakesWaitForReads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gate := newTestHandshakeGate()
		var began atomic.Int64
		flood := func() {
			for range 10 {
				c, peer := openGated(t, gate)
				go func() {
					_, _ = c.Read(make([]byte, 1))
					began.Add(1)
					c.leaveHandshakeGate(true)
				}()
				go func() { _, _ = peer.Write([]byte("x")) }()
			}
			synctest.Wait()
		}
		endFirst := gate.load.beginRequestComputation()
		if flood(); began.Load() != 10 {
			t.Errorf("%d of 10 handshakes began beside one read on two processors", began.Load())
		}
		endSecond := gate.load.beginRequestComputation()
		if flood(); began.Load() != 10 {
			t.Errorf("%d handshakes began while two reads have both processors, want none", began.Load()-10)
		}
		time.Sleep(3*maxHandshakePause + maxHandshakePause/2) //nolint:forbidigo // virtual time
		if synctest.Wait(); began.Load() != 13 {
			t.Errorf("%d handshakes began in three pauses, want 3", began.Load()-10)
		}
		endSecond()
		if synctest.Wait(); began.Load() != 20 {
			t.Errorf("%d of 10 handshakes began after a read has ended", began.Load()-10)
		}
		endFirst()
	})
}

// TestLongReadsHoldNobodyUp: a read that takes longer than it can compute waits for something, and its processor is free.
func TestLongReadsHoldNobodyUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		load := newTestHandshakeGate().load
		for range 2 {
			defer load.beginRequestComputation()()
		}
		began := time.Now()
		load.awaitFreeProcessor(time.Hour, nil)
		if waited := time.Since(began); waited != maxProcessorTime {
			t.Errorf("waited %v, want %v", waited, maxProcessorTime)
		}
	})
}
