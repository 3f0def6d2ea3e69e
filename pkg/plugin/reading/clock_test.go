package reading

import (
	"testing"
	"time"
)

// TestMeasureAnswerAhead: neither a read that takes long nor the Date's whole seconds are a difference of clocks.
func TestMeasureAnswerAhead(t *testing.T) {
	t.Parallel()
	begun := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	const took = 20 * time.Second
	for name, tc := range map[string]struct {
		served time.Time
		want   time.Duration
	}{
		"no Date":            {time.Time{}, 0},
		"at the begin":       {begun, 0},
		"within a long read": {begun.Add(10 * time.Second), 0},
		"a cut second":       {begun.Add(-time.Second), 0},
		"a clock ahead":      {begun.Add(took + time.Minute), time.Minute},
		"a clock behind":     {begun.Add(-time.Minute), -time.Minute},
	} {
		if got := measureAnswerAhead(tc.served, begun, begun.Add(took)); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
}
