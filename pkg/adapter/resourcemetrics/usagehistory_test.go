package resourcemetrics

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

var (
	epoch      = time.Unix(1_900_000_000, 0)
	testLimits = windowLimits{minWindow: 10 * time.Second, maxGap: time.Minute}
)

// readingAt returns a reading of a container that has run since before the epoch.
func readingAt(second, cpu float64) usageReading {
	t := epoch.Add(time.Duration(second * float64(time.Second)))
	return usageReading{cpu: cpu, cpuTime: t, memory: 100, memoryTime: t, started: epoch.Add(-time.Hour)}
}

func withStartAt(r usageReading, second float64) usageReading {
	r.started = epoch.Add(time.Duration(second * float64(time.Second)))
	return r
}

func withMemoryAt(r usageReading, second float64) usageReading {
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
		pages []usageReading
		want  want
	}{
		"one page":                       {[]usageReading{readingAt(0, 10)}, want{reason: metric.ReasonWarmingUp}},
		"two pages":                      {[]usageReading{readingAt(0, 10), readingAt(15, 13)}, want{cpu: .2, time: 15, window: 15 * time.Second}},
		"the two newest":                 {[]usageReading{readingAt(0, 10), readingAt(15, 13), readingAt(30, 28)}, want{cpu: 1, time: 30, window: 15 * time.Second}},
		"the same sample again":          {[]usageReading{readingAt(0, 10), readingAt(15, 13), readingAt(15, 13)}, want{cpu: .2, time: 15, window: 15 * time.Second}},
		"too close":                      {[]usageReading{readingAt(0, 10), readingAt(3, 13)}, want{reason: metric.ReasonWarmingUp}},
		"close samples add up":           {[]usageReading{readingAt(0, 10), readingAt(6, 10.6), readingAt(12, 11.2)}, want{cpu: .1, time: 12, window: 12 * time.Second}},
		"the shortest window of them":    {[]usageReading{readingAt(0, 0), readingAt(5, 1), readingAt(10, 2), readingAt(15, 3), readingAt(20, 13)}, want{cpu: 1.1, time: 20, window: 10 * time.Second}},
		"idle":                           {[]usageReading{readingAt(0, 10), readingAt(15, 10)}, want{cpu: 0, time: 15, window: 15 * time.Second}},
		"a counter that fell":            {[]usageReading{readingAt(0, 10), readingAt(15, 13), readingAt(30, 1)}, want{reason: metric.ReasonWarmingUp}},
		"after a counter that fell":      {[]usageReading{readingAt(0, 10), readingAt(15, 1), readingAt(30, 4)}, want{cpu: .2, time: 30, window: 15 * time.Second}},
		"a restart that outran the old":  {[]usageReading{readingAt(0, 10), withStartAt(readingAt(15, 13), 1)}, want{reason: metric.ReasonWarmingUp}},
		"a gap":                          {[]usageReading{readingAt(0, 10), readingAt(61, 13)}, want{reason: metric.ReasonWarmingUp}},
		"one missed page":                {[]usageReading{readingAt(0, 10), readingAt(30, 13)}, want{cpu: .1, time: 30, window: 30 * time.Second}},
		"a clock that was put back":      {[]usageReading{readingAt(100, 10), readingAt(50, 13)}, want{reason: metric.ReasonWarmingUp}},
		"no CPU":                         {[]usageReading{readingAt(0, 10), {memory: 1, memoryTime: epoch}}, want{reason: metric.ReasonAbsent}},
		"no memory":                      {[]usageReading{readingAt(0, 10), {cpu: 13, cpuTime: epoch.Add(15 * time.Second)}}, want{reason: metric.ReasonAbsent}},
		"nothing":                        {[]usageReading{{}}, want{reason: metric.ReasonAbsent}},
		"memory measured before the CPU": {[]usageReading{readingAt(0, 10), withMemoryAt(readingAt(15, 13), 9)}, want{cpu: .2, time: 9, window: 15 * time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var h usageHistory
			for _, r := range tc.pages {
				h = h.addContainerReading(r, testLimits)
			}
			u, s, reason := h.computeContainerUsage(testLimits)
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

// Frequent measurements and frequent reads must not make the history grow.
func TestHistoryIsBounded(t *testing.T) {
	t.Parallel()
	var h usageHistory
	for i := range 10_000 {
		h = h.addContainerReading(readingAt(float64(i), float64(i)), testLimits)
	}
	if len(h.cpuSamples) > 12 {
		t.Errorf("%d samples are kept, of which the newest 10 s are needed", len(h.cpuSamples))
	}
}

func TestPodNeedsAllContainers(t *testing.T) {
	t.Parallel()
	old := usageHistory{}.addContainerReading(readingAt(0, 10), testLimits).addContainerReading(readingAt(15, 13), testLimits)
	older := usageHistory{}.addContainerReading(readingAt(-10, 10), testLimits).addContainerReading(readingAt(12, 12.2), testLimits)
	young := usageHistory{}.addContainerReading(readingAt(15, 1), testLimits)
	silent := usageHistory{}.addContainerReading(usageReading{started: epoch}, testLimits)
	pod := metric.Object{Namespace: "a", Name: "p"}
	of := func(containers map[string]usageHistory) map[containerID]usageHistory {
		out := map[containerID]usageHistory{}
		for name, h := range containers {
			out[containerID{pod, name}] = h
		}
		return out
	}
	for name, tc := range map[string]struct {
		containers map[string]usageHistory
		reason     metric.Reason
	}{
		"all":          {map[string]usageHistory{"a": old, "b": older}, ""},
		"one is young": {map[string]usageHistory{"a": old, "b": young}, metric.ReasonWarmingUp},
		"one has none": {map[string]usageHistory{"a": old, "b": silent}, metric.ReasonAbsent},
		"both":         {map[string]usageHistory{"a": young, "b": silent, "c": old}, metric.ReasonWarmingUp},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := newPodPageUsages("node", of(tc.containers), testLimits)[pod]
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
