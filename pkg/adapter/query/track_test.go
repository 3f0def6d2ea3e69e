package query

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/value"
)

// TestJoinResumedQuerySeries: a counter that the scraper ended for want of pages goes on if it has its last value again right behind the
// marker.
func TestJoinResumedQuerySeries(t *testing.T) {
	t.Parallel()
	end := math.Float64frombits(value.StaleNaN)
	for name, tc := range map[string]struct {
		times  []int64
		values []float64
		want   string
	}{
		"goes on":                     {[]int64{10, 20, 25, 26, 40}, []float64{1, 2, end, 2, 5}, "[10 20 40] [1 2 5]"},
		"goes on twice":               {[]int64{10, 15, 16, 20, 25, 26, 40}, []float64{1, end, 1, 2, end, 2, 5}, "[10 20 40] [1 2 5]"},
		"ends":                        {[]int64{10, 20, 25}, []float64{1, 2, end}, "[10 20 25] [1 2 NaN]"},
		"begins anew":                 {[]int64{10, 25, 26, 40}, []float64{2, end, 0, 5}, "[10 25 26 40] [2 NaN 0 5]"},
		"begins anew, from zero both": {[]int64{10, 25, 26, 40}, []float64{0, end, 0, 5}, "[10 25 26 40] [0 NaN 0 5]"},
		"comes back later":            {[]int64{10, 25, 30, 40}, []float64{2, end, 2, 5}, "[10 25 30 40] [2 NaN 2 5]"},
		"a page at once":              {[]int64{10, 25, 26}, []float64{2, end, 2}, "[10 25 26] [2 NaN 2]"},
		"the end alone":               {[]int64{25, 26, 40}, []float64{end, 2, 5}, "[25 26 40] [NaN 2 5]"},
	} {
		times, values := joinResumedCounter(slices.Clone(tc.times), slices.Clone(tc.values))
		if got := fmt.Sprint(times, values); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
}

// TestIncreaseOverTracks: a counter that goes on at another URL has counted between the last page there and the first page here, also where
// it moves several times within the range.
func TestIncreaseOverTracks(t *testing.T) {
	t.Parallel()
	end := math.Float64frombits(value.StaleNaN)
	for name, tc := range map[string]struct {
		times  []int64
		values []float64
		want   float64
	}{
		"one":                       {[]int64{0, 5, 10, 15, 20, 25, 30}, []float64{100, 105, 110, 115, 120, 125, 130}, 30},
		"two":                       {[]int64{0, 5, 10, 14, 15, 20, 25, 30}, []float64{100, 105, 110, end, 900, 905, 910, 915}, 30},
		"three":                     {[]int64{0, 5, 9, 10, 15, 19, 20, 25, 30}, []float64{100, 105, end, 900, 905, end, 1900, 1905, 1910}, 30},
		"three, a page in between":  {[]int64{0, 5, 9, 10, 14, 15, 20, 25, 30}, []float64{100, 105, end, 900, end, 1900, 1905, 1910, 1915}, 30},
		"four, one page in each":    {[]int64{0, 5, 9, 10, 14, 15, 19, 20, 25, 30}, []float64{100, 105, end, 900, end, 1900, end, 2900, 2905, 2910}, 30},
		"a new process in between":  {[]int64{0, 5, 9, 10, 15, 19, 20, 25, 30}, []float64{100, 105, end, 0, 5, end, 1900, 1905, 1910}, 29},
		"load that leaves later":    {[]int64{0, 5, 10, 14, 15, 20, 25, 30}, []float64{100, 105, 110, end, 900, 905, 905, 905}, 20},
		"load that leaves between":  {[]int64{0, 5, 10, 14, 15, 20, 25, 30}, []float64{100, 110, 120, end, 900, 900, 900, 900}, 25},
		"a pause, that counts none": {[]int64{0, 5, 9, 20, 21, 22, 25, 30}, []float64{100, 105, end, 900, end, 1900, 1903, 1908}, 15},
	} {
		got, ok := increaseBetweenSamples(tc.times, tc.values, countedRange{from: 0, to: 30, interval: 5})
		if !ok || math.Abs(got-tc.want) > 0.01 {
			t.Errorf("%s: %.2f, want %.2f", name, got, tc.want)
		}
	}
}

// TestIncreaseUntilAnEnd: a counter whose pod ends counts until its end as before, unless it had no page for longer than an interval.
func TestIncreaseUntilAnEnd(t *testing.T) {
	t.Parallel()
	end := math.Float64frombits(value.StaleNaN)
	for name, tc := range map[string]struct {
		ended, from int64
		want        float64
	}{
		"at its last page":          {11, 0, 11},
		"soon after":                {15, 0, 15},
		"from behind its last page": {15, 12, 3},
		"a hole":                    {17, 0, 10},
	} {
		got, ok := increaseBetweenSamples([]int64{0, 5, 10, tc.ended}, []float64{100, 105, 110, end}, countedRange{from: tc.from, to: 30, interval: 5})
		if !ok || math.Abs(got-tc.want) > 0.01 {
			t.Errorf("%s: %.2f %v, want %.2f", name, got, ok, tc.want)
		}
	}
}

// TestIncreaseAroundAMove: load that moves from one counter to another in the midst of their increments is counted once, wherever the range
// begins.
func TestIncreaseAroundAMove(t *testing.T) {
	t.Parallel()
	for moved := int64(10_000); moved < 15_000; moved += 200 {
		var giver, taker [2][]float64 // times and values
		for at := int64(0); at <= 40_000; at += 5_000 {
			giver[0], giver[1] = append(giver[0], float64(at)), append(giver[1], 1_000_000+float64(min(at, moved))+float64(max(0, at-moved))/9)
			if from := at + 9_300; from <= 40_000 {
				taker[0], taker[1] = append(taker[0], float64(from)), append(taker[1], float64(max(0, from-moved))*8/9)
			}
		}
		for from := int64(5_100); from < 20_000; from += 100 {
			r, total := countedRange{from: from, to: 30_000, interval: 5_000}, 0.0
			for _, c := range [][2][]float64{giver, taker} {
				var times []int64
				for _, at := range c[0] {
					times = append(times, int64(at))
				}
				n, _ := increaseBetweenSamples(times, c[1], r)
				total += n
			}
			if want := float64(30_000 - from); math.Abs(total-want) > 0.01*want {
				t.Errorf("load moved at %d, counted from %d: %.0f, want %.0f", moved, from, total, want)
			}
		}
	}
}

// TestIncreaseBesideAnotherChange: a range begins or ends in an increment in which the rate changed. Where the rates beside it are known to have
// changed, too, its counts are between those of one change and even ones.
func TestIncreaseBesideAnotherChange(t *testing.T) {
	t.Parallel()
	end := math.Float64frombits(value.StaleNaN)
	for name, tc := range map[string]struct {
		times     []int64
		values    []float64
		from, to  int64
		low, high float64
	}{
		"a pause, and shorter increments behind it": {[]int64{0, 50, 150, 199, 248}, []float64{100, 150, 180, 180, 180}, 100, 248, 0, 0},
		"a pause, and shorter increments before it": {[]int64{0, 48, 96, 196, 246}, []float64{100, 100, 100, 120, 170}, 0, 146, 0, 0},
		"a change alone":                              {[]int64{0, 50, 100, 150, 200}, []float64{0, 500, 1000, 1200, 1200}, 120, 200, 0, 0},
		"another change before, in the midst":         {[]int64{0, 50, 100, 150, 200, 250}, []float64{1, 501, 1001, 1261, 1311, 1311}, 160, 250, 1, 39},
		"another change behind, in the midst":         {[]int64{0, 50, 100, 150, 200, 250}, []float64{1, 1, 51, 311, 811, 1311}, 0, 90, 1, 39},
		"one page at another URL, after a change":     {[]int64{0, 50, 100, 140, 150}, []float64{100, 150, 155, end, 900}, 0, 150, 60, 60},
		"one page at another URL, and one at a third": {[]int64{0, 50, 100, 140, 141, 149, 150}, []float64{100, 150, 155, end, 900, end, 1900}, 0, 150, 60, 60},
	} {
		got, ok := increaseBetweenSamples(tc.times, tc.values, countedRange{from: tc.from, to: tc.to, interval: 50})
		if !ok || got < tc.low-0.01 || got > tc.high+0.01 {
			t.Errorf("%s: %.2f %v, want %v to %v", name, got, ok, tc.low, tc.high)
		}
	}
}

// TestIncreaseSinceReadiness: what a counter has beyond zero, it counted since its pod became ready.
func TestIncreaseSinceReadiness(t *testing.T) {
	t.Parallel()
	began, restarted := []float64{0, 0, 50, 100}, []float64{100, 150, 30, 70} // at 0, 5, 10 and 15
	for name, tc := range map[string]struct {
		values            []float64
		readied, from, to int64
		want              float64
	}{
		"until it is ready":                      {began, 8, 0, 8, 0},
		"soon after":                             {began, 8, 0, 9, 25},
		"ready before":                           {began, 4, 0, 9, 40},
		"ready later":                            {began, 12, 0, 9, 40},
		"since before, over the whole increment": {began, 8, 0, 10, 50},
		"restarted, until it is ready":           {restarted, 8, 0, 8, 50},
		"restarted, soon after":                  {restarted, 8, 5, 9, 15},
	} {
		got, ok := increaseBetweenSamples([]int64{0, 5, 10, 15}, tc.values, countedRange{from: tc.from, to: tc.to, interval: 5, readied: tc.readied})
		if !ok || math.Abs(got-tc.want) > 0.01 {
			t.Errorf("%s: %.2f %v, want %.2f", name, got, ok, tc.want)
		}
	}
}

// TestIncreaseFromTheEndOfATrack: a range that begins where a track ended knows the rate of the track, too.
func TestIncreaseFromTheEndOfATrack(t *testing.T) {
	t.Parallel()
	end := math.Float64frombits(value.StaleNaN)
	times, values := []int64{0, 5, 9, 10, 14, 15, 20, 25}, []float64{100, 105, end, 900, end, 1900, 1905, 1910}
	for _, from := range []int64{0, 4, 5, 6, 9} {
		got, ok := increaseBetweenSamples(times, values, countedRange{from: from, to: 25, interval: 5})
		if want := float64(25 - from); !ok || math.Abs(got-want) > 0.01 {
			t.Errorf("from %d: %.2f, want %.2f", from, got, want)
		}
	}
	times, values = []int64{0, 5, 9, 10}, []float64{100, 105, end, 900}
	for _, from := range []int64{0, 4, 5, 6} {
		got, _ := increaseBetweenSamples(times, values, countedRange{from: from, to: 10, interval: 5})
		if want := float64(10 - from); math.Abs(got-want) > 0.01 {
			t.Errorf("a single page, from %d: %.2f, want %.2f", from, got, want)
		}
	}
}

// TestTrackHasIncrement: single pages of two URLs have no increment.
func TestTrackHasIncrement(t *testing.T) {
	t.Parallel()
	end := math.Float64frombits(value.StaleNaN)
	for name, tc := range map[string]struct {
		times  []int64
		values []float64
		want   bool
	}{
		"a page":                          {[]int64{10}, []float64{1}, false},
		"two pages":                       {[]int64{10, 20}, []float64{1, 2}, true},
		"a page at each of two URLs":      {[]int64{10, 19, 20}, []float64{1, end, 900}, false},
		"a page at each of three URLs":    {[]int64{10, 19, 20, 29, 30}, []float64{1, end, 900, end, 5}, false},
		"two pages before another URL":    {[]int64{10, 20, 29, 30}, []float64{1, 2, end, 900}, true},
		"two pages before a pause":        {[]int64{10, 20, 29, 60}, []float64{1, 2, end, 900}, false},
		"a restart after a pause":         {[]int64{10, 20, 60}, []float64{1, 20, 5}, false},
		"two pages after such a restart":  {[]int64{10, 20, 60, 70}, []float64{1, 20, 5, 6}, true},
		"a restart without a pause":       {[]int64{10, 20, 30}, []float64{1, 20, 5}, true},
		"a page at each, with an end now": {[]int64{10, 19, 20, 29}, []float64{1, end, 900, end}, false},
	} {
		if got := findCurrentTrack(exprSelector{isCounter: true}, tc.times, tc.values, 10).hasIncrement; got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestHolesOfEndedCounters: a counter that ended more than 1.2 intervals after its newest sample has counts that no sample shows.
func TestHolesOfEndedCounters(t *testing.T) {
	t.Parallel()
	for end, want := range map[int64][]timeSpan{3_100: nil, 3_390: nil, 3_450: {{1_000, 3_450}}, 9_000: {{1_000, 9_000}}} {
		got := appendCounterHoles(nil, 0, []int64{1_000, end}, []float64{5, staleMarker}, 2_000)
		if !slices.Equal(got, want) {
			t.Errorf("ended at %d ms: holes %v, want %v", end, got, want)
		}
	}
	for _, tc := range []struct {
		newest float64
		end    int64
		want   int
	}{{5, 6_000, 0}, {6, 6_000, 1}, {5, 9_000, 1}} {
		got := appendCounterHoles(nil, 0, []int64{1_000, 3_000, tc.end}, []float64{5, tc.newest, staleMarker}, 2_000)
		if len(got) != tc.want {
			t.Errorf("ended at %d ms after 5 and %v: holes %v, want %d", tc.end, tc.newest, got, tc.want)
		}
	}
}

// TestEndsOfManySeries: a pod keeps the time at which its series end once, not for each series, and knows which of the ends is the last before
// its newest series.
func TestEndsOfManySeries(t *testing.T) {
	t.Parallel()
	p := &evaluatedPod{sampleTimes: []namedSampleTimes{{name: "x_total", times: evaluatedTimes{15, 20}, pagedSince: 15, since: 15}}}
	sel := exprSelector{name: "x_total", isCounter: true}
	for range 1000 {
		for _, times := range [][]int64{{2, 11}, {2, 4}, {16, 18}} {
			values := []float64{1, math.Float64frombits(value.StaleNaN)}
			p.noteTrackEnds(sel, findCurrentTrack(sel, times, values, 2), times, values)
		}
	}
	p.extendPodSampleTimes()
	var r countedRange
	if p.setPodCountedRange("x_total", &r); len(p.ends) != 3 || r.podEnded != 11 {
		t.Errorf("ends %v, the last before 15 is %d, want 4, 11 and 18, and 11", p.ends, r.podEnded)
	}
}
