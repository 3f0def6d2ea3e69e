// The common stretch for Prometheus's engine.

package query

import (
	"context"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
)

// stretchQueryable answers the ranges of rate and increase with two samples for each series, at the ends of the range:
// 0, and the increase between them. Other selectors read the data itself.
type stretchQueryable struct {
	data storage.Queryable
	// since and until bound the samples for interpolation, beyond the ranges; milliseconds.
	since, until int64
	interval     int64 // milliseconds
	// pod returns the pod of a series, or nil.
	pod func(labels.Labels) *evaluatedPod
	// edgeCounts: see evaluationScan.
	edgeCounts map[edgeKey]float64
}

// Querier returns a querier for samples from mint to maxt.
func (q stretchQueryable) Querier(mint, maxt int64) (storage.Querier, error) {
	around, err := q.data.Querier(min(mint, q.since), max(maxt, q.until))
	if err != nil {
		return nil, err
	}
	plain, err := q.data.Querier(mint, maxt)
	if err != nil {
		return nil, err
	}
	return stretchQuerier{Querier: plain, around: around, stretchQueryable: q}, nil
}

type stretchQuerier struct {
	storage.Querier
	around storage.Querier
	stretchQueryable
}

// Select implements storage.Querier.
func (q stretchQuerier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	if hints == nil || hints.Func != "rate" && hints.Func != "increase" || hints.Range == 0 || hints.End-hints.Start > hints.Range {
		return q.Querier.Select(ctx, sorted, hints, matchers...)
	}
	from, to := hints.End-hints.Range, hints.End
	wide := *hints
	wide.Start, wide.End = min(from, q.since), max(to, q.until)
	set := q.around.Select(ctx, sorted, &wide, matchers...)
	within := countedRange{from: from, to: to, interval: q.interval, edgeCounts: q.edgeCounts}
	return &stretchSeriesSet{SeriesSet: set, countedRange: within, pod: q.pod}
}

// stretchSeriesSet replaces the samples of the series in a set.
type stretchSeriesSet struct {
	storage.SeriesSet
	countedRange
	pod    func(labels.Labels) *evaluatedPod
	times  []int64
	values []float64
	err    error
}

// At implements storage.SeriesSet.
func (s *stretchSeriesSet) At() storage.Series {
	series := s.SeriesSet.At()
	s.times, s.values = s.times[:0], s.values[:0]
	it := series.Iterator(nil)
	for it.Next() == chunkenc.ValFloat {
		t, v := it.At()
		s.times, s.values = append(s.times, t), append(s.values, v)
	}
	if err := it.Err(); err != nil {
		s.err = err
	}
	times, values := joinResumedCounter(s.times, s.values)
	pod, known := s.pod(series.Labels()), 0.0
	if pod != nil {
		known = pod.steadyRates[series.Labels().Get(model.MetricNameLabel)]
	}
	times, values, _, _ = separateCounterProcesses(times, values, known)
	r := s.countedRange
	r.setSeriesCountedRange(pod, series.Labels(), s.edgeCounts)
	n, ok := increaseBetweenSamples(times, values, r)
	if !ok {
		return storage.NewListSeries(series.Labels(), nil)
	}
	// A range begins after its start. PromQL extrapolates the millisecond.
	return storage.NewListSeries(series.Labels(), []chunks.Sample{stretchSample{s.from + 1, 0}, stretchSample{s.to, n}})
}

// Err implements storage.SeriesSet.
func (s *stretchSeriesSet) Err() error {
	if s.err != nil {
		return s.err
	}
	return s.SeriesSet.Err()
}

// stretchSample is a float sample.
type stretchSample struct {
	t int64
	v float64
}

// T implements chunks.Sample.
func (s stretchSample) T() int64 { return s.t }

// ST implements chunks.Sample.
func (s stretchSample) ST() int64 { return 0 }

// F implements chunks.Sample.
func (s stretchSample) F() float64 { return s.v }

// H implements chunks.Sample.
func (s stretchSample) H() *histogram.Histogram { return nil }

// FH implements chunks.Sample.
func (s stretchSample) FH() *histogram.FloatHistogram { return nil }

// Type implements chunks.Sample.
func (s stretchSample) Type() chunkenc.ValueType { return chunkenc.ValFloat }

// Copy implements chunks.Sample.
func (s stretchSample) Copy() chunks.Sample { return s }
