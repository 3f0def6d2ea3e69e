// Prometheus's own test suite of PromQL, over the store.

package query

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/teststorage"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/store"
)

// floatStorage is Prometheus's test storage, with the series of plain floats in a store. Native histograms and start
// timestamps, which a store does not hold, stay in the test storage.
type floatStorage struct {
	*teststorage.TestStorage
	store *store.Store
}

func newFloatStorage(t testing.TB) storage.Storage {
	other := teststorage.New(t, func(o *tsdb.Options) {
		o.EnableSTStorage = true
		o.FloatChunkEncoding = chunkenc.EncXOR2
		o.EnableHistogramSTEncoding = true
	})
	return &floatStorage{other, store.New(store.Options{Retention: 100 * 365 * 24 * time.Hour})}
}

func (s *floatStorage) Querier(mint, maxt int64) (storage.Querier, error) {
	floats, err := s.store.Querier(mint, maxt)
	if err != nil {
		return nil, err
	}
	others, err := s.TestStorage.Querier(mint, maxt)
	if err != nil {
		return nil, err
	}
	return storage.NewMergeQuerier([]storage.Querier{floats, others}, nil, storage.ChainedSeriesMerge), nil
}

func (s *floatStorage) AppenderV2(ctx context.Context) storage.AppenderV2 {
	return &floatAppender{AppenderV2: s.TestStorage.AppenderV2(ctx), store: s.store}
}

// floatAppender holds samples back until all samples of their series are known.
type floatAppender struct {
	storage.AppenderV2
	store   *store.Store
	pending []pendingSample
}

type pendingSample struct {
	labels labels.Labels
	st, t  int64
	v      float64
	h      *histogram.Histogram
	fh     *histogram.FloatHistogram
	opts   storage.AppendV2Options
}

func (a *floatAppender) Append(_ storage.SeriesRef, l labels.Labels, st, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, opts storage.AppendV2Options) (storage.SeriesRef, error) {
	a.pending = append(a.pending, pendingSample{l, st, t, v, h, fh, opts})
	return 0, nil
}

func (a *floatAppender) Commit() error {
	special := map[string]bool{}
	for _, p := range a.pending {
		if p.st != 0 || p.h != nil || p.fh != nil {
			special[p.labels.String()] = true
		}
	}
	for _, p := range a.pending {
		var err error
		if special[p.labels.String()] {
			_, err = a.AppenderV2.Append(0, p.labels, p.st, p.t, p.v, p.h, p.fh, p.opts)
		} else {
			_, err = a.store.Append(0, p.labels, p.t, p.v)
		}
		if err != nil {
			return err
		}
	}
	return a.AppenderV2.Commit()
}

// TestPrometheusScripts runs Prometheus's own test suite of PromQL, with the series of floats in a store.
func TestPrometheusScripts(t *testing.T) {
	t.Parallel()
	engine := promqltest.NewTestEngine(t, false, 0, promqltest.DefaultMaxSamplesPerQuery)
	promqltest.RunBuiltinTestsWithStorage(t, engine, newFloatStorage)
}
