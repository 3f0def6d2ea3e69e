// The warm-up of a new replica, in the background of its probes.

package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	podDiscovery "github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/retry"
)

// warmupCheck finds out when a replica has the values that autoscalers read. At every rolling update, a replica that is ready too early
// would take half of the requests from a replica with values.
//
// Run evaluates, and probes read its result: the demands of a thousand autoscalers take longer than a probe waits.
type warmupCheck struct {
	synced         func() bool                  // reports whether the targets are known; before, an empty list is not a fact
	firstRoundDone func() bool                  // reports whether every target was tried once
	targets        func() int                   // returns their number; without targets there is nothing to wait for
	demands        func() []podDiscovery.Demand // returns a new slice after each change; autoscalers' are standing
	// checkDemand returns the reason why a demand has no value, if the next scrapes may bring it.
	checkDemand func(context.Context, podDiscovery.Demand) error
	interval    time.Duration // between two scrapes of a target

	// Run alone uses these.
	since time.Time // when the first round was first seen done; zero: not yet
	// seen are the demands of the last check, warm how many of its first ones have values: each is checked until it has
	// one, so that a thousand autoscalers cost a thousand evaluations and one more for each check.
	seen []podDiscovery.Demand
	warm int

	mu   sync.Mutex // guards the rest
	cold error      // why the replica is not warm; nil: not checked yet, or warm
	done bool       // once warm, always warm: later, responses carry the state of targets
}

const (
	// warmupIntervals bounds the wait after the first round, in scrape intervals: a rate needs one more scrape of each target, one scrape may
	// fail, and another may be late. A service without traffic may have no value for much longer.
	warmupIntervals = 3
	// warmupPause is short beside the period of a probe.
	warmupPause = 200 * time.Millisecond
	// warmupCheckTimeout bounds the check of a demand, which may look up the pods of an object.
	warmupCheckTimeout = time.Second
)

// checkWarmupOver returns the result of the last check, at once.
func (w *warmupCheck) checkWarmupOver() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.done && w.cold == nil {
		return errors.New("values have not been checked yet")
	}
	return w.cold
}

// Run checks until the replica is warm, and returns when ctx ends.
func (w *warmupCheck) Run(ctx context.Context) error {
	for !w.advanceWarmup(ctx, time.Now()) && retry.Sleep(ctx, warmupPause) {
	}
	<-ctx.Done()
	return nil
}

// advanceWarmup checks once, and reports whether the replica is warm.
func (w *warmupCheck) advanceWarmup(ctx context.Context, now time.Time) bool {
	cold := w.findWarmupObstacle(ctx, now)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cold, w.done = cold, cold == nil
	return w.done
}

func (w *warmupCheck) findWarmupObstacle(ctx context.Context, now time.Time) error {
	switch {
	case !w.synced():
		return errors.New("targets are not known yet")
	case !w.firstRoundDone():
		return errors.New("some targets have not been tried yet")
	case w.since.IsZero():
		w.since = now
	}
	left := warmupIntervals*w.interval - now.Sub(w.since)
	if left <= 0 || w.targets() == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	if d, err := w.findColdDemand(ctx); err != nil {
		return fmt.Errorf("waits at most %s more for metric %s in namespace %s: %w", left.Round(100*time.Millisecond), d.Metric, d.Namespace, err)
	}
	return nil
}

// findColdDemand returns the first demand of an autoscaler without a value, and the reason; ctx bounds all checks.
func (w *warmupCheck) findColdDemand(ctx context.Context) (podDiscovery.Demand, error) {
	demands := w.demands()
	if len(demands) != len(w.seen) || len(demands) > 0 && &demands[0] != &w.seen[0] {
		w.seen, w.warm = demands, 0
	}
	for ; w.warm < len(demands); w.warm++ {
		d := demands[w.warm]
		if !d.Standing {
			continue
		}
		if err := errors.Join(ctx.Err(), w.checkDemand(ctx, d)); err != nil {
			return d, err
		}
	}
	return podDiscovery.Demand{}, nil
}

func (a *adapter) checkDemandIsWarm(ctx context.Context, d podDiscovery.Demand) error {
	ctx, cancel := context.WithTimeout(ctx, warmupCheckTimeout)
	defer cancel()
	return a.provider.CheckWarm(ctx, d)
}
