// The checks of /livez and /readyz, and the warm-up of a new replica.

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/apiserver"
	podDiscovery "github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
)

// newHealthChecks returns the checks of the health endpoints. No check depends on a backend or a target being up: a replica that
// responds with the reason is better than no replica.
func (a *adapter) newHealthChecks() apiserver.Health {
	live, ready := a.usage.listResourceChecks()
	return apiserver.Health{
		Live: append(live, apiserver.Check{Name: "scrape-loop", Test: func() error { return a.scraper.CheckLive(time.Now()) }}),
		Ready: append(ready,
			apiserver.Check{Name: "informers", Test: a.discovery.SyncError},
			apiserver.Check{Name: "first-values", Test: func() error { return a.warmup.checkWarmupOver(time.Now()) }},
			apiserver.Check{Name: "resource-mapping", Test: a.mapper.Loaded},
			apiserver.Check{Name: "certificate", Test: a.checkServingCertificate}),
		Notes: func() []string {
			return slices.Concat(a.reloader.describeReloads(), a.backends.describeBackends(), a.rules.describeCatalog(), a.describeCertificate())
		},
	}
}

// warmupCheck reports when a replica has the values that autoscalers read. At every rolling update, a replica that is ready too early
// would take half of the requests from a replica with values.
type warmupCheck struct {
	synced         func() bool                  // reports whether the targets are known; before, an empty list is not a fact
	firstRoundDone func() bool                  // reports whether every target was tried once
	targets        func() int                   // returns their number; without targets there is nothing to wait for
	demands        func() []podDiscovery.Demand // returns a new slice after each change; autoscalers' are standing
	// checkDemand returns the reason why a demand has no value, if the next scrapes may bring it.
	checkDemand func(podDiscovery.Demand) error
	interval    time.Duration // between two scrapes of a target

	mu    sync.Mutex
	since time.Time // when the first round was first seen done; zero: not yet
	done  bool      // once warm, always warm: later, responses carry the state of targets
	// seen are the demands of the last check, warm how many of its first ones have values: each is checked until it has
	// one, so that a thousand autoscalers cost a thousand evaluations and one more for each probe.
	seen []podDiscovery.Demand
	warm int
}

// warmupIntervals bounds the wait after the first round, in scrape intervals: a rate needs one more scrape of each target, one scrape may
// fail, and another may be late. A service without traffic may have no value for much longer.
const warmupIntervals = 3

func (w *warmupCheck) checkWarmupOver(now time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.done:
		return nil
	case !w.synced():
		return errors.New("targets are not known yet")
	case !w.firstRoundDone():
		return errors.New("some targets have not been tried yet")
	case w.since.IsZero():
		w.since = now
	}
	if left := warmupIntervals*w.interval - now.Sub(w.since); left > 0 && w.targets() > 0 {
		if d, err := w.findColdDemand(); err != nil {
			return fmt.Errorf("waits at most %s more for metric %s in namespace %s: %w", left.Round(100*time.Millisecond), d.Metric, d.Namespace, err)
		}
	}
	w.done, w.seen = true, nil
	return nil
}

// findColdDemand returns the first demand of an autoscaler without a value, and the reason. The caller holds w.mu.
func (w *warmupCheck) findColdDemand() (podDiscovery.Demand, error) {
	demands := w.demands()
	if len(demands) != len(w.seen) || len(demands) > 0 && &demands[0] != &w.seen[0] {
		w.seen, w.warm = demands, 0
	}
	for ; w.warm < len(demands); w.warm++ {
		if d := demands[w.warm]; d.Standing {
			if err := w.checkDemand(d); err != nil {
				return d, err
			}
		}
	}
	return podDiscovery.Demand{}, nil
}

// warmupCheckTimeout bounds the check of a demand, which may look up the pods of an object. Probes wait for two seconds.
const warmupCheckTimeout = time.Second

func (a *adapter) checkDemandIsWarm(d podDiscovery.Demand) error {
	ctx, cancel := context.WithTimeout(context.Background(), warmupCheckTimeout)
	defer cancel()
	return a.provider.CheckWarm(ctx, d)
}

func (a *adapter) checkServingCertificate() error {
	if a.keeper != nil {
		if err := a.keeper.Trusted(); err != nil {
			return err
		}
	}
	return a.expiry.Valid(time.Now())
}

func (a *adapter) describeCertificate() []string {
	if a.keeper == nil {
		return nil
	}
	return a.keeper.DescribeFailure()
}
