// Places that an address or a caller may hold a few of, and a place that several holders share.

package apiserver

import "sync"

// addressPlaces are a number of places, of which one remote address, or one caller, may hold a few. It is safe for concurrent use.
type addressPlaces struct {
	total, perAddress int

	mu    sync.Mutex // guards the rest
	taken int
	by    map[string]int // places taken by address; no zeros
}

func newClientAddressPlaces(total, perAddress int) *addressPlaces {
	return &addressPlaces{total: total, perAddress: perAddress, by: map[string]int{}}
}

// takeClientAddressPlace reports whether address has a place now. The caller gives it back with returnClientAddressPlace.
func (p *addressPlaces) takeClientAddressPlace(address string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken >= p.total || p.by[address] >= p.perAddress {
		return false
	}
	p.taken++
	p.by[address]++
	return true
}

func (p *addressPlaces) returnClientAddressPlace(address string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	if p.by[address]--; p.by[address] == 0 {
		delete(p.by, address)
	}
}

// sharedPlace is a place that goes back after the last of its holders has released it. It is safe for concurrent use.
type sharedPlace struct {
	giveBack func()

	mu      sync.Mutex // guards holders
	holders int
}

// placeKey is the key of a request's sharedPlace in its context.
type placeKey struct{}

// holdRequestPlace adds a holder, and reports whether the place had one.
func (p *sharedPlace) holdRequestPlace() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.holders == 0 {
		return false
	}
	p.holders++
	return true
}

func (p *sharedPlace) releaseRequestPlace() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.holders--; p.holders == 0 {
		p.giveBack()
	}
}
