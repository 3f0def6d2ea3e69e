package e2e

import (
	"testing"
	"time"
)

// TestTruthTellsRightFromWrong tests the checks themselves: 30 requests/s for a minute, then 60.
func TestTruthTellsRightFromWrong(t *testing.T) {
	t.Parallel()
	start := time.Now()
	var tr truth
	for i := range 1800 { // 90 s in steps of 50 ms
		at := time.Duration(i) * truthPeriod
		total := 30 * at.Seconds()
		if at > time.Minute {
			total += 30 * (at - time.Minute).Seconds()
		}
		tr.add("pod", sent{start.Add(at), int(total), int(total)})
	}
	steady, stepped := start.Add(55*time.Second), start.Add(70*time.Second)
	for name, tc := range map[string]struct {
		now    time.Time
		window time.Duration
		value  float64
		right  bool
	}{
		"the steady rate":                    {steady, 20 * time.Second, 30, true},
		"a little off":                       {steady, 20 * time.Second, 31, true},
		"a tenth too low":                    {steady, 20 * time.Second, 26.9, false},
		"a tenth too high":                   {steady, 20 * time.Second, 33.1, false},
		"zero":                               {steady, 20 * time.Second, 0, false},
		"half the window after a step":       {stepped, 20 * time.Second, 45, true},
		"the new rate over the whole window": {stepped, 20 * time.Second, 60, false},
		"the old rate after a step":          {stepped, 20 * time.Second, 30, false},
		"the new rate in a short window":     {stepped, 8 * time.Second, 60, true},
	} {
		err := tr.checkList(tc.now, map[string]served{"pod": {value: tc.value, window: tc.window}}, true, tolerance)
		if (err == nil) != tc.right {
			t.Errorf("%s: %v", name, err)
		}
	}
}
