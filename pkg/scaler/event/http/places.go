package httpevent

import (
	"container/list"
	"net/netip"
	"sync"
)

// This file limits the requests with a body on the way: they hold memory, and their senders are unknown. A new request takes the place of the
// oldest. So a sender without the secret cannot keep all places, because a signed body comes at once.

// readPlaces are the places for requests that are being read.
type readPlaces struct {
	total, perAddress int

	mu        sync.Mutex // guards all below
	byAddress map[netip.Addr]*list.List
	taken     int
}

// readPlace is the place of a request. Its interrupt ends the reading.
type readPlace struct {
	address   netip.Addr
	interrupt func()
}

func newReadPlaces(total, perAddress int) *readPlaces {
	return &readPlaces{total: total, perAddress: perAddress, byAddress: map[netip.Addr]*list.List{}}
}

// takeReadPlace takes a place, and returns the function that gives it back. If the address has all its places, its oldest request is
// interrupted; if all places are taken, the oldest request of the address with the most.
func (p *readPlaces) takeReadPlace(address netip.Addr, interrupt func()) (giveBack func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if all := p.byAddress[address]; all != nil && all.Len() >= p.perAddress {
		p.interruptOldestRead(all)
	} else if p.taken >= p.total {
		p.interruptOldestRead(p.busiestAddressReads())
	}
	all := p.byAddress[address]
	if all == nil {
		all = list.New()
		p.byAddress[address] = all
	}
	place := all.PushBack(&readPlace{address, interrupt})
	p.taken++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.removeReadPlace(all, place)
	}
}

// interruptOldestRead interrupts the oldest of the requests, and frees its place. The caller holds mu.
func (p *readPlaces) interruptOldestRead(all *list.List) {
	oldest := all.Front()
	oldest.Value.(*readPlace).interrupt()
	p.removeReadPlace(all, oldest)
}

// removeReadPlace frees a place unless it is free. The caller holds mu.
func (p *readPlaces) removeReadPlace(all *list.List, place *list.Element) {
	before := all.Len()
	all.Remove(place)
	p.taken -= before - all.Len()
	if address := place.Value.(*readPlace).address; all.Len() == 0 && p.byAddress[address] == all {
		delete(p.byAddress, address)
	}
}

// busiestAddressReads returns the requests of the address with the most. The caller holds mu.
func (p *readPlaces) busiestAddressReads() (largest *list.List) {
	for _, all := range p.byAddress {
		if largest == nil || all.Len() > largest.Len() {
			largest = all
		}
	}
	return largest
}
