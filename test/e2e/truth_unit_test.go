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

// TestTruthOfALatePod: a young pod whose newest sample is 8 s old has the rate of the list's window if another pod was scraped since,
// and else the rate up to its own sample.
func TestTruthOfALatePod(t *testing.T) {
	t.Parallel()
	start := time.Now()
	var tr truth
	for i := range 1800 { // 90 s in steps of 50 ms
		at := time.Duration(i) * truthPeriod
		young := max(0, at-60*time.Second) // it begins after a minute
		tr.add("old", sent{start.Add(at), int(46 * at.Seconds()), int(46 * at.Seconds())})
		tr.add("young", sent{start.Add(at), int(46 * young.Seconds()), int(46 * young.Seconds())})
	}
	now := start.Add(80 * time.Second)
	for name, tc := range map[string]struct {
		value float64
		fresh time.Duration // the age of the old pod's sample
		right bool
	}{
		"goes on until the newest sample":   {46, time.Second, true},
		"too high":                          {51, time.Second, false},
		"too low":                           {20, time.Second, false},
		"goes on though all pods are late":  {46, 8 * time.Second, false},
		"the rate up to its own old sample": {27, 8 * time.Second, true},
	} {
		err := tr.checkList(now, map[string]served{
			"old":   {value: 46, window: 20 * time.Second, stamp: now.Add(-tc.fresh)},
			"young": {value: tc.value, window: 20 * time.Second, stamp: now.Add(-8 * time.Second)},
		}, false, tolerance)
		if (err == nil) != tc.right {
			t.Errorf("%s: %v", name, err)
		}
	}
}
