package store

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/teststorage"
)

// realisticLabels are the labels of the sample service's counter, with names as Kubernetes makes them.
func realisticLabels(i int) labels.Labels {
	return newTestLabels(nameLabel, "http_requests_total", namespaceLabel, "shop", podLabel, fmt.Sprintf("checkout-7d9f8b6c5d-%05d", i),
		"node", fmt.Sprintf("node-%02d", i%50), "method", "GET", "route", "/orders/{id}", "code", "200")
}

const benchPods = 1000

// newFilledStore holds a minute of benchPods counters with a sample every 2 s.
func newFilledStore(b testing.TB) *Store {
	s := New(Options{})
	refs := make([]uint64, benchPods)
	for round := range int64(30) {
		for i := range refs {
			refs[i] = mustAppend(b, s, refs[i], realisticLabels(i), round*2000+int64(i%50), float64(round*80))
		}
	}
	return s
}

// BenchmarkAppend appends a sample to a series known by reference. Its peer is Prometheus's head block, committed once per
// 1,000 samples, as after a scrape of a large page.
func BenchmarkAppend(b *testing.B) {
	all := make([]labels.Labels, benchPods)
	for i := range all {
		all[i] = realisticLabels(i)
	}
	b.Run("store", func(b *testing.B) {
		b.ReportAllocs()
		s := New(Options{})
		refs := make([]uint64, benchPods)
		for i := range b.N {
			pod := i % benchPods
			ref, err := s.Append(refs[pod], all[pod], int64(i/benchPods)*2000, float64(i))
			if err != nil {
				b.Fatal(err)
			}
			refs[pod] = ref
		}
	})
	b.Run("prometheus", func(b *testing.B) {
		b.ReportAllocs()
		db := teststorage.New(b)
		refs := make([]storage.SeriesRef, benchPods)
		app := db.Appender(context.Background())
		for i := range b.N {
			pod := i % benchPods
			ref, err := app.Append(refs[pod], all[pod], int64(i/benchPods)*2000, float64(i))
			if err != nil {
				b.Fatal(err)
			}
			refs[pod] = ref
			if pod == benchPods-1 {
				if err := app.Commit(); err != nil {
					b.Fatal(err)
				}
				app = db.Appender(context.Background())
			}
		}
		_ = app.Rollback()
	})
}

// BenchmarkSelect reads a minute of 20 pods out of 1,000, every sample.
func BenchmarkSelect(b *testing.B) {
	var names []string
	for i := range 20 {
		names = append(names, realisticLabels(i*37).Get(podLabel))
	}
	matchers := []*labels.Matcher{
		namedMatcher, labels.MustNewMatcher(labels.MatchEqual, namespaceLabel, "shop"),
		labels.MustNewMatcher(labels.MatchRegexp, podLabel, strings.Join(names, "|")),
	}
	read := func(b *testing.B, data storage.Queryable) {
		b.ReportAllocs()
		for b.Loop() {
			q, err := data.Querier(0, 60_000)
			if err != nil {
				b.Fatal(err)
			}
			n := 0
			var it chunkenc.Iterator
			for set := q.Select(context.Background(), false, nil, matchers...); set.Next(); {
				it = set.At().Iterator(it)
				for it.Next() == chunkenc.ValFloat {
					n++
				}
			}
			if err := q.Close(); err != nil || n != 600 {
				b.Fatalf("%d samples, %v", n, err)
			}
		}
	}
	b.Run("store", func(b *testing.B) { read(b, newFilledStore(b)) })
	b.Run("prometheus", func(b *testing.B) {
		db := teststorage.New(b)
		app := db.Appender(context.Background())
		for round := range int64(30) {
			for i := range benchPods {
				if _, err := app.Append(0, realisticLabels(i), round*2000+int64(i%50), float64(round*80)); err != nil {
					b.Fatal(err)
				}
			}
		}
		if err := app.Commit(); err != nil {
			b.Fatal(err)
		}
		read(b, db)
	})
}

// BenchmarkBytesPerSeries measures the memory of a series older than the retention: its labels, its samples and its share of
// the index.
func BenchmarkBytesPerSeries(b *testing.B) {
	for name, value := range map[string]func(pod int, round int64) float64{
		"counter": func(pod int, round int64) float64 { return float64(round * int64(40+pod%80)) },
		"seconds": func(pod int, round int64) float64 { return float64(round) * 0.1234567 * float64(pod+1) },
	} {
		b.Run(name, func(b *testing.B) {
			const pods = 20_000
			for b.Loop() {
				before := heapInUse()
				s := New(Options{Retention: time.Minute})
				refs := make([]uint64, pods)
				for round := range int64(60) {
					for i := range refs {
						l := labels.EmptyLabels()
						if round == 0 {
							l = realisticLabels(i)
						}
						refs[i] = mustAppend(b, s, refs[i], l, round*2000+int64(i%7), value(i, round))
					}
				}
				b.ReportMetric(float64(heapInUse()-before)/pods, "bytes/series")
				b.ReportMetric(float64(s.Stats().Samples)/pods, "samples/series")
				runtime.KeepAlive(s)
			}
		})
	}
}

func heapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
