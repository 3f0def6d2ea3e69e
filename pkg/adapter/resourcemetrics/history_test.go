package resourcemetrics

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

var (
	epoch      = time.Unix(1_900_000_000, 0)
	testLimits = limits{window: 10 * time.Second, gap: time.Minute}
)

// at is a reading of a container that has run since before the epoch.
func at(second, cpu float64) reading {
	t := epoch.Add(time.Duration(second * float64(time.Second)))
	return reading{cpu: cpu, cpuTime: t, memory: 100, memoryTime: t, started: epoch.Add(-time.Hour)}
}

func startedAt(r reading, second float64) reading {
	r.started = epoch.Add(time.Duration(second * float64(time.Second)))
	return r
}

func withMemoryOf(r reading, second float64) reading {
	r.memoryTime = epoch.Add(time.Duration(second * float64(time.Second)))
	return r
}

func TestUsage(t *testing.T) {
	t.Parallel()
	type want struct {
		cpu    float64
		time   float64 // seconds after the epoch
		window time.Duration
		reason metric.Reason
	}
	for name, tc := range map[string]struct {
		pages []reading
		want  want
	}{
		"one page":                       {[]reading{at(0, 10)}, want{reason: metric.ReasonWarmingUp}},
		"two pages":                      {[]reading{at(0, 10), at(15, 13)}, want{cpu: .2, time: 15, window: 15 * time.Second}},
		"the two newest":                 {[]reading{at(0, 10), at(15, 13), at(30, 28)}, want{cpu: 1, time: 30, window: 15 * time.Second}},
		"the same sample again":          {[]reading{at(0, 10), at(15, 13), at(15, 13)}, want{cpu: .2, time: 15, window: 15 * time.Second}},
		"too close":                      {[]reading{at(0, 10), at(3, 13)}, want{reason: metric.ReasonWarmingUp}},
		"close samples add up":           {[]reading{at(0, 10), at(6, 10.6), at(12, 11.2)}, want{cpu: .1, time: 12, window: 12 * time.Second}},
		"the shortest window of them":    {[]reading{at(0, 0), at(5, 1), at(10, 2), at(15, 3), at(20, 13)}, want{cpu: 1.1, time: 20, window: 10 * time.Second}},
		"idle":                           {[]reading{at(0, 10), at(15, 10)}, want{cpu: 0, time: 15, window: 15 * time.Second}},
		"a counter that fell":            {[]reading{at(0, 10), at(15, 13), at(30, 1)}, want{reason: metric.ReasonWarmingUp}},
		"after a counter that fell":      {[]reading{at(0, 10), at(15, 1), at(30, 4)}, want{cpu: .2, time: 30, window: 15 * time.Second}},
		"a restart that outran the old":  {[]reading{at(0, 10), startedAt(at(15, 13), 1)}, want{reason: metric.ReasonWarmingUp}},
		"a gap":                          {[]reading{at(0, 10), at(61, 13)}, want{reason: metric.ReasonWarmingUp}},
		"one missed page":                {[]reading{at(0, 10), at(30, 13)}, want{cpu: .1, time: 30, window: 30 * time.Second}},
		"a clock that was put back":      {[]reading{at(100, 10), at(50, 13)}, want{reason: metric.ReasonWarmingUp}},
		"no CPU":                         {[]reading{at(0, 10), {memory: 1, memoryTime: epoch}}, want{reason: metric.ReasonAbsent}},
		"no memory":                      {[]reading{at(0, 10), {cpu: 13, cpuTime: epoch.Add(15 * time.Second)}}, want{reason: metric.ReasonAbsent}},
		"nothing":                        {[]reading{{}}, want{reason: metric.ReasonAbsent}},
		"memory measured before the CPU": {[]reading{at(0, 10), withMemoryOf(at(15, 13), 9)}, want{cpu: .2, time: 9, window: 15 * time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var h history
			for _, r := range tc.pages {
				h = h.next(r, testLimits)
			}
			u, s, reason := h.usage(testLimits)
			got := want{u.CPU, 0, s.window, reason}
			if reason == "" {
				got.time = s.time.Sub(epoch).Seconds()
			}
			near := cmp.Comparer(func(a, b float64) bool { return a-b < 1e-9 && b-a < 1e-9 })
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{}), near); diff != "" {
				t.Errorf("usage (-want +got):\n%s", diff)
			}
		})
	}
}

// A kubelet that measures often, read often, must not make the history grow.
func TestHistoryIsBounded(t *testing.T) {
	t.Parallel()
	var h history
	for i := range 10_000 {
		h = h.next(at(float64(i), float64(i)), testLimits)
	}
	if len(h.cpu) > 12 {
		t.Errorf("%d samples are kept, of which the newest 10 s are needed", len(h.cpu))
	}
}

func TestPodNeedsAllContainers(t *testing.T) {
	t.Parallel()
	old := history{}.next(at(0, 10), testLimits).next(at(15, 13), testLimits)
	older := history{}.next(at(-10, 10), testLimits).next(at(12, 12.2), testLimits)
	young := history{}.next(at(15, 1), testLimits)
	silent := history{}.next(reading{started: epoch}, testLimits)
	pod := metric.Object{Namespace: "a", Name: "p"}
	of := func(containers map[string]history) map[container]history {
		out := map[container]history{}
		for name, h := range containers {
			out[container{pod, name}] = h
		}
		return out
	}
	for name, tc := range map[string]struct {
		containers map[string]history
		reason     metric.Reason
	}{
		"all":          {map[string]history{"a": old, "b": older}, ""},
		"one is young": {map[string]history{"a": old, "b": young}, metric.ReasonWarmingUp},
		"one has none": {map[string]history{"a": old, "b": silent}, metric.ReasonAbsent},
		"both":         {map[string]history{"a": young, "b": silent, "c": old}, metric.ReasonWarmingUp},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := podEntries("node", of(tc.containers), testLimits)[pod]
			if got.reason != tc.reason {
				t.Fatalf("reason %q, want %q", got.reason, tc.reason)
			}
			if tc.reason != "" {
				return
			}
			// The oldest time and the longest window of its containers.
			if !got.usage.Time.Equal(epoch.Add(12*time.Second)) || got.usage.Window != 22*time.Second || len(got.usage.Containers) != 2 {
				t.Errorf("usage %+v", got.usage)
			}
		})
	}
}
