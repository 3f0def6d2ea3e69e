package store

import (
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/annotations"
)

// view is a series between two times: what a Select hands out.
type view struct {
	series     *series
	mint, maxt int64
}

var _ storage.Series = (*view)(nil)

func (v *view) Labels() labels.Labels { return v.series.labels }

// Iterator returns an iterator over the samples that the series holds now; later appends do not show. It
// reuses it where that came from this package.
func (v *view) Iterator(it chunkenc.Iterator) chunkenc.Iterator {
	i, ok := it.(*iterator)
	if !ok {
		i = &iterator{}
	}
	*i = iterator{chunks: v.series.snapshot(i.chunks[:0], v.mint, v.maxt), mint: v.mint, maxt: v.maxt}
	return i
}

// iterator walks a snapshot of a series. It decodes as it goes.
type iterator struct {
	chunks     []chunk
	mint, maxt int64
	next       int   // the chunk to open when the open one is used up
	open       chunk // nil if none is
	pos        int   // in the open chunk
	at         cursor
	valid      bool // at is a sample within bounds
	done       bool
}

var _ chunkenc.Iterator = (*iterator)(nil)

func (i *iterator) Next() chunkenc.ValueType { return i.advance(i.mint) }

//nolint:govet // chunkenc.Iterator gives Seek another meaning than io.Seeker does.
func (i *iterator) Seek(t int64) chunkenc.ValueType {
	if i.valid && i.at.t >= t {
		return chunkenc.ValFloat
	}
	t = max(t, i.mint)
	for !i.done && i.next+1 < len(i.chunks) && i.chunks[i.next+1].start() <= t {
		i.next, i.open, i.pos = i.next+1, nil, 0 // all that was left is before t
	}
	if i.next < len(i.chunks) && i.chunks[i.next].start() <= t {
		i.open, i.pos = nil, 0
	}
	return i.advance(t)
}

// advance moves on by one sample, and further to the first one at or after t.
func (i *iterator) advance(t int64) chunkenc.ValueType {
	i.valid = false
	for !i.done {
		switch {
		case i.pos < len(i.open):
			i.pos = i.open.next(&i.at, i.pos)
		case i.next < len(i.chunks):
			i.open = i.chunks[i.next]
			i.pos = i.open.first(&i.at)
			i.next++
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

func (i *iterator) At() (int64, float64) { return i.at.t, i.at.v }
func (i *iterator) AtT() int64           { return i.at.t }
func (i *iterator) AtST() int64          { return 0 }
func (i *iterator) Err() error           { return nil }

// The store holds floats only: Next and Seek never announce a histogram.
func (i *iterator) AtHistogram(*histogram.Histogram) (int64, *histogram.Histogram) {
	return i.at.t, nil
}

func (i *iterator) AtFloatHistogram(*histogram.FloatHistogram) (int64, *histogram.FloatHistogram) {
	return i.at.t, nil
}

// seriesSet hands out the views of one Select.
type seriesSet struct {
	views []view
	at    int
}

var _ storage.SeriesSet = (*seriesSet)(nil)

func (s *seriesSet) Next() bool {
	s.at++
	return s.at <= len(s.views)
}
func (s *seriesSet) At() storage.Series                { return &s.views[s.at-1] }
func (s *seriesSet) Err() error                        { return nil }
func (s *seriesSet) Warnings() annotations.Annotations { return nil }
