// The checks of /livez and /readyz.

package main

import (
	"slices"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/apiserver"
)

// newHealthChecks returns the checks of the health endpoints. No check depends on a backend or a target being up: a replica that
// responds with the reason is better than no replica.
func (a *adapter) newHealthChecks() apiserver.Health {
	live, ready := a.usage.listResourceChecks()
	return apiserver.Health{
		Live: append(live, apiserver.Check{Name: "scrape-loop", Test: func() error { return a.scraper.CheckLive(time.Now()) }}),
		Ready: append(ready,
			apiserver.Check{Name: "informers", Test: a.discovery.SyncError},
			apiserver.Check{Name: "first-values", Test: a.warmup.checkWarmupOver},
			apiserver.Check{Name: "resource-mapping", Test: a.mapper.Loaded},
			apiserver.Check{Name: "certificate", Test: a.checkServingCertificate}),
		Notes: func() []string {
			return slices.Concat(a.discovery.DescribeFailures(), a.reloader.describeReloads(), a.backends.describeBackends(), a.rules.describeCatalog(), a.describeCertificate())
		},
	}
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
