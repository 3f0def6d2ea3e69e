package truth

import (
	"flag"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

var (
	scenarioCount = flag.Int("truth.scenarios", 200, "generated scenarios to play")
	shownFailures = flag.Int64("truth.failures", 3, "failing scenarios to show whole and to shrink; of more one line shows")
	tableFile     = flag.String("truth.table", "", "file for the table of promises, in Markdown")
	scenarioSeed  = flag.Uint64("truth.seed", 1, "seed of the first generated scenario; from 10,000,000 on wide ones, from 20,000,000 on at intervals up to 30 s")
)

// playScenario runs a scenario in a bubble of its own.
func playScenario(t *testing.T, s Scenario, seed uint64) (r Report) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { r = Run(t.Context(), s, seed) })
	return r
}

// readScenarios parses the scenarios of testdata whose names match a pattern.
func readScenarios(t *testing.T, pattern string) []Scenario {
	t.Helper()
	files, err := filepath.Glob("testdata/" + pattern + ".scenario")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenario %s: %v", pattern, err)
	}
	var out []Scenario
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s, err := Parse(strings.TrimSuffix(filepath.Base(file), ".scenario"), string(text))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	return out
}

// TestNamed plays the scenarios of testdata, at least one for each finding.
func TestNamed(t *testing.T) {
	t.Parallel()
	for _, s := range readScenarios(t, "*") {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(3) {
				if r := playScenario(t, s, seed); r.Failed() {
					t.Fatalf("%s, seed %d: %s", s.Name, seed, r)
				}
			}
		})
	}
}

// generatedRun plays many scenarios and adds up what they measured.
type generatedRun struct {
	step     Scenario   // one in 20 is this
	promises []Scenario // one in 40 is one of these
	table    *Promises
	next     atomic.Int64
	failed   atomic.Int64
}

// chooseScenario returns the scenario of a number.
func (g *generatedRun) chooseScenario(i int64, seed uint64) (s Scenario, generated bool) {
	switch {
	case i%20 == 10:
		return g.step, false
	case i%40 == 0:
		return g.promises[int(i/40)%len(g.promises)], false
	default:
		return Generate(seed), true
	}
}

// playNext plays the scenarios that are left, and shrinks the first that fail.
func (g *generatedRun) playNext(t *testing.T) {
	for i := g.next.Add(1); i <= int64(*scenarioCount); i = g.next.Add(1) {
		seed := *scenarioSeed + uint64(i) - 1
		s, generated := g.chooseScenario(i, seed)
		r := playScenario(t, s, seed)
		g.table.AddAll(r.Promises)
		if !r.Failed() {
			continue
		}
		if g.failed.Add(1) > *shownFailures {
			t.Errorf("%s, seed %d: %s", s.Name, seed, r.describeFirst())
			continue
		}
		t.Errorf("%s, seed %d: %s\n%s", s.Name, seed, r, s)
		if generated {
			s = Shrink(s, func(s Scenario) bool {
				again := playScenario(t, s, seed)
				return again.Fault == nil && again.Failed() && again.describeFirst() == r.describeFirst()
			}, shrinkTrials)
			t.Logf("shrunk:\n%s\n%s", s, playScenario(t, s, seed))
		}
	}
}

// shrinkTrials bounds the plays to shrink a scenario: some seconds.
const shrinkTrials = 80

// TestGenerated plays generated scenarios, and those that measure a promise, and writes the table.
func TestGenerated(t *testing.T) {
	t.Parallel()
	g := &generatedRun{table: NewPromises(), step: readScenarios(t, "step")[0], promises: readScenarios(t, "conserved-*")}
	g.promises = append(g.promises, readScenarios(t, "c04-*")...)
	t.Cleanup(func() {
		var b strings.Builder
		g.table.WriteTable(&b, *scenarioCount, *scenarioSeed)
		t.Log("\n" + b.String())
		if *tableFile == "" {
			return
		}
		if err := os.WriteFile(*tableFile, []byte(b.String()), 0o600); err != nil {
			t.Error(err)
		}
	})
	for range runtime.GOMAXPROCS(0) {
		t.Run("worker", func(t *testing.T) {
			t.Parallel()
			g.playNext(t)
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

// TestPromQLRate compares with numbers that PromQL's documentation explains.
func TestPromQLRate(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		times  []int64
		values []float64
		want   float64
	}{
		"one sample":                     {[]int64{9000}, []float64{7}, 0},
		"two increments stand for three": {[]int64{4000, 9000, 14000}, []float64{100, 130, 160}, 6},
		"one increment stands for three": {[]int64{5000, 10000}, []float64{100, 150}, 10},
		"a sample is missing":            {[]int64{1000, 5000}, []float64{100, 140}, 4.666667},
		"not to before zero":             {[]int64{5000, 10000, 15000}, []float64{10, 60, 110}, 7.333333},
	} {
		if got := promQLRate(c.times, c.values, 0, 15000); math.Abs(got-c.want) > 1e-6 {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
