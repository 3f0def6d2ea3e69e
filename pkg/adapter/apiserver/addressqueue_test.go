package apiserver

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
)

// TestProbesPassFloods: an address with a single handshake waits for at most one of each address of a flood, and for none that had one lately.
func TestProbesPassFloods(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newAdmissionQueue(1)
		if !q.takeQueuedPlace("first", nil) {
			t.Fatal("no place in an empty queue")
		}
		served := make(chan string, 300)
		wait := func(address string) {
			go func() {
				q.takeQueuedPlace(address, nil)
				served <- address
			}()
			synctest.Wait()
		}
		const addresses, each = 20, 9
		for range each {
			for i := range addresses {
				wait(fmt.Sprintf("flood-%d", i))
			}
		}
		for range 30 {
			q.returnQueuedPlace()
			synctest.Wait()
		}
		for range 30 {
			<-served
		}
		wait("kubelet")
		q.returnQueuedPlace()
		if synctest.Wait(); <-served != "kubelet" {
			t.Error("a probe waits for addresses that had places lately")
		}
		for left := addresses*each - 30; left > 0; left-- {
			q.returnQueuedPlace()
			synctest.Wait()
			<-served
		}
	})
}

// TestQueueLosesNoPlace: a waiter that gives up, before or while it is given a place, leaves the place to the others.
func TestQueueLosesNoPlace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newAdmissionQueue(1)
		q.takeQueuedPlace("first", nil)
		givenUp := make(chan struct{})
		left := make(chan bool, 100)
		for range 100 {
			go func() { left <- q.takeQueuedPlace("impatient", givenUp) }()
		}
		synctest.Wait()
		close(givenUp)
		q.returnQueuedPlace()
		synctest.Wait()
		var kept []bool
		for range 100 {
			kept = append(kept, <-left)
		}
		if slices.Contains(kept, true) { // it was given the place, and took it
			q.returnQueuedPlace()
		}
		if q.free != 1 || len(q.waiting) != 0 {
			t.Errorf("%d places are free and %d wait, want 1 and 0", q.free, len(q.waiting))
		}
	})
}

// TestQueueForgetsAddresses: ever new addresses fill no memory.
func TestQueueForgetsAddresses(t *testing.T) {
	t.Parallel()
	q := newAdmissionQueue(1)
	for i := range 3 * maxQueueAddresses {
		q.takeQueuedPlace(fmt.Sprint(i), nil)
		q.returnQueuedPlace()
	}
	if n := len(q.lines); n > maxQueueAddresses+1 {
		t.Errorf("%d addresses have a count, want at most %d", n, maxQueueAddresses+1)
	}
}
