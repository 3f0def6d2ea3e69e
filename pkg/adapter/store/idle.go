package store

// The end of series: idle ones, and those with samples that are of no use.

import (
	"maps"
	"math"
	"time"
)

// dropBatch bounds the series dropped under one hold of the store's lock: a fraction of a millisecond.
const dropBatch = 1000

// dropIdleSeries drops each series with a newest sample older than the retention, and frees its memory.
func (s *Store) dropIdleSeries(now time.Time) {
	cutoff := s.oldestKeptTime(now.UnixMilli())
	idle := s.listIdleSeries(cutoff)
	for len(idle) > 0 {
		n := min(dropBatch, len(idle))
		s.dropListedStoreSeries(idle[:n], cutoff)
		idle = idle[n:]
	}
	s.shrinkSeriesTables()
}

func (s *Store) listIdleSeries(cutoff int64) (idle []*storedSeries) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, candidate := range s.slots {
		if candidate != nil && candidate.isSeriesIdleSince(cutoff) {
			idle = append(idle, candidate)
		}
	}
	return idle
}

func (s *storedSeries) isSeriesIdleSince(cutoff int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seriesLastActive() < cutoff
}

// seriesLastActive returns the time of the newest sample; of a series that waits for its first sample, the time of its creation. The
// caller holds mu.
func (s *storedSeries) seriesLastActive() int64 {
	if len(s.chunks) == 0 {
		return s.createdAt
	}
	return s.newestSample.t
}

// dropListedStoreSeries removes the series, except a series that got a sample meanwhile.
func (s *Store) dropListedStoreSeries(idle []*storedSeries, cutoff int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, old := range idle {
		if s.removeStoredSeries(old, cutoff) {
			s.metrics.droppedSeries.Inc()
			s.forgetEmptyUsage(old.usage)
		}
	}
}

// removeStoredSeries removes a series without a sample since cutoff, and reports whether it did. The caller holds s.mu.
func (s *Store) removeStoredSeries(old *storedSeries, cutoff int64) bool {
	samples, chunks, ok := old.markSeriesDropped(cutoff)
	if !ok {
		return false
	}
	s.sampleCount.Add(-int64(samples))
	s.index.removeIndexedSeries(old)
	s.removeHashedSeries(old)
	slot := uint32(old.ref)
	s.slots[slot] = nil
	s.freeSlots = append(s.freeSlots, slot)
	s.seriesCount--
	old.usage.series--
	s.chargeSeriesBytes(old.usage, -seriesByteCost(old.labels)+chunksByteCost(0)-chunksByteCost(chunks))
	return true
}

// markSeriesDropped marks a series as dropped and empties it, unless it was dropped before or got a sample meanwhile. It returns the
// numbers of samples and chunks that the series held.
func (s *storedSeries) markSeriesDropped(cutoff int64) (samples, chunks int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dropped || s.seriesLastActive() >= cutoff {
		return 0, 0, false
	}
	samples, chunks = s.countSeriesSamples(), len(s.chunks)
	s.dropped, s.chunks = true, nil
	return samples, chunks, true
}

// Forget drops a series with all its samples. A reference that is no longer valid changes nothing.
func (s *Store) Forget(ref uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slot := uint32(ref); ref != 0 && int(slot) < len(s.slots) {
		if old := s.slots[slot]; old != nil && old.ref == ref && s.removeStoredSeries(old, math.MaxInt64) {
			s.metrics.droppedSeries.Inc()
			s.forgetEmptyUsage(old.usage)
		}
	}
}

func (s *Store) removeHashedSeries(old *storedSeries) {
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
		hashed := make(map[uint64]*storedSeries, s.seriesCount)
		maps.Copy(hashed, s.byHash)
		s.byHash, s.peakCount = hashed, s.seriesCount
	}
}
