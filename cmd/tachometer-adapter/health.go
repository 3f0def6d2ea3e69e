// The checks of /livez and /readyz, and the warm-up of a new replica.

package main

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/apiserver"
)

// buildAdapterProgramHealth returns the checks of the health endpoints. No check depends on a backend or a target being up: a replica that
// responds with the reason is better than no replica.
func (a *adapter) buildAdapterProgramHealth() apiserver.Health {
	live, ready := a.usage.adapterProgramResourceChecks()
	return apiserver.Health{
		Live: append(live, apiserver.Check{Name: "scrape-loop", Test: func() error { return a.scraper.CheckLive(time.Now()) }}),
		Ready: append(ready,
			apiserver.Check{Name: "informers", Test: a.discovery.SyncError},
			apiserver.Check{Name: "first-values", Test: func() error { return a.warmup.checkAdapterProgramWarm(time.Now()) }},
			apiserver.Check{Name: "resource-mapping", Test: a.mapper.Loaded},
			apiserver.Check{Name: "certificate", Test: a.checkAdapterProgramCertificate}),
		Notes: func() []string {
			return slices.Concat(a.reloader.describeAdapterProgramReloads(), a.backends.describeAdapterProgramBackends(), a.rules.describeAdapterProgramCatalog(), a.describeAdapterProgramCertificate())
		},
	}
}

// warmupCheck reports when a replica has its first values. A rate needs several samples, so a few scrapes must follow the first round.
// At every rolling update, a replica that is ready too early would take half of the requests from a replica with values.
type warmupCheck struct {
	synced         func() bool   // reports whether the targets are known; before that, an empty list means nothing
	firstRoundDone func() bool   // reports whether every target was tried once
	targets        func() int    // returns their number; without targets there is nothing to wait for
	interval       time.Duration // between two scrapes of a target

	mu    sync.Mutex
	since time.Time // when the first round was first seen done; zero: not yet
	done  bool      // once warm, always warm: later, responses carry the state of targets
}

// warmupIntervals is the number of scrape intervals after the first round: a rate needs one more scrape of each target, one scrape
// may fail, and another may be late.
const warmupIntervals = 3

func (w *warmupCheck) checkAdapterProgramWarm(now time.Time) error {
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
		return fmt.Errorf("first values in %s", left.Round(100*time.Millisecond))
	}
	w.done = true
	return nil
}

func (a *adapter) checkAdapterProgramCertificate() error {
	if a.keeper != nil {
		if err := a.keeper.Trusted(); err != nil {
			return err
		}
	}
	return a.expiry.Valid(time.Now())
}

func (a *adapter) describeAdapterProgramCertificate() []string {
	if a.keeper == nil {
		return nil
	}
	return a.keeper.DescribeFailure()
}
