package store

import (
	"maps"
	"time"
)

// dropBatch bounds how many series are dropped under one hold of the store's lock: a fraction of a millisecond.
const dropBatch = 1000

// DropIdleSeries drops the series whose newest sample is older than the retention, and gives their memory back.
func (s *Store) DropIdleSeries(now time.Time) {
	cutoff := s.oldestKept(now.UnixMilli())
	idle := s.listIdleSeries(cutoff)
	for len(idle) > 0 {
		n := min(dropBatch, len(idle))
		s.dropSeries(idle[:n], cutoff)
		idle = idle[n:]
	}
	s.shrinkTables()
}

func (s *Store) listIdleSeries(cutoff int64) (idle []*memSeries) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, candidate := range s.slots {
		if candidate != nil && candidate.isIdleSince(cutoff) {
			idle = append(idle, candidate)
		}
	}
	return idle
}

func (s *memSeries) isIdleSince(cutoff int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	// A series without samples was made a moment ago and is about to get its first.
	return len(s.chunks) > 0 && s.newestSample.t < cutoff
}

// dropSeries takes out those of the series that are still idle.
func (s *Store) dropSeries(idle []*memSeries, cutoff int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, old := range idle {
		samples, ok := old.markDropped(cutoff)
		if !ok {
			continue
		}
		s.sampleCount.Add(-int64(samples))
		s.metrics.droppedSeries.Inc()
		s.index.removeFromIndex(old)
		s.removeFromHash(old)
		slot := uint32(old.ref)
		s.slots[slot] = nil
		s.freeSlots = append(s.freeSlots, slot)
		s.seriesCount--
	}
}

// markDropped marks a series as dropped, unless it was dropped before or got a sample meanwhile, and empties it.
func (s *memSeries) markDropped(cutoff int64) (samples int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dropped || s.newestSample.t >= cutoff {
		return 0, false
	}
	samples = s.totalSamples()
	s.dropped, s.chunks = true, nil
	return samples, true
}

func (s *Store) removeFromHash(old *memSeries) {
	hash := old.labels.Hash()
	if s.byHash[hash] == old {
		if old.nextSameHash == nil {
			delete(s.byHash, hash)
		} else {
			s.byHash[hash] = old.nextSameHash
		}
		return
	}
	for before := s.byHash[hash]; before != nil; before = before.nextSameHash {
		if before.nextSameHash == old {
			before.nextSameHash = old.nextSameHash
			return
		}
	}
}

// shrinkTables gives back what a former crowd took: Go's maps and slices never shrink by themselves.
func (s *Store) shrinkTables() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seriesCount == 0 {
		s.slots, s.freeSlots = nil, nil
	}
	if s.seriesCount*4 < s.peakCount {
		hashed := make(map[uint64]*memSeries, s.seriesCount)
		maps.Copy(hashed, s.byHash)
		s.byHash, s.peakCount = hashed, s.seriesCount
	}
}
