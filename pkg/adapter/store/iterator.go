package store

// Iterators over the samples of a Select.

import (
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/annotations"
)

// seriesView is a series between two times, as Select returns it.
type seriesView struct {
	series     *storedSeries
	mint, maxt int64
}

var _ storage.Series = (*seriesView)(nil)

func (v *seriesView) Labels() labels.Labels { return v.series.labels }

// Iterator returns an iterator over the present samples of the series; later appends do not show. It reuses an iterator of
// this package.
func (v *seriesView) Iterator(it chunkenc.Iterator) chunkenc.Iterator {
	i, ok := it.(*storedSampleIterator)
	if !ok {
		i = &storedSampleIterator{}
	}
	*i = storedSampleIterator{chunks: v.series.snapshotChunks(i.chunks[:0], v.mint, v.maxt), mint: v.mint, maxt: v.maxt}
	return i
}

// storedSampleIterator walks a snapshot of a series. It decodes as it goes.
type storedSampleIterator struct {
	chunks     []sampleChunk
	mint, maxt int64
	nextChunk  int         // the chunk to open after openChunk
	openChunk  sampleChunk // nil: no chunk is open
	pos        int         // in the open chunk
	at         chunkCursor
	valid      bool // at is a sample within bounds
	done       bool
}

var _ chunkenc.Iterator = (*storedSampleIterator)(nil)

func (i *storedSampleIterator) Next() chunkenc.ValueType { return i.advanceToSample(i.mint) }

//nolint:govet // chunkenc.Iterator gives Seek another meaning than io.Seeker does.
func (i *storedSampleIterator) Seek(t int64) chunkenc.ValueType {
	if i.valid && i.at.t >= t {
		return chunkenc.ValFloat
	}
	t = max(t, i.mint)
	for !i.done && i.nextChunk+1 < len(i.chunks) && i.chunks[i.nextChunk+1].chunkStartTime() <= t {
		i.nextChunk, i.openChunk, i.pos = i.nextChunk+1, nil, 0 // the rest of the previous chunk is before t
	}
	if i.nextChunk < len(i.chunks) && i.chunks[i.nextChunk].chunkStartTime() <= t {
		i.openChunk, i.pos = nil, 0
	}
	return i.advanceToSample(t)
}

// advanceToSample moves on to the next sample at or after t.
func (i *storedSampleIterator) advanceToSample(t int64) chunkenc.ValueType {
	i.valid = false
	for !i.done {
		switch {
		case i.pos < len(i.openChunk):
			i.pos = i.openChunk.decodeNextSample(&i.at, i.pos)
		case i.nextChunk < len(i.chunks):
			i.openChunk = i.chunks[i.nextChunk]
			i.pos = i.openChunk.decodeFirstSample(&i.at)
			i.nextChunk++
		default:
			i.done = true
			return chunkenc.ValNone
		}
		if i.at.t > i.maxt {
			i.done = true
		} else if i.at.t >= t {
			i.valid = true
			return chunkenc.ValFloat
		}
	}
	return chunkenc.ValNone
}

func (i *storedSampleIterator) At() (int64, float64) { return i.at.t, i.at.v }
func (i *storedSampleIterator) AtT() int64           { return i.at.t }
func (i *storedSampleIterator) AtST() int64          { return 0 }
func (i *storedSampleIterator) Err() error           { return nil }

// The store holds floats only: Next and Seek never announce a histogram.
func (i *storedSampleIterator) AtHistogram(*histogram.Histogram) (int64, *histogram.Histogram) {
	return i.at.t, nil
}

func (i *storedSampleIterator) AtFloatHistogram(*histogram.FloatHistogram) (int64, *histogram.FloatHistogram) {
	return i.at.t, nil
}

// storedSeriesSet is the result of a Select.
type storedSeriesSet struct {
	views []seriesView
	at    int
}

var _ storage.SeriesSet = (*storedSeriesSet)(nil)

func (s *storedSeriesSet) Next() bool {
	s.at++
	return s.at <= len(s.views)
}
func (s *storedSeriesSet) At() storage.Series                { return &s.views[s.at-1] }
func (s *storedSeriesSet) Err() error                        { return nil }
func (s *storedSeriesSet) Warnings() annotations.Annotations { return nil }
