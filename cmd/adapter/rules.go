package main

import (
	"sync/atomic"

	"tachometer/pkg/config"
	"tachometer/pkg/rule"
)

// liveRules are the rules in force. They are safe for concurrent use.
type liveRules struct{ current atomic.Pointer[rule.Set] }

func (l *liveRules) get() *rule.Set    { return l.current.Load() }
func (l *liveRules) set(set *rule.Set) { l.current.Store(set) }

// demandRules tell discovery what the embedded backend must scrape for a metric.
type demandRules struct{ set *rule.Set }

// Families are those that the metric's rule reads; none where no rule serves it, or another backend does.
func (d demandRules) Families(resource, metric string, external bool) []string {
	lookup := func() (*rule.Rule, error) { return d.set.Lookup(resource, metric) }
	if external {
		lookup = func() (*rule.Rule, error) { return d.set.External(metric) }
	}
	r, err := lookup()
	if err != nil || r.Backend != config.ScrapeBackend {
		return nil
	}
	return r.Families()
}

// Namespaced is false where the external metric's rule reads all namespaces.
func (d demandRules) Namespaced(metric string) bool {
	r, err := d.set.External(metric)
	return err != nil || r.Namespaced
}
