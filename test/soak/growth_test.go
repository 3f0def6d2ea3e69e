package soak

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestGeneratorLate: a read that begins late, and those for some seconds after it, count as late; what was missed is not made up for.
func TestGeneratorLate(t *testing.T) {
	t.Parallel()
	var l lateness
	due := time.Unix(1_800_000_000, 0)
	for name, tc := range map[string]struct {
		due, began time.Duration
		want       bool
	}{
		"in time":              {0, time.Millisecond, false},
		"a bit after its time": {0, generatorDelay, false},
	} {
		if got := l.mark(due.Add(tc.due), due.Add(tc.began)); got != tc.want {
			t.Errorf("%s: late: %t, want %t", name, got, tc.want)
		}
	}
	late := due.Add(2 * generatorDelay)
	if !l.mark(due, late) || !l.mark(late.Add(generatorPause-1), late.Add(generatorPause-1)) || l.mark(late.Add(generatorPause), late.Add(generatorPause)) {
		t.Errorf("the reads of %s after a late one do not count as late, or later ones do", generatorPause)
	}
	pace := soakPace{gap: time.Millisecond, due: due}
	for range 3 {
		pace.next(due)
	}
	if n, at := pace.next(due); n != 4 || !at.Equal(due.Add(3*time.Millisecond)) {
		t.Errorf("read %d is due at %s", n, at)
	}
	pace.next(due.Add(time.Minute))
	if _, at := pace.next(due.Add(time.Minute)); !at.Equal(due.Add(time.Minute)) {
		t.Errorf("a minute of reads is made up for: the next is due at %s", at)
	}
}

// TestGrowth: growth is that of the medians of two quarters, so an outlier is none; a slope is that of the line through all samples.
func TestGrowth(t *testing.T) {
	t.Parallel()
	column := sampledColumn{of: func(s adapterSample) float64 { return s.goroutines }}
	for name, tc := range map[string]struct {
		value         func(i int) float64
		growth, slope float64
	}{
		"steady":      {func(int) float64 { return 100 }, 0, 0},
		"one outlier": {func(i int) float64 { return map[bool]float64{true: 900}[i == 90] + 100 }, 0, math.NaN()},
		"a leak":      {func(i int) float64 { return 100 + float64(i) }, 0.36, 60},
		"shrinking":   {func(i int) float64 { return 200 - float64(i) }, -0.31, -60},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			samples := make([]adapterSample, 100)
			for i := range samples {
				samples[i] = adapterSample{at: time.Duration(i) * time.Minute, goroutines: tc.value(i)}
			}
			if got := growthOf(samples, column); math.Abs(got-tc.growth) > 0.01 {
				t.Errorf("growth %v, want %v", got, tc.growth)
			}
			if got := slopeOf(samples, column); math.Abs(got-tc.slope) > 0.01 {
				t.Errorf("slope %v an hour, want %v", got, tc.slope)
			}
		})
	}
}

// TestJudgeGrowth: records that fill up to their bound are no growth, and whatever grows beside them is.
func TestJudgeGrowth(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	for name, tc := range map[string]struct {
		leak, records float64 // MiB at the end, beside the 100 and 1 of the begin
		want          []string
	}{
		"steady":       {0, 0, nil},
		"records fill": {0, 11, nil},
		"a leak": {40, 0, []string{
			"living heap without records grew by 17.6 % from the second quarter of the run to the last, bound 10 %",
			"resident memory without records grew by 15.5 % from the second quarter of the run to the last, bound 10 %",
		}},
		"a leak beside records": {40, 11, []string{
			"living heap without records grew by 17.6 % from the second quarter of the run to the last, bound 10 %",
			"resident memory without records grew by 15.5 % from the second quarter of the run to the last, bound 10 %",
		}},
		"records without end": {0, 30, []string{"the records of autoscalers have 13.4 MiB, bound 12 MiB"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			samples := make([]adapterSample, 100)
			for i := range samples {
				share := float64(i) / 99
				records := (1 + share*tc.records) * mib
				living := (100+share*tc.leak)*mib + records
				samples[i] = adapterSample{records: records, goal: 2 * living, resident: 2*living + 30*mib, heap: 1.5 * living, goroutines: 100, files: 100}
			}
			if diff := cmp.Diff(tc.want, judgeGrowth(samples)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if got := judgeGrowth(make([]adapterSample, 8)); len(got) != 1 || !strings.HasPrefix(got[0], "the adapter shows no bytes of records") {
		t.Errorf("without the metrics: %q", got)
	}
}
