package e2e

import "testing"

// TestSurgePromises: `make surge` fails if one step in ten is too late, or the pods of most steps are ready too late.
func TestSurgePromises(t *testing.T) {
	t.Parallel()
	steps := func(wanted, ready, last, lastReady float64) (all []surgeTimes) {
		for range 9 {
			all = append(all, surgeTimes{wanted: wanted, ready: ready})
		}
		return append(all, surgeTimes{wanted: last, ready: lastReady})
	}
	for name, tc := range map[string]struct {
		steps []surgeTimes
		keeps bool
	}{
		"all in time":            {steps(3.5, 12.4, 4.9, 30), true},
		"one is wanted too late": {steps(3.5, 12.4, 5.1, 12.4), false},
		"ready too late":         {steps(3.5, 16.1, 3.5, 12), false},
	} {
		if err := judgeSurges(tc.steps); (err == nil) != tc.keeps {
			t.Errorf("%s: %v", name, err)
		}
	}
}
