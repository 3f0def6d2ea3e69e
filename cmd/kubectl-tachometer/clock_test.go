package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/plugin/explain"
)

// TestAnswerClock: ages are by the clock of the server that dates the values, without a record too.
func TestAnswerClock(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		ahead time.Duration
		told  string // by explain
	}{
		"this clock is behind":   {2 * time.Hour, " behind the metrics API's: times and ages are by the metrics API's"},
		"this clock is ahead":    {-2 * time.Hour, " ahead of the metrics API's: times and ages are by the metrics API's"},
		"the clocks are similar": {0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shop := newShop(t)
			shop.ahead = tc.ahead
			_, table, _ := shop.run("top", "-n", "shop")
			_, row, _ := strings.Cut(table, "\n")
			cells := strings.Fields(row)
			age, err := time.ParseDuration(cells[len(cells)-2])
			if err != nil || age < 0 || age > time.Hour {
				t.Errorf("age of a fresh value: %v, in %q", err, row)
			}
			var e explain.Explanation
			_, text, errs := shop.run("explain", "hpa/web", "-n", "shop", "-o", "json")
			if err := json.Unmarshal([]byte(text), &e); err != nil {
				t.Fatalf("%v: %s", err, errs)
			}
			if off := time.Until(e.Time.Add(-tc.ahead)).Abs(); off > time.Hour {
				t.Errorf("explained at %s, %s off the server's clock", e.Time, off)
			}
			if told := strings.Join(e.Unknown, "\n"); strings.Contains(told, "clock is") != (tc.told != "") || !strings.Contains(told, tc.told) {
				t.Errorf("told %q, want %q", told, tc.told)
			}
		})
	}
}
