// The active rules, for the provider and for discovery, while reloads replace them.

package main

import (
	"sync"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/explain"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/promadapter"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/provider"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// liveRules holds the active rules. It may be used concurrently.
type liveRules struct {
	mu      sync.RWMutex // guards the fields below
	current func() provider.Rules
	catalog *promadapter.Catalog // the source of current with prometheus-adapter's format; else nil
	stop    func()               // stops the catalog
}

// getLiveRules returns the active rules.
func (l *liveRules) getLiveRules() provider.Rules {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.current()
}

// nameLiveRule returns the name of a metric's rule, as the self-metrics have it; empty without a rule.
func (l *liveRules) nameLiveRule(namespace, resource, metric string, external bool) string {
	find := func() (*rule.Rule, error) { return l.getLiveRules().LookupFor(namespace, resource, metric) }
	if external {
		find = func() (*rule.Rule, error) { return l.getLiveRules().ExternalFor(namespace, metric) }
	}
	r, err := find()
	if err != nil {
		return ""
	}
	return r.Name
}

// listLiveRuleMetrics returns the metrics that the active rules compute from a family; none with prometheus-adapter's format.
func (l *liveRules) listLiveRuleMetrics(namespace, family string, types rule.FamilyTypes) []rule.ServedMetric {
	set, ok := l.getLiveRules().(*rule.Set)
	if !ok {
		return nil
	}
	return set.MetricsOf(namespace, family, types)
}

// setStaticRules activates rules that do not change.
func (l *liveRules) setStaticRules(rules provider.Rules) {
	l.replaceLiveRules(func() provider.Rules { return rules }, nil, nil)
}

// setCatalogRules activates the rules of a catalog, which change with the series of the server. stop ends the catalog.
func (l *liveRules) setCatalogRules(c *promadapter.Catalog, stop func()) {
	l.replaceLiveRules(func() provider.Rules { return c.Rules() }, c, stop)
}

func (l *liveRules) replaceLiveRules(current func() provider.Rules, c *promadapter.Catalog, stop func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stop != nil {
		l.stop()
	}
	l.current, l.catalog, l.stop = current, c, stop
}

// describeCatalog returns the failures of the catalog, in lines for /readyz?verbose.
func (l *liveRules) describeCatalog() []string {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.catalog == nil {
		return nil
	}
	return l.catalog.Rules().Notes()
}

// demandRules tells discovery which families the embedded backend must scrape for a metric.
type demandRules struct{ rules provider.Rules }

// Families returns the families that the metric's rule reads: none without a rule, or with a rule of another backend.
func (d demandRules) Families(resource, name string, external bool) []string {
	if families, ok := explain.ReviewedFamilies(name); ok {
		return families
	}
	r, err := d.rules.Lookup(resource, name)
	if external {
		r, err = d.rules.External(name)
	}
	if err != nil || r.Backend != config.ScrapeBackend {
		return nil
	}
	return r.Families()
}

// Namespaces returns the namespaces that feed an external metric; a single empty name: all namespaces.
func (d demandRules) Namespaces(name, asked string) []string {
	r, err := d.rules.External(name)
	if err != nil {
		return []string{asked}
	}
	return r.SourceNamespaces(asked)
}

// TargetSources returns the sources of a metric of objects if its rule has `targets`, else an empty list.
func (d demandRules) TargetSources(resource, name string) []string {
	r, err := d.rules.Lookup(resource, name)
	if err != nil || r.Series == nil {
		return nil
	}
	return r.Namespaces
}

// listTargetsOfRules returns the targets that the rules of a configuration name, each source once.
func listTargetsOfRules(cfg *config.Config) []discovery.RuleTarget {
	var targets []discovery.RuleTarget
	known := map[string]bool{}
	for i := range cfg.Rules {
		t := cfg.Rules[i].Targets
		if t == nil {
			continue
		}
		for _, source := range t.ListSources() {
			if !known[source.Namespace] {
				known[source.Namespace] = true
				targets = append(targets, discovery.RuleTarget{
					Source: source.Namespace, Service: metric.Object{Namespace: t.ServiceNamespace, Name: t.ServiceName},
					Port: t.Port, Path: t.Path, Address: source.Address,
				})
			}
		}
	}
	return targets
}
