package main

import (
	"sync"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/promadapter"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/provider"
)

// liveRules are the rules in force. They are safe for concurrent use.
type liveRules struct {
	mu      sync.RWMutex // guards what follows
	current func() provider.Rules
	catalog *promadapter.Catalog // behind current, where the configuration is prometheus-adapter's; else nil
	stop    func()               // ends the catalog
}

// getRules returns the rules of the moment.
func (l *liveRules) getRules() provider.Rules {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.current()
}

// setStatic puts rules in force that stay as they are.
func (l *liveRules) setStatic(rules provider.Rules) {
	l.replaceRules(func() provider.Rules { return rules }, nil, nil)
}

// setDynamic puts the rules of a catalog in force, which stop ends.
func (l *liveRules) setDynamic(c *promadapter.Catalog, stop func()) {
	l.replaceRules(func() provider.Rules { return c.Rules() }, c, stop)
}

func (l *liveRules) replaceRules(current func() provider.Rules, c *promadapter.Catalog, stop func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stop != nil {
		l.stop()
	}
	l.current, l.catalog, l.stop = current, c, stop
}

// describeCatalog are lines for a person: what of a catalog fails.
func (l *liveRules) describeCatalog() []string {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.catalog == nil {
		return nil
	}
	return l.catalog.Rules().Notes()
}

// demandRules tell discovery what the embedded backend must scrape for a metric.
type demandRules struct{ rules provider.Rules }

// Families are those that the metric's rule reads; none where no rule serves it, or another backend does.
func (d demandRules) Families(resource, name string, external bool) []string {
	r, err := d.rules.Lookup(resource, name)
	if external {
		r, err = d.rules.External(name)
	}
	if err != nil || r.Backend != config.ScrapeBackend {
		return nil
	}
	return r.Families()
}

// Namespace is the one whose series an external metric is computed from; empty for all.
func (d demandRules) Namespace(name, asked string) string {
	r, err := d.rules.External(name)
	if err != nil || r.Namespaced {
		return asked
	}
	return r.Namespace
}
