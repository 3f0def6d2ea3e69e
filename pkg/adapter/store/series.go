package store

// One series: appends to its chunks, and snapshots of them.

import (
	"sync"

	"github.com/prometheus/prometheus/model/labels"
)

// memSeries is a labelled time series and its samples.
type memSeries struct {
	labels    labels.Labels
	usage     *namespaceUsage
	createdAt int64 // time of its first sample or of the attempt to add one, in milliseconds
	// The store's lock guards ref, the reference given out, and nextSameHash, the next series of the same hash.
	ref          uint64
	nextSameHash *memSeries

	// mu guards the fields below.
	mu           sync.Mutex
	chunks       []sampleChunk // oldest first; empty in a series that has just been created
	newestSample chunkCursor
	dropped      bool // no longer in the store: holders of the series must look it up again
}

// appendStoredSample adds a sample and forgets chunks that end before cutoff. It returns the change in the number of samples, and
// false if the sample is not newer than the newest.
func (s *memSeries) appendStoredSample(t int64, v float64, cutoff int64) (grown int, ok bool) {
	n := len(s.chunks)
	if n > 0 && t <= s.newestSample.t {
		return 0, false
	}
	if n > 0 && s.chunks[n-1].encodeStoredSample(&s.newestSample, t, v) {
		return 1, true
	}
	forgotten := s.forgetStoredChunks(cutoff)
	s.chunks = append(s.chunks, newStoredChunk(&s.newestSample, t, v))
	return 1 - forgotten, true
}

// forgetStoredChunks drops the chunks with all samples before cutoff and returns their number of samples. It moves the rest down in
// place: readers hold copies of the headers.
func (s *memSeries) forgetStoredChunks(cutoff int64) (samples int) {
	old := 0
	for old+1 < len(s.chunks) && s.chunks[old+1].storedChunkStartTime() <= cutoff {
		samples += s.chunks[old].countStoredChunkSamples()
		old++
	}
	if old == 0 {
		return 0
	}
	n := copy(s.chunks, s.chunks[old:])
	clear(s.chunks[n:])
	s.chunks = s.chunks[:n]
	return samples
}

// snapshotStoredChunks appends to dst the chunks that may hold samples of [mint, maxt].
func (s *memSeries) snapshotStoredChunks(dst []sampleChunk, mint, maxt int64) []sampleChunk {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append(dst, s.storedChunksBetween(mint, maxt)...)
}

// storedChunksBetween returns the chunks that may hold samples of [mint, maxt]. The caller holds mu.
func (s *memSeries) storedChunksBetween(mint, maxt int64) []sampleChunk {
	first, end := 0, len(s.chunks)
	for first+1 < end && s.chunks[first+1].storedChunkStartTime() <= mint {
		first++
	}
	last := first
	for last < end && s.chunks[last].storedChunkStartTime() <= maxt {
		last++
	}
	return s.chunks[first:last]
}

// totalStoredSamples returns the number of samples.
func (s *memSeries) totalStoredSamples() (n int) {
	for _, ch := range s.chunks {
		n += ch.countStoredChunkSamples()
	}
	return n
}
