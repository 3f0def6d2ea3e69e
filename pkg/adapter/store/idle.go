package store

// The end of idle series.

import (
	"maps"
	"time"
)

// dropBatch bounds the series dropped under one hold of the store's lock: a fraction of a millisecond.
const dropBatch = 1000

// DropIdleSeries drops each series with a newest sample older than the retention, and frees its memory.
func (s *Store) DropIdleSeries(now time.Time) {
	cutoff := s.oldestKept(now.UnixMilli())
	idle := s.listIdleSeries(cutoff)
	for len(idle) > 0 {
		n := min(dropBatch, len(idle))
		s.dropSeries(idle[:n], cutoff)
		idle = idle[n:]
	}
	s.shrinkSeriesTables()
}

func (s *Store) listIdleSeries(cutoff int64) (idle []*memSeries) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, candidate := range s.slots {
		if candidate != nil && candidate.isSeriesIdleSince(cutoff) {
			idle = append(idle, candidate)
		}
	}
	return idle
}

func (s *memSeries) isSeriesIdleSince(cutoff int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lastActive() < cutoff
}

// lastActive returns the time of the newest sample; of a series that waits for its first sample, the time of its creation. The
// caller holds mu.
func (s *memSeries) lastActive() int64 {
	if len(s.chunks) == 0 {
		return s.createdAt
	}
	return s.newestSample.t
}

// dropSeries removes the series, except a series that got a sample meanwhile.
func (s *Store) dropSeries(idle []*memSeries, cutoff int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, old := range idle {
		samples, ok := old.markSeriesDropped(cutoff)
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

// markSeriesDropped marks a series as dropped and empties it, unless it was dropped before or got a sample meanwhile. It returns the
// number of samples that the series held.
func (s *memSeries) markSeriesDropped(cutoff int64) (samples int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dropped || s.lastActive() >= cutoff {
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

// shrinkSeriesTables frees the memory of former series: Go's maps and slices never shrink by themselves.
func (s *Store) shrinkSeriesTables() {
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
