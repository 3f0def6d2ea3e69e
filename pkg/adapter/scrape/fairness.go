package scrape

// The places for concurrent scrapes, shared by the namespaces.

// namespacePlaces are the scrapes of a namespace: waiting for a place, and under way. Manager.mu guards them.
type namespacePlaces struct {
	ready   [2]waitingQueue[*scrapeLoop] // loops that wait for a place, by lane
	running [2]int                       // scrapes under way, by lane
	waiting [2]bool                      // in Manager.waiting
	loops   int                          // current targets
}

// maxPlacesPerFree is the number of places that a namespace may have for each free place. A single namespace so gets three quarters
// of the places, two get three sevenths each, and n get 3 of 3n+1: some are always free for a namespace that has none, however
// long the scrapes of the others take.
const maxPlacesPerFree = 3

// mayNamespaceScrape reports whether a namespace may begin another scrape in a lane. The caller holds m.mu.
func (m *Manager) mayNamespaceScrape(p *namespacePlaces, l lane) bool {
	free := m.findLaneCapacity(l) - m.running[l]
	return free > 0 && p.running[l] < maxPlacesPerFree*free
}

// joinNamespacePlaces returns the places of a namespace for one more loop. The caller holds m.mu.
func (m *Manager) joinNamespacePlaces(namespace string) *namespacePlaces {
	p := m.places[namespace]
	if p == nil {
		p = &namespacePlaces{}
		m.places[namespace] = p
	}
	p.loops++
	return p
}

// leaveNamespacePlaces takes a loop that is no longer a target off its namespace. The caller holds m.mu.
func (m *Manager) leaveNamespacePlaces(l *scrapeLoop) {
	if l.places.loops--; l.places.loops == 0 {
		delete(m.places, l.key.Namespace)
	}
}

// awaitScrapePlace puts a loop behind the waiting loops of its namespace and lane. The caller holds m.mu.
func (m *Manager) awaitScrapePlace(l *scrapeLoop) {
	l.places.ready[l.lane].pushScrapeQueue(l)
	m.awaitNamespacePlace(l.places, l.lane)
}

// awaitNamespacePlace puts a namespace behind the namespaces that wait for a place, if it has a waiting loop and is not among them.
func (m *Manager) awaitNamespacePlace(p *namespacePlaces, l lane) {
	if !p.waiting[l] && p.ready[l].scrapeQueueLength() > 0 {
		p.waiting[l] = true
		m.waiting[l].pushScrapeQueue(p)
	}
}

// nextReadyLoop returns the next loop that may begin its scrape in a lane, or nil: the namespaces take turns. The caller holds
// m.mu.
func (m *Manager) nextReadyLoop(l lane) *scrapeLoop {
	if m.running[l] >= m.findLaneCapacity(l) {
		return nil
	}
	for range m.waiting[l].scrapeQueueLength() {
		p := m.waiting[l].popScrapeQueue()
		p.waiting[l] = false
		var next *scrapeLoop
		for next == nil && m.mayNamespaceScrape(p, l) && p.ready[l].scrapeQueueLength() > 0 {
			if candidate := p.ready[l].popScrapeQueue(); !candidate.isLoopOver() {
				next = candidate
			}
		}
		m.awaitNamespacePlace(p, l)
		if next != nil {
			return next
		}
	}
	return nil
}

// moveLongScrape moves a scrape to the slow lane, if its namespace may have another place there. The caller holds m.mu.
func (m *Manager) moveLongScrape(j *scrapeJob) bool {
	p := j.loop.places
	if !m.mayNamespaceScrape(p, slowLane) {
		return false
	}
	m.running[fastLane]--
	m.running[slowLane]++
	p.running[fastLane]--
	p.running[slowLane]++
	j.lane = slowLane
	return true
}

// moveHeldScrapes moves the long scrapes that found no place in the slow lane before. The caller holds m.mu.
func (m *Manager) moveHeldScrapes() {
	held := m.heldJobs[:0]
	for _, j := range m.heldJobs {
		if !j.ended && !m.moveLongScrape(j) {
			held = append(held, j)
		}
	}
	clear(m.heldJobs[len(held):])
	m.heldJobs = held
}
