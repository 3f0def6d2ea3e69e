package scrape

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// TestNextDue follows a target from its first scrape: every gap is an interval but for the slew, and in the
// end the target is at its place and stays there, however long its scrapes take.
func TestNextDue(t *testing.T) {
	t.Parallel()
	for _, interval := range []time.Duration{50 * time.Millisecond, 2 * time.Second, time.Minute} {
		for i := range 50 {
			p := computeScrapeOffset(uint64(i%slotsPerInterval), uint64(i))
			now := time.Date(2026, 1, 2, 3, 4, 5, i*37_000_000, time.UTC)
			due := firstScrapeTime(now, interval, p)
			if wait := due.Sub(now); wait < 0 || wait > interval/8 {
				t.Fatalf("a new target waits %v of %v", wait, interval)
			}
			for n := range 40 {
				took := time.Duration(n%5) * interval / 8
				next, missed := nextScrapeTime(due, due.Add(took), interval, p)
				if missed != 0 {
					t.Fatalf("missed %d intervals of %v after %v", missed, interval, took)
				}
				gap := float64(next.Sub(due)) / float64(interval)
				if math.Abs(gap-1) > 1.0/32+1e-6 {
					t.Fatalf("gap of %v intervals", gap)
				}
				if n > 20 && math.Abs(gap-1) > 1e-6 {
					t.Fatalf("still moving after %d scrapes: gap of %v intervals", n, gap)
				}
				due = next
			}
			place := math.Mod(float64(due.UnixNano()%int64(interval))/float64(interval)-float64(p)+1.5, 1) - 0.5
			if math.Abs(place) > 1e-3 {
				t.Errorf("ended %v intervals off its place", place)
			}
		}
	}
}

func TestNextDueAfterALongScrape(t *testing.T) {
	t.Parallel()
	due := time.Date(2026, 1, 2, 3, 4, 6, 0, time.UTC) // on its place, 0
	for took, want := range map[time.Duration]struct {
		after  time.Duration
		missed int
	}{
		time.Second:                         {2 * time.Second, 0},
		2*time.Second - 1:                   {2 * time.Second, 0},
		2 * time.Second:                     {4 * time.Second, 1},
		7 * time.Second:                     {8 * time.Second, 3},
		24*time.Hour + 500*time.Millisecond: {24*time.Hour + 2*time.Second, 12*3600 + 0},
	} {
		next, missed := nextScrapeTime(due, due.Add(took), 2*time.Second, 0)
		if next.Sub(due) != want.after || missed != want.missed {
			t.Errorf("after %v: due %v later, %d missed; want %v, %d", took, next.Sub(due), missed, want.after, want.missed)
		}
	}
}

// TestPlacesSpread checks that the pods of a Deployment, with nearly equal names, do not bunch up.
func TestPlacesSpread(t *testing.T) {
	t.Parallel()
	const n, bins = 1000, 10
	var count [bins]int
	for i := range n {
		count[int(computeScrapeOffset(hashFirstSlot(metric.Object{Namespace: "shop", Name: fmt.Sprintf("cart-%05d", i)}, 7), 7)*bins)]++
	}
	for bin, c := range count {
		// 100 expected, s.d. 9.5
		if c < 60 || c > 140 {
			t.Errorf("%d of %d pods in tenth %d of the interval", c, n, bin)
		}
	}
}

// TestSlots follows targets that come at different times: in the end they are due at few moments, to the nanosecond, and at
// other moments than in another process.
func TestSlots(t *testing.T) {
	t.Parallel()
	const interval = 5 * time.Second
	moments := map[uint64]map[time.Duration]bool{}
	for seed := range uint64(2) {
		moments[seed] = map[time.Duration]bool{}
		for i := range 1000 {
			p := computeScrapeOffset(hashFirstSlot(metric.Object{Namespace: "shop", Name: fmt.Sprint("cart-", i)}, seed+7), seed+7)
			due := firstScrapeTime(time.Date(2026, 1, 2, 3, 4, 5, i*1_234_567, time.UTC), interval, p)
			for range 20 {
				due, _ = nextScrapeTime(due, due, interval, p)
			}
			moments[seed][time.Duration(due.UnixNano())%interval] = true
		}
		if n := len(moments[seed]); n > slotsPerInterval || n < slotsPerInterval/2 {
			t.Errorf("due at %d moments, want %d", n, slotsPerInterval)
		}
	}
	for at := range moments[0] {
		if moments[1][at] {
			t.Errorf("two processes scrape at %v", at)
		}
	}
}

// TestPodsOfAWorkload checks that few pods of a workload are scraped at times far from each other, also after one took the place of another.
func TestPodsOfAWorkload(t *testing.T) {
	t.Parallel()
	newLoops := func(first, n int) (loops []*scrapeLoop) {
		for i := range n {
			key := metric.Object{Namespace: "shop", Name: fmt.Sprint("cart-7d9f8c5b6d-", first+i)}
			loops = append(loops, &scrapeLoop{key: key, offset: unplacedOffset})
		}
		return loops
	}
	for n, least := range map[int]float64{2: 0.5, 3: 0.25, 4: 0.25, 8: 0.125, 64: 1.0 / 64} {
		for seed := range uint64(20) {
			added := newLoops(0, n)
			all := map[metric.Object]*scrapeLoop{{Namespace: "shop", Name: "other-1"}: {offset: 0.3}}
			place := func(added []*scrapeLoop) {
				for _, l := range added {
					all[l.key] = l
				}
				placeNewLoops(added, all, seed)
			}
			place(added)
			delete(all, added[1].key)
			place(newLoops(n, 1))
			var places []float64
			for key, l := range all {
				if strings.HasPrefix(key.Name, "cart-") {
					places = append(places, float64(l.offset))
				}
			}
			slices.Sort(places)
			for i, p := range places {
				if gap := math.Mod(places[(i+1)%n]-p+1, 1); gap < least-1e-9 {
					t.Errorf("seed %d: two of %d pods are %v intervals apart, want %v at least", seed, n, gap, least)
				}
			}
		}
	}
}
