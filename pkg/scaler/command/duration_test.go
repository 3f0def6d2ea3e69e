package command

import (
	"math"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
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

// TestForForms: each form of a duration ends the hold after it, and an invalid duration writes nothing.
func TestForForms(t *testing.T) {
	t.Parallel()
	for span, want := range map[string]time.Duration{
		"90s": 90 * time.Second, "90m": 90 * time.Minute, "1.5h": 90 * time.Minute, "1d": 24 * time.Hour, "1d2h": 26 * time.Hour, "1w": 7 * 24 * time.Hour, "1d2h30m": 26*time.Hour + 30*time.Minute,
	} {
		a := newFakeAPI(t)
		out, errs, code := a.run(t, "set", "deploy/shop", "--replicas", "9", "--for", span, "--dry-run", "-o", "yaml")
		var object hold.Object
		if err := yaml.Unmarshal([]byte(out), &object); code != ExitDone || err != nil || object.Spec.Until == nil {
			t.Errorf("--for %s: exit code %d, %v: %s%s", span, code, err, out, errs)
			continue
		}
		if left := time.Until(object.Spec.Until.Time); left > want+time.Second || left < want-time.Minute {
			t.Errorf("--for %s: the hold ends in %s", span, left)
		}
	}
	for _, span := range []string{"1e3s", "1e3", "1h 30m", "90", "1M", "1y2", "h", "-1d", "2h1d"} {
		a := newFakeAPI(t)
		if _, errs, code := a.run(t, "set", "deploy/shop", "--replicas", "9", "--for", span); code == ExitDone || errs == "" || len(a.wrote()) > 0 {
			t.Errorf("--for %s: exit code %d: %s", span, code, errs)
		}
	}
}

// TestWithinZero: pods get no time of 0 to become ready. The error says what is allowed, and nothing is written.
func TestWithinZero(t *testing.T) {
	t.Parallel()
	for within, want := range map[string]string{"0": "--within must be positive", "0s": "--within must be positive", "-5m": "--within must be positive", "25h": "within must be from 0 to 24h0m0s, not 25h0m0s"} {
		a := newFakeAPI(t)
		if _, errs, code := a.run(t, "set", "deploy/shop", "--replicas", "9", "--within", within); code != ExitUsage || !strings.Contains(errs, want) || len(a.wrote()) > 0 {
			t.Errorf("--within %s: exit code %d: %s; wrote %q", within, code, errs, a.wrote())
		}
	}
}
