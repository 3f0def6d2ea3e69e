package main

import (
	"errors"
	"time"

	"tachometer/pkg/apiserver"
)

// health is what the health endpoints tell. No check depends on a backend or a target being up: a replica that
// answers with the reason is better than none.
func (a *adapter) health() apiserver.Health {
	return apiserver.Health{
		Live: []apiserver.Check{
			{Name: "scrape-loop", Test: func() error { return a.scraper.Live(time.Now()) }},
		},
		Ready: []apiserver.Check{
			{Name: "informers", Test: a.discovery.SyncError},
			{Name: "first-scrape-round", Test: a.firstRound},
			{Name: "resource-mapping", Test: a.mapper.Loaded},
			{Name: "certificate", Test: a.certificate},
		},
		Notes: a.reloader.notes,
	}
}

func (a *adapter) firstRound() error {
	if !a.scraper.FirstRoundDone() {
		return errors.New("some targets have not been tried yet")
	}
	return nil
}

func (a *adapter) certificate() error {
	if a.keeper != nil {
		if err := a.keeper.Trusted(); err != nil {
			return err
		}
	}
	return a.expiry.Valid(time.Now())
}
