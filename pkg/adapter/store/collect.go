package store

import (
	"maps"
	"time"
)

// collectBatch bounds how many series are dropped under one hold of the store's lock: a fraction of a millisecond.
const collectBatch = 1000

// Collect drops the series whose newest sample is older than the retention, and gives their memory back.
func (s *Store) Collect(now time.Time) {
	cutoff := now.UnixMilli() - s.retention.Load()
	idle := s.idle(cutoff)
	for len(idle) > 0 {
		n := min(collectBatch, len(idle))
		s.drop(idle[:n], cutoff)
		idle = idle[n:]
	}
	s.shrink()
}

func (s *Store) idle(cutoff int64) (idle []*series) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, candidate := range s.slots {
		if candidate != nil && candidate.idleSince(cutoff) {
			idle = append(idle, candidate)
		}
	}
	return idle
}

func (s *series) idleSince(cutoff int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	// A series without samples was made a moment ago and is about to get its first.
	return len(s.chunks) > 0 && s.newest.t < cutoff
}

// drop takes out those of the series that are still idle.
func (s *Store) drop(idle []*series, cutoff int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, old := range idle {
		samples, ok := old.close(cutoff)
		if !ok {
			continue
		}
		s.samples.Add(-int64(samples))
		s.metrics.dropped.Inc()
		s.index.remove(old)
		s.unhash(old)
		slot := uint32(old.ref)
		s.slots[slot] = nil
		s.free = append(s.free, slot)
		s.count--
	}
}

// close marks a series as dropped, unless it was dropped before or got a sample meanwhile, and empties it.
func (s *series) close(cutoff int64) (samples int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dropped || s.newest.t >= cutoff {
		return 0, false
	}
	samples = s.samples()
	s.dropped, s.chunks = true, nil
	return samples, true
}

func (s *Store) unhash(old *series) {
	hash := old.labels.Hash()
	if s.hashed[hash] == old {
		if old.next == nil {
			delete(s.hashed, hash)
		} else {
			s.hashed[hash] = old.next
		}
		return
	}
	for before := s.hashed[hash]; before != nil; before = before.next {
		if before.next == old {
			before.next = old.next
			return
		}
	}
}

// shrink gives back what a former crowd took: Go's maps and slices never shrink by themselves.
func (s *Store) shrink() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count == 0 {
		s.slots, s.free = nil, nil
	}
	if s.count*4 < s.peak {
		hashed := make(map[uint64]*series, s.count)
		maps.Copy(hashed, s.hashed)
		s.hashed, s.peak = hashed, s.count
	}
}
