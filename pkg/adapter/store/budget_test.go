package store

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
)

func namespacedLabels(namespace, pod string, i int) labels.Labels {
	return newTestLabels(nameLabel, "a", namespaceLabel, namespace, podLabel, pod, "i", fmt.Sprint(i))
}

// createNamespaced creates n series of a namespace, each on its own, and returns their references and the error of the first rejected.
func createNamespaced(s *Store, t int64, namespace, pod string, n int) (refs []uint64, rejected error) {
	for i := range n {
		got, err := s.Create(t, []labels.Labels{namespacedLabels(namespace, pod, i)})
		if err != nil {
			return refs, err
		}
		refs = append(refs, got...)
	}
	return refs, nil
}

func usageOf(s *Store, namespace string) NamespaceUsage {
	for _, u := range s.TopNamespaces(1000) {
		if u.Namespace == namespace {
			return u
		}
	}
	return NamespaceUsage{}
}

// TestGreedyNamespaceGivesWay fills the store from one namespace: the others get their series, up to an equal part, and it alone
// loses some: its ended ones first, then its newest.
func TestGreedyNamespaceGivesWay(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string]Options{
		"series": {MaxSeries: 6400},
		"bytes":  {MaxBytes: 6400 * seriesByteCost(namespacedLabels("evil", "x", 1000))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := New(opts)
			if _, err := createNamespaced(s, 1, "shop", "early", 1); err != nil {
				t.Fatal(err)
			}
			old, err := createNamespaced(s, 1, "evil", "old", 10_000)
			var full *FullError
			if !errors.As(err, &full) || !full.Own || !strings.Contains(err.Error(), "namespace evil has its share") {
				t.Fatalf("evil's error: %v, want its own share", err)
			}
			if n := len(old); n < 5900 || n > 6100 {
				t.Fatalf("evil got %d series, want all but the spare sixteenth", n)
			}
			ended := old[:100]
			for i, ref := range ended {
				ref = mustAppend(t, s, ref, namespacedLabels("evil", "old", i), 2, 1)
				mustAppend(t, s, ref, namespacedLabels("evil", "old", i), 3, math.Float64frombits(value.StaleNaN))
			}
			shop, err := createNamespaced(s, 5, "shop", "new", 3000)
			if err != nil {
				t.Fatalf("shop is rejected after %d series: %v", len(shop), err)
			}
			if got := s.Stats().Series; got > 6400 {
				t.Errorf("%d series, more than the store may hold", got)
			}
			for i, ref := range ended {
				if s.lookupSeriesRef(ref) != nil {
					t.Fatalf("series %d of evil has ended, and stayed while others were dropped", i)
				}
			}
			for i, ref := range shop {
				if s.lookupSeriesRef(ref) == nil {
					t.Fatalf("shop lost its series %d", i)
				}
			}
			_, err = createNamespaced(s, 6, "shop", "more", 3000)
			if !errors.As(err, &full) {
				t.Fatalf("shop has no bound: %v", err)
			}
			if evil := usageOf(s, "evil").Series; evil < 2900 {
				t.Errorf("evil keeps %d series, want about half", evil)
			}
		})
	}
}

const endOfDays = 1 << 50

// TestVictimsError has a store full of two greedy namespaces that are equal: what is rejected says whose the series are.
func TestVictimsError(t *testing.T) {
	t.Parallel()
	s := New(Options{MaxSeries: 64})
	for i := range 40 {
		_, _ = createNamespaced(s, int64(i), "evil", fmt.Sprint(i), 1)
		_, _ = createNamespaced(s, int64(i), "shop", fmt.Sprint(i), 1)
	}
	for _, namespace := range []string{"evil", "shop"} {
		if n := usageOf(s, namespace).Series; n < 28 {
			t.Errorf("%s holds %d of 64 series, want about half", namespace, n)
		}
	}
	_, err := s.Create(100, []labels.Labels{namespacedLabels("shop", "a", 1), namespacedLabels("shop", "b", 1), namespacedLabels("shop", "c", 1), namespacedLabels("shop", "d", 1)})
	if !errors.Is(err, ErrTooManySeries) || !strings.Contains(err.Error(), "namespace ") {
		t.Errorf("error %v, want one that names a namespace", err)
	}
	victim := &FullError{Namespace: "evil", Bound: "64 series"}
	if got := victim.Error(); got != "too many series: the store is full; most series are of namespace evil" {
		t.Errorf("victim's error %q", got)
	}
}

// TestUsageReturnsToZero fills, samples, reserves, and drops everything: nothing stays charged.
func TestUsageReturnsToZero(t *testing.T) {
	t.Parallel()
	s := New(Options{MaxSeries: 500, MaxBytes: 1 << 20, Retention: time.Second})
	for i := range 1000 {
		namespace := fmt.Sprintf("ns-%d", i%7)
		ref, err := s.Append(0, namespacedLabels(namespace, "a", i), int64(i), 1)
		for n := range 50 {
			if err == nil {
				ref, err = s.Append(ref, namespacedLabels(namespace, "a", i), int64(i+1+n), float64(n)*1.1)
			}
		}
		if err := s.Reserve(namespace, 100); err == nil {
			_ = s.Reserve(namespace, -100)
		}
	}
	if got := s.byteCount.Load(); got <= 0 || got > 1<<20 {
		t.Errorf("%d bytes, want some, and at most the bound", got)
	}
	s.dropIdleSeries(time.UnixMilli(endOfDays))
	if got, all := s.byteCount.Load(), s.TopNamespaces(10); got != 0 || len(all) > 0 || len(s.usages) > 0 {
		t.Errorf("%d bytes of %v stay charged in an empty store", got, all)
	}
}

// TestReservationsLeaveRoom: series outside of the store, which nothing evicts, take half of the bytes at most. Greedy namespaces have
// equal parts of them, and leave room to another one, and to the series in the store.
func TestReservationsLeaveRoom(t *testing.T) {
	t.Parallel()
	const limit, piece = 64 << 20, 1000
	s := New(Options{MaxBytes: limit})
	greedy := []string{"evil-1", "evil-2", "evil-3", "evil-4"}
	for rejected := 0; rejected < len(greedy); {
		rejected = 0
		for _, namespace := range greedy {
			var full *FullError
			if err := s.Reserve(namespace, piece); errors.As(err, &full) {
				rejected++
			} else if err != nil {
				t.Fatal(err)
			}
		}
	}
	if s.reserved > limit/2 || s.reserved < limit/2*9/10 {
		t.Errorf("%d bytes are reserved, want nearly half of %d", s.reserved, limit)
	}
	for _, namespace := range greedy {
		if got := usageOf(s, namespace).Bytes; got < s.reserved/5 {
			t.Errorf("%s has %d of %d reserved bytes, want an equal part", namespace, got, s.reserved)
		}
	}
	for i := range 500 {
		if err := s.Reserve("shop", piece); err != nil {
			t.Fatalf("shop reserves %d bytes: %v", i*piece, err)
		}
	}
	if _, err := createNamespaced(s, 1, "evil-1", "web", 20_000); err != nil {
		t.Errorf("the store has room for no series: %v", err)
	}
	for _, namespace := range append(greedy, "shop") {
		if err := s.Reserve(namespace, -s.usages[namespace].reserved); err != nil {
			t.Fatal(err)
		}
	}
	s.dropIdleSeries(time.UnixMilli(endOfDays))
	if got := s.byteCount.Load(); got != 0 || s.reserved != 0 || len(s.usages) > 0 {
		t.Errorf("%d bytes stay charged, %d reserved", got, s.reserved)
	}
}

// TestFullStoreReadsPages: in a store full of one namespace's series, another namespace still gets room for a page that is read.
func TestFullStoreReadsPages(t *testing.T) {
	t.Parallel()
	s := New(Options{MaxBytes: 4 << 20})
	if err := s.Reserve("evil", 1<<20); err != nil {
		t.Fatal(err)
	}
	if _, err := createNamespaced(s, 1, "evil", "web", 100_000); err == nil {
		t.Fatal("the store has no bound")
	}
	for i := range 500 {
		if err := s.Reserve("shop", 1000); err != nil {
			t.Fatalf("shop reserves %d bytes: %v", i*1000, err)
		}
	}
	if got := s.byteCount.Load(); got > 4<<20 {
		t.Errorf("%d bytes, over the bound", got)
	}
}

// TestSamplesCannotOverflow appends values that no chunk compresses: the series' chunks grow past what they prepaid.
func TestSamplesCannotOverflow(t *testing.T) {
	t.Parallel()
	const bound = 2 << 20
	s := New(Options{MaxBytes: bound, Retention: time.Hour})
	refs, _ := createNamespaced(s, 0, "evil", "a", 10_000)
	for round := range int64(60) {
		for i := range refs {
			refs[i], _ = s.Append(refs[i], namespacedLabels("evil", "a", i), 1+round*1000+round*round, float64(i)/3*float64(round))
		}
		if got := s.byteCount.Load(); got > bound {
			t.Fatalf("round %d: %d bytes, over the bound of %d", round, got, bound)
		}
	}
	if n := testutil.ToFloat64(s.metrics.evictedSeries); n == 0 {
		t.Error("no series was evicted: the test does not reach the bound")
	}
}

// TestBytesAreReal compares the counted bytes with the heap, for series of several sizes with a minute of samples.
func TestBytesAreReal(t *testing.T) { //nolint:paralleltest // measures the heap
	for _, size := range []int{20, 500, 2000} {
		before := heapAfterCollection()
		s := New(Options{MaxBytes: 1 << 40})
		for i := range 5000 {
			l := newTestLabels(nameLabel, "http_requests_total", namespaceLabel, "shop", podLabel, fmt.Sprintf("cart-%d", i%100), "i", fmt.Sprint(i), "x", strings.Repeat("x", size))
			refs, err := s.Create(0, []labels.Labels{l})
			if err != nil {
				t.Fatal(err)
			}
			for n := range int64(45) {
				mustAppend(t, s, refs[0], l, n*2000, float64(n*17))
			}
		}
		held := heapAfterCollection() - before
		if ratio := float64(s.byteCount.Load()) / float64(held); ratio < 0.95 || ratio > 1.6 {
			t.Errorf("labels of %d bytes: %d bytes counted, %d on the heap, ratio %.2f", size, s.byteCount.Load(), held, ratio)
		} else {
			t.Logf("labels of %d bytes: %d bytes counted, %d on the heap, ratio %.2f", size, s.byteCount.Load(), held, ratio)
		}
		runtime.KeepAlive(s)
	}
}

func heapAfterCollection() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestNamespaceMetricsAreBounded has more namespaces than the self-metrics show.
func TestNamespaceMetricsAreBounded(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	s := New(Options{Registerer: reg})
	for i := range 30 {
		if _, err := createNamespaced(s, 1, fmt.Sprintf("ns-%02d", i), "a", i+1); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"tachometer_store_namespace_series", "tachometer_store_namespace_bytes"} {
		if n, err := testutil.GatherAndCount(reg, name); err != nil || n != shownNamespaces {
			t.Errorf("%s: %d series, %v, want %d", name, n, err, shownNamespaces)
		}
	}
	if top := s.TopNamespaces(1); len(top) != 1 || top[0].Namespace != "ns-29" || top[0].Series != 30 {
		t.Errorf("the largest is %v, want ns-29 with 30 series", top)
	}
}
