package store

import (
	"sync"

	"github.com/prometheus/prometheus/model/labels"
)

// memSeries is one labelled time series and the samples kept of it.
type memSeries struct {
	labels labels.Labels
	// ref and next belong to the store's lock: the reference given out, and the next series of the same hash.
	ref          uint64
	nextSameHash *memSeries

	// mu guards all that follows.
	mu           sync.Mutex
	chunks       []sampleChunk // oldest first; never empty in a series that is indexed
	newestSample chunkCursor
	dropped      bool // no longer in the store: whoever still holds the series must look it up again
}

// appendSample adds a sample and forgets chunks that end before cutoff. It returns by how many samples the series
// grew, and false when the sample is not newer than the newest.
func (s *memSeries) appendSample(t int64, v float64, cutoff int64) (grown int, ok bool) {
	n := len(s.chunks)
	if n > 0 && t <= s.newestSample.t {
		return 0, false
	}
	if n > 0 && s.chunks[n-1].encodeSample(&s.newestSample, t, v) {
		return 1, true
	}
	forgotten := s.forgetChunks(cutoff)
	s.chunks = append(s.chunks, newSampleChunk(&s.newestSample, t, v))
	return 1 - forgotten, true
}

// forgetChunks drops the chunks whose samples are all before cutoff and returns how many samples they held. It moves
// the rest down in place: readers hold copies of the headers.
func (s *memSeries) forgetChunks(cutoff int64) (samples int) {
	old := 0
	for old+1 < len(s.chunks) && s.chunks[old+1].startTime() <= cutoff {
		samples += s.chunks[old].countSamples()
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
func (s *memSeries) snapshotChunks(dst []sampleChunk, mint, maxt int64) []sampleChunk {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, ch := range s.chunks {
		if i+1 < len(s.chunks) && s.chunks[i+1].startTime() <= mint {
			continue
		}
		if ch.startTime() > maxt {
			break
		}
		dst = append(dst, ch)
	}
	return dst
}

// totalSamples is the number of samples held.
func (s *memSeries) totalSamples() (n int) {
	for _, ch := range s.chunks {
		n += ch.countSamples()
	}
	return n
}
