package command

import (
	"math"
	"strings"
	"testing"
	"time"
)

// TestEndOfSpan: an end is in whole seconds, as a Hold has it, and not earlier than its duration.
func TestEndOfSpan(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 11, 27, 8, 0, 0, 0, time.UTC)
	for _, now := range []time.Time{start, start.Add(1), start.Add(499 * time.Millisecond), start.Add(999 * time.Millisecond)} {
		for _, span := range []time.Duration{time.Second, 1500 * time.Millisecond, time.Hour, math.MaxInt64} {
			end, err := endOfHoldSpan(now, span)
			if late := end.Sub(now.Add(span)); err != nil || end.Nanosecond() != 0 || late < 0 || late >= time.Second {
				t.Errorf("%s from %s: %s, %v", span, now, end, err)
			}
		}
	}
}

// TestShortFor: a hold or a pause of less than a second is a mistake, and writes nothing.
func TestShortFor(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"set deploy/shop --replicas 3", "pause deploy/shop"} {
		for _, span := range []string{"1ns", "100ms", "999ms", "-1s"} {
			a := newFakeAPI(t)
			addHeldShop(a)
			if _, errs, code := a.run(t, append(strings.Fields(args), "--for", span)...); code != ExitUsage || !strings.Contains(errs, "at least 1s") || len(a.wrote()) > 0 {
				t.Errorf("%s --for %s: exit code %d: %s; wrote %q", args, span, code, errs, a.wrote())
			}
		}
	}
}
