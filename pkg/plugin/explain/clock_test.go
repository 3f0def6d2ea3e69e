package explain

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
)

// TestAdapterClock: ages are by the adapter's clock, which dates the values, and a difference is told.
func TestAdapterClock(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		ahead time.Duration // of the adapter
		moved time.Duration // the time of the explanation
		told  string
	}{
		"a clock behind":   {10 * time.Minute, 10 * time.Minute, "this machine's clock is 10m0s behind the adapter's: times and ages are by the adapter's"},
		"a clock ahead":    {-time.Hour, -time.Hour, "this machine's clock is 1h0m0s ahead of the adapter's: times and ages are by the adapter's"},
		"a read that took": {-4 * time.Second, 0, ""},
	} {
		recorded := &explainapi.Explanation{Source: explainapi.Source{Time: explainTime.Add(tc.ahead)}}
		e := load{rates: []string{"50"}, recorded: Recorded{Explanation: recorded}}.explain(t)
		if want := explainTime.Add(tc.moved); !e.Time.Equal(want) {
			t.Errorf("%s: explained at %s, want %s", name, e.Time, want)
		}
		isTold := func(line string) bool { return strings.Contains(line, "clock") && line != tc.told }
		if slices.ContainsFunc(e.Unknown, isTold) || tc.told != "" && !slices.Contains(e.Unknown, tc.told) {
			t.Errorf("%s: told %q, want %q", name, e.Unknown, tc.told)
		}
	}
}
