package main

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/apiserver"
)

// buildHealth is what the health endpoints tell. No check depends on a backend or a target being up: a replica that
// answers with the reason is better than none.
func (a *adapter) buildHealth() apiserver.Health {
	live, ready := a.usage.healthChecks()
	return apiserver.Health{
		Live: append(live, apiserver.Check{Name: "scrape-loop", Test: func() error { return a.scraper.CheckLive(time.Now()) }}),
		Ready: append(ready,
			apiserver.Check{Name: "informers", Test: a.discovery.SyncError},
			apiserver.Check{Name: "first-values", Test: func() error { return a.warmup.checkWarm(time.Now()) }},
			apiserver.Check{Name: "resource-mapping", Test: a.mapper.Loaded},
			apiserver.Check{Name: "certificate", Test: a.checkCertificate}),
		Notes: func() []string {
			return slices.Concat(a.reloader.describeReloads(), a.backends.describeServers(), a.rules.describeCatalog())
		},
	}
}

// warmupCheck tells when a replica has something to answer: a rate needs samples, so that after the first round of scrapes
// a few more must follow. A replica that called itself ready before would take half of the reads from one that
// can answer them, at every rolling update.
type warmupCheck struct {
	synced         func() bool   // reports whether the targets are known: before that, that there are none says nothing
	firstRoundDone func() bool   // reports whether every target was tried once
	targets        func() int    // counts them: where there are none, there is nothing to wait for
	interval       time.Duration // between two scrapes of a target

	mu    sync.Mutex
	since time.Time // when the first round was first seen done; zero: not yet
	done  bool      // once warm, always warm: what happens to targets later is told by answers
}

// warmupIntervals is how many scrape intervals pass after the first round: a rate needs one more scrape of each target, a
// scrape may fail, and another be late.
const warmupIntervals = 3

func (w *warmupCheck) checkWarm(now time.Time) error {
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

func (a *adapter) checkCertificate() error {
	if a.keeper != nil {
		if err := a.keeper.Trusted(); err != nil {
			return err
		}
	}
	return a.expiry.Valid(time.Now())
}
