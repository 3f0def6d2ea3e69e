package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

func newTestLabels(pairs ...string) labels.Labels { return labels.FromStrings(pairs...) }

func counterLabels(pod string) labels.Labels {
	return newTestLabels(nameLabel, "http_requests_total", namespaceLabel, "shop", podLabel, pod)
}

func mustAppend(t testing.TB, s *Store, ref uint64, l labels.Labels, at int64, v float64) uint64 {
	t.Helper()
	ref, err := s.Append(ref, l, at, v)
	if err != nil {
		t.Fatalf("append to %s at %d: %v", l, at, err)
	}
	return ref
}

func newTestQuerier(t testing.TB, s *Store, mint, maxt int64) storage.Querier {
	t.Helper()
	q, err := s.Querier(mint, maxt)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// selectPoints returns the points of every selected series by its labels.
func selectPoints(t testing.TB, s *Store, mint, maxt int64, matchers ...*labels.Matcher) map[string][]samplePoint {
	t.Helper()
	got := map[string][]samplePoint{}
	set := newTestQuerier(t, s, mint, maxt).Select(context.Background(), false, nil, matchers...)
	var it chunkenc.Iterator
	for set.Next() {
		series := set.At()
		it = series.Iterator(it)
		points := []samplePoint{}
		for it.Next() == chunkenc.ValFloat {
			points = append(points, newSamplePoint(it.At()))
		}
		if _, twice := got[series.Labels().String()]; twice {
			t.Errorf("%s is selected twice", series.Labels())
		}
		got[series.Labels().String()] = points
	}
	if set.Err() != nil || len(set.Warnings()) > 0 {
		t.Errorf("select: %v, warnings %v", set.Err(), set.Warnings())
	}
	return got
}

var namedMatcher = labels.MustNewMatcher(labels.MatchEqual, nameLabel, "http_requests_total")

func TestAppendThenSelect(t *testing.T) {
	t.Parallel()
	s := New(Options{})
	ref := mustAppend(t, s, 0, counterLabels("a"), 1000, 1)
	if again := mustAppend(t, s, ref, labels.EmptyLabels(), 3000, 2); again != ref {
		t.Errorf("the reference changed from %d to %d", ref, again)
	}
	if byLabels := mustAppend(t, s, 0, counterLabels("a"), 5000, 3); byLabels != ref {
		t.Errorf("the labels lead to reference %d, want %d", byLabels, ref)
	}
	mustAppend(t, s, 0, counterLabels("b"), 1000, math.Float64frombits(value.StaleNaN))
	want := map[string][]samplePoint{
		counterLabels("a").String(): {newSamplePoint(1000, 1), newSamplePoint(3000, 2), newSamplePoint(5000, 3)},
		counterLabels("b").String(): {{t: 1000, bits: value.StaleNaN}},
	}
	if d := cmp.Diff(want, selectPoints(t, s, 0, 9000, namedMatcher), cmp.AllowUnexported(samplePoint{})); d != "" {
		t.Errorf("all samples (-want +got):\n%s", d)
	}
	want = map[string][]samplePoint{counterLabels("a").String(): {newSamplePoint(3000, 2)}, counterLabels("b").String(): {}}
	if d := cmp.Diff(want, selectPoints(t, s, 1001, 4999, namedMatcher), cmp.AllowUnexported(samplePoint{})); d != "" {
		t.Errorf("samples in between (-want +got):\n%s", d)
	}
}

func TestAppendRejects(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	s := New(Options{MaxSeries: 1, Registerer: reg})
	ref := mustAppend(t, s, 0, counterLabels("a"), 1000, 1)
	for name, at := range map[string]int64{"the same time": 1000, "an earlier time": 999} {
		got, err := s.Append(ref, counterLabels("a"), at, 2)
		if !errors.Is(err, ErrOutOfOrder) || got != ref {
			t.Errorf("%s: Append = %d, %v, want %d, ErrOutOfOrder", name, got, err, ref)
		}
	}
	got, err := s.Append(0, counterLabels("b"), 1000, 1)
	if !errors.Is(err, ErrTooManySeries) || got != 0 {
		t.Errorf("second series: Append = %d, %v, want 0, ErrTooManySeries", got, err)
	}
	rejected := s.metrics
	if n := testutil.ToFloat64(rejected.outOfOrder); n != 2 {
		t.Errorf("%v rejected as out of order, want 2", n)
	}
	if n := testutil.ToFloat64(rejected.tooMany); n != 1 {
		t.Errorf("%v rejected as too many, want 1", n)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("self-metrics: %v %v", err, problems)
	}
	if d := cmp.Diff(Stats{Series: 1, Samples: 1}, s.Stats()); d != "" {
		t.Errorf("stats (-want +got):\n%s", d)
	}
}

func TestAppendCopiesLabels(t *testing.T) {
	t.Parallel()
	s := New(Options{})
	var b labels.ScratchBuilder
	reused := labels.EmptyLabels()
	for _, pod := range []string{"a", "b"} {
		b.Reset()
		b.Add(nameLabel, "http_requests_total")
		b.Add(podLabel, pod)
		b.Overwrite(&reused)
		mustAppend(t, s, 0, reused, 1, 1)
	}
	if got := selectPoints(t, s, 0, 9, namedMatcher); len(got) != 2 {
		t.Errorf("selected %v, want two series", got)
	}
}

func TestRetention(t *testing.T) {
	t.Parallel()
	s := New(Options{Retention: time.Minute})
	var ref uint64
	for at := int64(0); at <= 600_000; at += 2000 {
		ref = mustAppend(t, s, ref, counterLabels("a"), at, float64(at))
	}
	points := selectPoints(t, s, 0, math.MaxInt64, namedMatcher)[counterLabels("a").String()]
	if len(points) != s.Stats().Samples {
		t.Errorf("%d samples read, %d counted", len(points), s.Stats().Samples)
	}
	if oldest := points[0].t; oldest > 540_000 {
		t.Errorf("the oldest sample is of %d, want no later than 540000", oldest)
	}
	if n := len(points); n < 31 || n > 31+2*chunkBytes/2 {
		t.Errorf("%d samples held of a minute of 30", n)
	}
}

func TestReconfigure(t *testing.T) {
	t.Parallel()
	s := New(Options{Retention: time.Minute, MaxSeries: 1})
	mustAppend(t, s, 0, counterLabels("a"), 0, 1)
	s.Reconfigure(Options{Retention: 2 * time.Minute, MaxSeries: 2})
	s.dropIdleSeries(time.UnixMilli(110_000))
	mustAppend(t, s, 0, counterLabels("b"), 110_000, 1)
	if n := s.Stats().Series; n != 2 {
		t.Errorf("%d series under the wider bounds, want 2", n)
	}
	s.Reconfigure(Options{Retention: time.Minute, MaxSeries: 1})
	s.dropIdleSeries(time.UnixMilli(110_000))
	if n := s.Stats().Series; n != 1 {
		t.Errorf("%d series under the narrower bounds, want 1", n)
	}
}

func TestStaleReference(t *testing.T) {
	t.Parallel()
	s := New(Options{Retention: time.Minute})
	old := mustAppend(t, s, 0, counterLabels("a"), 0, 1)
	s.dropIdleSeries(time.UnixMilli(60_001))
	other := mustAppend(t, s, 0, counterLabels("b"), 60_001, 1)
	renewed := mustAppend(t, s, old, counterLabels("a"), 60_001, 2)
	if renewed == old || other == old {
		t.Errorf("the dropped reference %d was given out again: %d, %d", old, other, renewed)
	}
	want := map[string][]samplePoint{
		counterLabels("a").String(): {newSamplePoint(60_001, 2)},
		counterLabels("b").String(): {newSamplePoint(60_001, 1)},
	}
	if d := cmp.Diff(want, selectPoints(t, s, 0, math.MaxInt64, namedMatcher), cmp.AllowUnexported(samplePoint{})); d != "" {
		t.Errorf("selected (-want +got):\n%s", d)
	}
	for _, unknown := range []uint64{1 << 63, old | 0xffff, 12345} {
		if got := mustAppend(t, s, unknown, counterLabels("c"+strconv.FormatUint(unknown, 10)), 60_001, 1); got == unknown {
			t.Errorf("the reference %d, never given out, was taken", unknown)
		}
	}
}

// Series of equal hash are told apart. The hash cannot be provoked, so the chain is built by hand.
func TestHashCollision(t *testing.T) {
	t.Parallel()
	s := New(Options{})
	var all []*storedSeries
	for _, pod := range []string{"a", "b", "c"} {
		ref := mustAppend(t, s, 0, counterLabels(pod), 1, 1)
		all = append(all, s.lookupSeriesRef(ref))
	}
	for i, victim := range all {
		hash := victim.labels.Hash() // as if all series had this hash
		clear(s.byHash)
		s.byHash[hash] = all[0]
		all[0].nextSameHash, all[1].nextSameHash, all[2].nextSameHash = all[1], all[2], nil
		s.removeHashedSeries(victim)
		var left []*storedSeries
		for x := s.byHash[hash]; x != nil; x = x.nextSameHash {
			left = append(left, x)
		}
		if want := slices.Delete(slices.Clone(all), i, i+1); !slices.Equal(left, want) {
			t.Errorf("without the series at %d: %d left, want %d", i, len(left), len(want))
		}
	}
}

func TestRunCollects(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Retention: time.Minute})
		mustAppend(t, s, 0, counterLabels("a"), time.Now().UnixMilli(), 1)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		time.Sleep(59 * time.Second) //nolint:forbidigo // time is the bubble's
		if n := s.Stats().Series; n != 1 {
			t.Errorf("%d series after 59 s, want 1", n)
		}
		time.Sleep(17 * time.Second) //nolint:forbidigo // time is the bubble's
		if n := s.Stats().Series; n != 0 {
			t.Errorf("%d series after 76 s, want 0", n)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

// Pods come and go by the thousand; no memory of them stays.
func TestChurn(t *testing.T) {
	t.Parallel()
	s := New(Options{Retention: time.Minute, MaxSeries: 30_000})
	pods, waves := 10_000, 10
	for wave := range waves {
		now := int64(wave) * 120_000
		for i := range pods {
			l := newTestLabels(nameLabel, "up", namespaceLabel, strconv.Itoa(i%7), podLabel, fmt.Sprintf("p-%d-%d", wave, i))
			ref := mustAppend(t, s, 0, l, now, 1)
			mustAppend(t, s, ref, l, now+2000, math.Float64frombits(value.StaleNaN))
		}
		s.dropIdleSeries(time.UnixMilli(now + 60_000))
		if got := s.Stats().Series; got != pods {
			t.Fatalf("wave %d: %d series, want %d", wave, got, pods)
		}
		s.dropIdleSeries(time.UnixMilli(now + 119_000))
	}
	if got := s.Stats(); got != (Stats{}) {
		t.Errorf("%+v left, want nothing", got)
	}
	if len(s.index) != 0 || len(s.byHash) != 0 || cap(s.slots) != 0 || cap(s.freeSlots) != 0 {
		t.Errorf("left: %d names, %d hashes, %d slots, %d free", len(s.index), len(s.byHash), cap(s.slots), cap(s.freeSlots))
	}
	if n := testutil.ToFloat64(s.metrics.droppedSeries); n != float64(pods*waves) {
		t.Errorf("%v series dropped, want %d", n, pods*waves)
	}
}

// TestForget: a forgotten series begins anew, and its former reference leads to nothing.
func TestForget(t *testing.T) {
	t.Parallel()
	s, l := New(Options{}), labels.FromStrings("__name__", "a", "namespace", "shop", "pod", "web-1")
	ref, err := s.Append(0, l, 1000, 1)
	if err != nil {
		t.Fatal(err)
	}
	s.Forget(ref)
	s.Forget(ref)
	s.Forget(0)
	if stats := s.Stats(); stats.Series != 0 || stats.Samples != 0 {
		t.Errorf("%+v, want nothing", stats)
	}
	again, err := s.Append(ref, l, 500, 2)
	if stats := s.Stats(); err != nil || again == ref || stats.Series != 1 || stats.Samples != 1 {
		t.Errorf("reference %d after %d, %v, %+v", again, ref, err, stats)
	}
	s.Forget(ref)
	if s.Stats().Series != 1 {
		t.Error("the former reference dropped the new series")
	}
}

// TestConcurrentAppendAndSelect: of appends, collections and reads at the same time, every read sees each series whole, in order and without a gap.
func TestConcurrentAppendAndSelect(t *testing.T) {
	t.Parallel()
	s := New(Options{Retention: 200 * time.Millisecond})
	const writers, perWriter, rounds = 3, 5, 2000
	var writing, reading sync.WaitGroup
	stop := make(chan struct{})
	for w := range writers {
		writing.Go(func() {
			refs := make([]uint64, perWriter)
			for round := int64(1); round <= rounds; round++ {
				for i := range refs {
					refs[i] = mustAppend(t, s, refs[i], counterLabels(fmt.Sprintf("%d-%d", w, i)), round, float64(round))
				}
				if w == 0 && round%100 == 0 {
					s.dropIdleSeries(time.UnixMilli(round))
				}
			}
		})
	}
	for range 2 {
		reading.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				for name, points := range selectPoints(t, s, 0, math.MaxInt64, namedMatcher) {
					for i, p := range points {
						if p != newSamplePoint(p.t, float64(p.t)) || i > 0 && p.t != points[i-1].t+1 {
							t.Errorf("%s: point %d is %v after %v", name, i, p, points[max(0, i-1)])
							return
						}
					}
				}
			}
		})
	}
	writing.Wait()
	close(stop)
	reading.Wait()
	if n := s.Stats().Series; n > writers*perWriter {
		t.Errorf("%d series, want at most %d", n, writers*perWriter)
	}
}

// FuzzIterator compares Next and Seek with a plain slice.
func FuzzIterator(f *testing.F) {
	f.Add(uint64(1), []byte{0, 0, 0, 5, 0, 200, 0})
	f.Add(uint64(2), []byte{250, 1, 0, 0})
	f.Fuzz(func(t *testing.T, seed uint64, moves []byte) {
		r := rand.New(rand.NewPCG(seed, 0))
		s := New(Options{Retention: time.Hour})
		at := int64(r.IntN(100))
		var all []samplePoint
		var ref uint64
		for range r.IntN(200) {
			at += 1 + int64(r.IntN(3000))
			v := float64(r.IntN(1000))
			if r.IntN(3) == 0 {
				v = r.Float64()
			}
			ref = mustAppend(t, s, ref, counterLabels("a"), at, v)
			all = append(all, newSamplePoint(at, v))
		}
		mint, maxt := r.Int64N(at+2), r.Int64N(at+2)
		all = slices.DeleteFunc(all, func(p samplePoint) bool { return p.t < mint || p.t > maxt })
		set := newTestQuerier(t, s, mint, maxt).Select(t.Context(), false, nil, namedMatcher)
		if !set.Next() {
			return // no samples at all
		}
		checkIteratorMoves(t, set.At().Iterator(nil), all, mint, moves)
	})
}

// checkIteratorMoves makes the moves, 0 for Next and n for a Seek to n thousandths of a second further on.
func checkIteratorMoves(t *testing.T, it chunkenc.Iterator, all []samplePoint, at int64, moves []byte) {
	t.Helper()
	i := -1
	for n, move := range moves {
		var got chunkenc.ValueType
		if move == 0 {
			i = min(i+1, len(all))
			got = it.Next()
		} else {
			at += int64(move) * 50
			i = max(i, 0)
			for i < len(all) && all[i].t < at {
				i++
			}
			got = it.Seek(at)
		}
		if want := i < len(all); want != (got == chunkenc.ValFloat) {
			t.Fatalf("move %d: %v, want a sample: %v", n, got, want)
		}
		if i < len(all) {
			if p := newSamplePoint(it.At()); p != all[i] || it.AtT() != p.t {
				t.Fatalf("move %d: at %v, want %v", n, p, all[i])
			}
		}
	}
	if it.Err() != nil {
		t.Error(it.Err())
	}
}

// TestCreate makes series all or none.
func TestCreate(t *testing.T) {
	t.Parallel()
	s := New(Options{MaxSeries: 3, Retention: 10 * time.Second})
	old := mustAppend(t, s, 0, counterLabels("a"), 1000, 1)
	refs, err := s.Create(2000, []labels.Labels{counterLabels("a"), counterLabels("b"), counterLabels("b")})
	if err != nil || refs[0] != old || refs[1] == 0 || refs[1] != refs[2] {
		t.Fatalf("Create = %v, %v; want %d and one new series", refs, err, old)
	}
	if refs, err := s.Create(2000, []labels.Labels{counterLabels("c"), counterLabels("d")}); !errors.Is(err, ErrTooManySeries) || refs != nil {
		t.Errorf("Create of two series with room for one = %v, %v, want ErrTooManySeries", refs, err)
	}
	if got := s.Stats().Series; got != 2 {
		t.Errorf("%d series, want 2", got)
	}
	if got := mustAppend(t, s, refs[1], counterLabels("b"), 2000, 1); got != refs[1] {
		t.Errorf("the first sample went to series %d, want %d", got, refs[1])
	}
	if _, err := s.Create(3000, []labels.Labels{counterLabels("c")}); err != nil {
		t.Error(err)
	}
	s.dropIdleSeries(time.UnixMilli(12_500)) // drops a and b; c waits for its first sample
	if got := s.Stats(); got != (Stats{Series: 1}) {
		t.Errorf("stats %+v, want the series without samples", got)
	}
	s.dropIdleSeries(time.UnixMilli(13_500))
	if got := s.Stats().Series; got != 0 {
		t.Errorf("%d series, want 0: a series that never gets a sample must go", got)
	}
}
