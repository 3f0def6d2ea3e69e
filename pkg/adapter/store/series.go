package store

// One series: appends to its chunks, and snapshots of them.

import (
	"sync"

	"github.com/prometheus/prometheus/model/labels"
)

// storedSeries is a labelled time series and its samples.
type storedSeries struct {
	labels    labels.Labels
	usage     *namespaceUsage
	createdAt int64 // time of its first sample or of the attempt to add one, in milliseconds
	// The store's lock guards ref, the reference given out, and nextSameHash, the next series of the same hash.
	ref          uint64
	nextSameHash *storedSeries

	// mu guards the fields below.
	mu           sync.Mutex
	chunks       []sampleChunk // oldest first; empty in a series that has just been created
	newestSample chunkCursor
	dropped      bool // no longer in the store: holders of the series must look it up again
}

// appendSeriesSample adds a sample and forgets chunks that end before cutoff. It returns the change in the number of samples, and
// false if the sample is not newer than the newest.
func (s *storedSeries) appendSeriesSample(t int64, v float64, cutoff int64) (grown int, ok bool) {
	n := len(s.chunks)
	if n > 0 && t <= s.newestSample.t {
		return 0, false
	}
	if n > 0 && s.chunks[n-1].encodeSample(&s.newestSample, t, v) {
		return 1, true
	}
	forgotten := s.forgetOldChunks(cutoff)
	s.chunks = append(s.chunks, newSampleChunk(&s.newestSample, t, v))
	return 1 - forgotten, true
}

// forgetOldChunks drops the chunks with all samples before cutoff and returns their number of samples. It moves the rest down in
// place: readers hold copies of the headers.
func (s *storedSeries) forgetOldChunks(cutoff int64) (samples int) {
	old := 0
	for old+1 < len(s.chunks) && s.chunks[old+1].chunkStartTime() <= cutoff {
		samples += s.chunks[old].countChunkSamples()
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

// snapshotChunks appends to dst the chunks that may hold samples of [mint, maxt].
func (s *storedSeries) snapshotChunks(dst []sampleChunk, mint, maxt int64) []sampleChunk {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append(dst, s.chunksBetween(mint, maxt)...)
}

// chunksBetween returns the chunks that may hold samples of [mint, maxt]. The caller holds mu.
func (s *storedSeries) chunksBetween(mint, maxt int64) []sampleChunk {
	first, end := 0, len(s.chunks)
	for first+1 < end && s.chunks[first+1].chunkStartTime() <= mint {
		first++
	}
	last := first
	for last < end && s.chunks[last].chunkStartTime() <= maxt {
		last++
	}
	return s.chunks[first:last]
}

// countSeriesSamples returns the number of samples.
func (s *storedSeries) countSeriesSamples() (n int) {
	for _, ch := range s.chunks {
		n += ch.countChunkSamples()
	}
	return n
}
