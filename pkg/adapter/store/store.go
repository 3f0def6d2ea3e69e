// Package store keeps the newest minutes of scraped series in memory: encoded chunks, an index by name and namespace, label look-ups,
// and limits for each namespace.
package store

// The Store: its options, appends, and the look-up of series.

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/memorybounds"
	"github.com/tachometer-metrics/tachometer/pkg/retry"
)

// Errors of Append.
var (
	// ErrTooManySeries rejects a sample of a new series because the store is full.
	ErrTooManySeries = errors.New("too many series")
	// ErrOutOfOrder rejects a sample that is not newer than the newest of its series.
	ErrOutOfOrder = errors.New("sample not newer than the newest of its series")
)

// Options are the settings of a Store, for New and for Reconfigure. A zero value means the default.
type Options struct {
	// Retention is the minimum time that the store keeps samples: the longest window, plus the allowed age of a sample, plus a
	// few scrape intervals, so that a window with a missed first scrape can begin at the scrape before. The store drops
	// series without a sample for the retention. Default 90 s: a window of 60 s, and 30 s for the rest.
	Retention time.Duration
	// MaxSeries bounds the series. Default 200,000.
	MaxSeries int
	// MaxBytes bounds the memory of the series and the reservations, which are half of it at most. Default memorybounds.Store.
	MaxBytes int64

	// Reconfigure ignores the following options.

	// Registerer takes the self-metrics; nil: they are counted but not registered.
	Registerer prometheus.Registerer
	// Now is the clock behind the times of the samples; nil: time.Now.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	if o.Retention <= 0 {
		o.Retention = 90 * time.Second
	}
	if o.MaxSeries <= 0 {
		o.MaxSeries = 200_000
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = memorybounds.Store
	}
	return o
}

// Stats are the numbers of series and samples in a Store.
type Stats struct {
	Series, Samples int
}

// Store holds the newest samples of many series. All methods may be called concurrently.
type Store struct {
	now          func() time.Time
	options      atomic.Pointer[Options] // with defaults; never changed, but replaced
	metrics      metrics
	sampleCount  atomic.Int64
	byteCount    atomic.Int64 // of all usages, with their reservations
	visitBuffers sync.Pool    // of *visitBuffers

	// mu guards the fields below, and ref and nextSameHash of every series. No code locks it while it holds a series' own lock.
	mu          sync.RWMutex
	index       seriesIndex
	slots       []*storedSeries          // by the lower half of a reference; nil: free
	freeSlots   []uint32                 // the free slots
	byHash      map[uint64]*storedSeries // by the hash of the labels, chained by nextSameHash
	slotsGiven  uint32                   // slots given out so far: the upper half of the next reference
	seriesCount int
	usages      map[string]*namespaceUsage // by namespace
	reserved    int64                      // of all usages
	peakCount   int                        // the largest count since byHash was made
}

var _ storage.Queryable = (*Store)(nil)

// New returns an empty store. It starts no goroutine: see Run.
func New(opts Options) *Store {
	s := &Store{now: opts.Now, index: seriesIndex{}, byHash: map[uint64]*storedSeries{}, usages: map[string]*namespaceUsage{}}
	if s.now == nil {
		s.now = time.Now
	}
	s.visitBuffers.New = func() any { return &visitBuffers{} }
	s.Reconfigure(opts)
	s.metrics = newMetrics(s, opts.Registerer)
	return s
}

// Reconfigure replaces the options, except the options that only New reads. Series beyond a lower MaxSeries stay until they get no samples for
// the retention.
func (s *Store) Reconfigure(opts Options) {
	opts = opts.withDefaults()
	s.options.Store(&opts)
}

// oldestKeptTime returns the time, in milliseconds, from which on the store keeps samples at now.
func (s *Store) oldestKeptTime(now int64) int64 {
	return now - s.options.Load().Retention.Milliseconds()
}

// Append adds a sample, t in milliseconds, to the series of reference ref, or of labels lset if ref is 0 or no longer valid. It
// creates a missing series. It returns the series' reference for the next call, also with ErrOutOfOrder; with
// ErrTooManySeries it returns 0. A staleness marker is an ordinary sample.
//
// Append reads lset only if ref does not lead to a series, and copies it: the caller may reuse its memory.
func (s *Store) Append(ref uint64, lset labels.Labels, t int64, v float64) (uint64, error) {
	for {
		target := s.lookupSeriesRef(ref)
		if target == nil {
			var err error
			if target, err = s.getOrCreateSeries(lset, t); err != nil {
				s.metrics.tooMany.Inc()
				return 0, err
			}
		}
		done, overflows, err := s.appendToSeries(target, t, v)
		if overflows {
			s.shedSeriesOverflow()
		}
		if done {
			return target.ref, err
		}
		ref = 0 // dropped between the look-up and the append
	}
}

// appendToSeries adds a sample to a series. done is false if the series was dropped meanwhile; overflows is true if a new chunk
// exceeds the store's bytes.
func (s *Store) appendToSeries(target *storedSeries, t int64, v float64) (done, overflows bool, err error) {
	target.mu.Lock()
	if target.dropped {
		target.mu.Unlock()
		return false, false, nil
	}
	chunks := len(target.chunks)
	grown, ok := target.appendSeriesSample(t, v, s.oldestKeptTime(t))
	if chunks != len(target.chunks) { // under the lock: a drop gives back the charge
		s.chargeSeriesBytes(target.usage, chunksByteCost(len(target.chunks))-chunksByteCost(chunks))
		overflows = s.byteCount.Load() > s.options.Load().MaxBytes
	}
	target.mu.Unlock()
	if !ok {
		s.metrics.outOfOrder.Inc()
		return true, false, ErrOutOfOrder
	}
	s.sampleCount.Add(int64(grown))
	return true, overflows, nil
}

// lookupSeriesRef returns the series of a reference, or nil if the reference is invalid.
func (s *Store) lookupSeriesRef(ref uint64) *storedSeries {
	if ref == 0 {
		return nil
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	slot := uint32(ref)
	if int(slot) >= len(s.slots) {
		return nil
	}
	if found := s.slots[slot]; found != nil && found.ref == ref {
		return found
	}
	return nil
}

// Create returns the references of series by their labels, and creates the missing series: all of them, or none and
// ErrTooManySeries. t is the time of their first samples, in milliseconds; the store drops a series that gets none as it drops
// an idle series. Create keeps the labels, which must not change: a copy of every label set would be a third of the store.
func (s *Store) Create(t int64, lsets []labels.Labels) ([]uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	refs := make([]uint64, len(lsets))
	missing, bytes := map[string]int64{}, map[string]int64{}
	for i, lset := range lsets {
		if found := s.findSeriesByLabels(lset); found != nil {
			refs[i] = found.ref
		} else {
			namespace := lset.Get(namespaceLabel)
			missing[namespace]++
			bytes[namespace] += seriesByteCost(lset)
		}
	}
	for namespace, n := range missing { // of one target, and so of one namespace
		u := s.storedNamespaceUsage(namespace)
		if err := s.makeStoreSeriesRoom(u, n, bytes[namespace]); err != nil {
			s.forgetEmptyUsage(u)
			s.metrics.tooMany.Add(float64(n))
			return nil, err
		}
	}
	for i, lset := range lsets {
		if refs[i] != 0 {
			continue
		}
		if twice := s.findSeriesByLabels(lset); twice != nil {
			refs[i] = twice.ref
		} else {
			refs[i] = s.createStoredSeries(lset, t).ref
		}
	}
	return refs, nil
}

// findSeriesByLabels returns the series of these labels, or nil. The caller holds s.mu.
func (s *Store) findSeriesByLabels(lset labels.Labels) *storedSeries {
	for found := s.byHash[lset.Hash()]; found != nil; found = found.nextSameHash {
		if labels.Equal(found.labels, lset) {
			return found
		}
	}
	return nil
}

// getOrCreateSeries returns the series of these labels, and creates it with a copy of them if it is missing; a *FullError if
// there is no room.
func (s *Store) getOrCreateSeries(lset labels.Labels, t int64) (*storedSeries, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if found := s.findSeriesByLabels(lset); found != nil {
		return found, nil
	}
	u := s.storedNamespaceUsage(lset.Get(namespaceLabel))
	if err := s.makeStoreSeriesRoom(u, 1, seriesByteCost(lset)); err != nil {
		s.forgetEmptyUsage(u)
		return nil, err
	}
	return s.createStoredSeries(lset.Copy(), t), nil
}

// seriesByteCost returns the bytes that a new series takes from the budget.
func seriesByteCost(lset labels.Labels) int64 {
	return seriesOverheadBytes + int64(lset.ByteSize()) + chunksByteCost(0)
}

// chunksByteCost returns the bytes that n chunks of a series take from the budget.
func chunksByteCost(n int) int64 { return int64(max(n, prepaidChunks)) * chunkCost }

// createStoredSeries adds a series without samples, and keeps the labels. The caller holds s.mu and knows that there is room.
func (s *Store) createStoredSeries(lset labels.Labels, t int64) *storedSeries {
	hash := lset.Hash()
	made := &storedSeries{labels: lset, createdAt: t, nextSameHash: s.byHash[hash], usage: s.storedNamespaceUsage(lset.Get(namespaceLabel))}
	made.usage.series++
	s.chargeSeriesBytes(made.usage, seriesByteCost(lset))
	s.byHash[hash] = made
	s.index.addIndexedSeries(made)
	s.assignSeriesRef(made)
	s.seriesCount++
	s.peakCount = max(s.peakCount, s.seriesCount)
	return made
}

// assignSeriesRef gives a series a slot and a new reference: references repeat after four billion at the earliest.
func (s *Store) assignSeriesRef(made *storedSeries) {
	var slot uint32
	if n := len(s.freeSlots); n > 0 {
		slot, s.freeSlots = s.freeSlots[n-1], s.freeSlots[:n-1]
	} else {
		slot = uint32(len(s.slots))
		s.slots = append(s.slots, nil)
	}
	s.slots[slot] = made
	s.slotsGiven = max(1, s.slotsGiven+1) // never 0: 0 means no reference
	made.ref = uint64(s.slotsGiven)<<32 | uint64(slot)
}

// Stats returns the numbers of series and samples.
func (s *Store) Stats() Stats {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return Stats{Series: s.seriesCount, Samples: int(s.sampleCount.Load())}
}

// Run calls dropIdleSeries four times per retention until ctx ends, and returns nil then. An idle series so stays for up to a
// quarter of the retention longer than necessary.
func (s *Store) Run(ctx context.Context) error {
	for retry.Sleep(ctx, s.options.Load().Retention/4) {
		s.dropIdleSeries(s.now())
	}
	return nil
}
