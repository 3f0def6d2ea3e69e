package truth

import (
	"flag"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

var (
	scenarioCount = flag.Int("truth.scenarios", 300, "generated scenarios to play")
	shownFailures = flag.Int64("truth.failures", 3, "generated scenarios to shrink and show; with more failures only their number shows")
	tableFile     = flag.String("truth.table", "", "file for the table of promises, in Markdown")
	scenarioSeed  = flag.Uint64("truth.seed", 1, "seed of the first generated scenario; the next have the next numbers")
)

// playScenario runs a scenario in a bubble of its own.
func playScenario(t *testing.T, s Scenario, seed uint64) (r Report) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { r = Run(t.Context(), s, seed) })
	return r
}

// TestNamed plays the scenarios of testdata, one for each finding.
func TestNamed(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.scenario")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s, err := Parse(filepath.Base(file), string(text))
			if err != nil {
				t.Fatal(err)
			}
			for seed := range uint64(3) {
				if r := playScenario(t, s, seed); r.Failed() {
					t.Fatalf("seed %d: %s", seed, r)
				}
			}
		})
	}
}

// TestGenerated plays generated scenarios, and shrinks the first that fail.
func TestGenerated(t *testing.T) {
	t.Parallel()
	promises := NewPromises()
	var next, failed atomic.Int64
	t.Cleanup(func() {
		var b strings.Builder
		promises.WriteTable(&b, *scenarioCount, *scenarioSeed)
		t.Log("\n" + b.String())
		if *tableFile == "" {
			return
		}
		if err := os.WriteFile(*tableFile, []byte(b.String()), 0o644); err != nil {
			t.Error(err)
		}
	})
	for range 2 * runtime.GOMAXPROCS(0) {
		t.Run("worker", func(t *testing.T) {
			t.Parallel()
			for i := next.Add(1); i <= int64(*scenarioCount); i = next.Add(1) {
				seed := *scenarioSeed + uint64(i) - 1
				s := Generate(seed)
				r := playScenario(t, s, seed)
				promises.AddAll(r.Promises)
				if r.Failed() && failed.Add(1) <= *shownFailures {
					s = Shrink(s, func(s Scenario) bool {
						again := playScenario(t, s, seed)
						return again.Fault == nil && again.Failed() && again.describeFirst() == r.describeFirst()
					}, 100)
					t.Errorf("seed %d: %s\nshrunk:\n%s\n%s", seed, r, s, playScenario(t, s, seed))
				}
			}
			if n := failed.Load(); n > *shownFailures {
				t.Errorf("%d scenarios fail", n)
			}
		})
	}
}

// TestParse prints what it parsed, and refuses what it does not know.
func TestParse(t *testing.T) {
	t.Parallel()
	const text = "# A step\nservice web pods 4 grace 2s\nrule x window 10s: sum(rate(x_total[$window]))\nat 1m0s rate web x_total 400 over 20s\n"
	s, err := Parse("step", text)
	if err != nil || s.String() != text {
		t.Errorf("printed\n%s\n%v", s, err)
	}
	for _, bad := range []string{"srvice web", "at x scale web 3", "service web pod 4", "scale web", "read r pods web x every"} {
		if _, err := Parse("bad", bad); err == nil {
			t.Errorf("%q was parsed", bad)
		}
	}
}

// TestDeterministic plays a scenario twice.
func TestDeterministic(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		s := Generate(seed)
		if again := Generate(seed); s.String() != again.String() {
			t.Fatalf("seed %d generates two scenarios", seed)
		}
		a, b := playScenario(t, s, seed), playScenario(t, s, seed)
		if a.Right != b.Right || a.Refused != b.Refused || a.Wrong != b.Wrong {
			t.Errorf("seed %d: %s, then %s\n%s", seed, a, b, s)
		}
	}
}
