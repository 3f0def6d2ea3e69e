package main

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	podDiscovery "github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/retry"
)

// TestWarmup steps a new replica through its first seconds: it is ready once each autoscaler's demand has a value, and after three
// intervals at the latest.
func TestWarmup(t *testing.T) {
	t.Parallel()
	type step struct {
		after   time.Duration
		unknown bool // the targets
		round   bool // done
		targets int
		cold    bool // the demand of the autoscaler has no value
		ready   bool
	}
	for name, steps := range map[string][]step{
		"values after the second scrape":     {{targets: 5, cold: true}, {after: time.Second, round: true, targets: 5, cold: true}, {after: 3 * time.Second, round: true, targets: 5, ready: true}},
		"values before the first probe":      {{round: true, targets: 5, ready: true}},
		"values before the round is done":    {{targets: 5}, {after: time.Second, round: true, targets: 5, ready: true}},
		"no values for three intervals":      {{after: time.Second, round: true, targets: 5, cold: true}, {after: 6 * time.Second, round: true, targets: 5, cold: true}, {after: 7 * time.Second, round: true, targets: 5, cold: true, ready: true}},
		"cold again later":                   {{round: true, targets: 5, ready: true}, {after: time.Second, round: true, targets: 5, cold: true, ready: true}},
		"no targets":                         {{cold: true}, {after: time.Second, round: true, cold: true, ready: true}},
		"asked before the targets are known": {{unknown: true, round: true, cold: true}, {after: time.Second, round: true, targets: 5, cold: true}, {after: 7 * time.Second, round: true, targets: 5, cold: true, ready: true}},
		"targets that come later":            {{round: true, ready: true}, {after: time.Second, round: true, targets: 5, cold: true, ready: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var now step
			done := false
			demands := []podDiscovery.Demand{{Metric: "of a reader"}, {Metric: "of an autoscaler", Standing: true}}
			w := &warmupCheck{
				interval: 2 * time.Second, synced: func() bool { return !now.unknown },
				firstRoundDone: func() bool { return now.round }, targets: func() int { return now.targets },
				demands: func() []podDiscovery.Demand { return demands },
				checkDemand: func(_ context.Context, d podDiscovery.Demand) error {
					if now.cold || !d.Standing {
						return errors.New("no value")
					}
					return nil
				},
			}
			for _, now = range steps {
				if !done { // Run advances no more
					done = w.advanceWarmup(t.Context(), time.Unix(1000, 0).Add(now.after))
				}
				if err := w.checkWarmupOver(); (err == nil) != now.ready {
					t.Errorf("after %v: %v", now.after, err)
				}
			}
		})
	}
}

// TestWarmupChecksEachDemandOnce probes a replica while its demands get their values one after the other. Between two changes of the demands
// each is evaluated until it has a value, and not again.
func TestWarmupChecksEachDemandOnce(t *testing.T) {
	t.Parallel()
	const count = 100
	demands := make([]podDiscovery.Demand, count)
	for i := range demands {
		demands[i] = podDiscovery.Demand{Metric: fmt.Sprintf("m%d", i), Standing: true}
	}
	evaluations, warm := 0, 0
	w := &warmupCheck{
		interval: time.Hour, synced: func() bool { return true }, firstRoundDone: func() bool { return true }, targets: func() int { return 1 },
		demands: func() []podDiscovery.Demand { return demands },
		checkDemand: func(_ context.Context, d podDiscovery.Demand) error {
			evaluations++
			for _, known := range demands[:warm] {
				if known.Metric == d.Metric {
					return nil
				}
			}
			return errors.New("no value")
		},
	}
	probes := 0
	probe := func(ready bool) {
		t.Helper()
		probes++
		if w.advanceWarmup(t.Context(), time.Unix(1000, 0)) != ready {
			t.Errorf("%d of %d demands with a value: %v", warm, len(demands), w.checkWarmupOver())
		}
	}
	for warm = 0; warm < count; warm += 10 {
		probe(false)
	}
	demands = append([]podDiscovery.Demand(nil), demands...) // a change: a new demand may be anywhere
	evaluations, probes = 0, 0
	for warm = 0; warm < count; warm += 10 {
		probe(false)
	}
	probe(true)
	if most := count + probes; evaluations > most {
		t.Errorf("%d evaluations, want at most %d: one for each demand and each probe", evaluations, most)
	}
}

// TestProbesDoNotWaitForTheWarmup probes a replica whose demands are slow to check: a thousand lookups of a second each.
func TestProbesDoNotWaitForTheWarmup(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		demands := make([]podDiscovery.Demand, 1000)
		for i := range demands {
			demands[i] = podDiscovery.Demand{Metric: fmt.Sprintf("m%d", i), Standing: true}
		}
		w := &warmupCheck{
			interval: 2 * time.Second, synced: func() bool { return true }, firstRoundDone: func() bool { return true }, targets: func() int { return 1 },
			demands:     func() []podDiscovery.Demand { return demands },
			checkDemand: func(ctx context.Context, _ podDiscovery.Demand) error { retry.Sleep(ctx, time.Second); return nil },
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.Run(ctx) }()
		began := time.Now()
		for ; ; retry.Sleep(ctx, 100*time.Millisecond) {
			probed := time.Now()
			err := w.checkWarmupOver()
			if took := time.Since(probed); took > 0 {
				t.Fatalf("a probe waited for %s", took)
			}
			if err == nil {
				break
			}
		}
		if took := time.Since(began); took < 6*time.Second || took > 7*time.Second {
			t.Errorf("the replica is ready after %s, want the bound of the warm-up: 6s", took)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
