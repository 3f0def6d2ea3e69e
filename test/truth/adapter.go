package truth

// One replica of the adapter, wired as the program wires it.

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/provider"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/query"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/scrape"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/store"
)

// adapterReplica is a running adapter.
type adapterReplica struct {
	discovery *discovery.Discovery
	scraper   *scrape.Manager
	store     *store.Store
	engine    *query.Engine
	provider  *provider.Provider
	rules     *rule.Set
	started   time.Time
	cancel    context.CancelFunc
	ended     chan error
}

// startReplica starts an adapter with a configuration; seed moves its scrapes.
func startReplica(ctx context.Context, w *world, seed uint64) (*adapterReplica, error) {
	cfg, set, err := rule.Load(w.settings.renderConfig()) //nolint:contextcheck // a rule's trial evaluates in memory
	if err != nil {
		return nil, err
	}
	a := &adapterReplica{rules: set, started: time.Now(), ended: make(chan error, 3)}
	a.discovery = discovery.New(w.cluster.discoveryClients(), discovery.Options{Retention: newStoreOptions(cfg).Retention}) //nolint:contextcheck // a panic over an object is logged without a context
	a.store = store.New(newStoreOptions(cfg))
	scraping := newScrapeOptions(cfg)
	scraping.DialContext, scraping.Seed = w.dialPod, seed
	a.scraper = scrape.New(a.store, scraping)
	a.engine = query.New(a.store, query.Options{Settings: newEngineSettings(cfg)})
	a.discovery.OnTargets(a.scraper.SetTargets)
	a.discovery.SetRules(replicaRules{a.rules})
	a.provider = provider.New(provider.Deps{
		Rules:   func() provider.Rules { return a.rules },
		Backend: func(name string) (provider.Backend, bool) { return a.engine, name == config.ScrapeBackend },
		Pods:    a.discovery, Targets: a.discovery, Demands: a.discovery, Scrapes: a.scraper,
		Mapper: newClusterMapper(), Now: time.Now, Started: a.started, SyncError: a.discovery.SyncError,
	}, provider.Options{ScrapeInterval: cfg.Scrape.Interval})
	ctx, a.cancel = context.WithCancel(klog.NewContext(ctx, logr.Discard()))
	for _, run := range []func(context.Context) error{a.discovery.Run, a.scraper.Run, a.store.Run} {
		go func() { a.ended <- run(ctx) }()
	}
	return a, nil
}

// stopReplica stops the adapter and waits for its end.
func (a *adapterReplica) stopReplica() error {
	a.cancel()
	for range cap(a.ended) {
		if err := <-a.ended; err != nil {
			return err
		}
	}
	return nil
}

// reloadReplica applies a new configuration, in the program's order.
func (a *adapterReplica) reloadReplica(text []byte) error {
	cfg, set, err := rule.Load(text)
	if err != nil {
		return err
	}
	a.store.Reconfigure(newStoreOptions(cfg))
	a.scraper.Reconfigure(newScrapeOptions(cfg))
	a.discovery.SetRetention(newStoreOptions(cfg).Retention)
	a.engine.Reconfigure(newEngineSettings(cfg))
	a.provider.Reconfigure(cfg.Scrape.Interval)
	a.rules = set
	a.discovery.SetRules(replicaRules{set})
	return nil
}

func newStoreOptions(cfg *config.Config) store.Options {
	return store.Options{Retention: query.Retention(cfg.MaxWindow, cfg.Scrape.Interval), MaxSeries: cfg.Scrape.MaxSeries, MaxBytes: cfg.Scrape.MaxStoreBytes}
}

func newScrapeOptions(cfg *config.Config) scrape.Options {
	return scrape.Options{
		Interval: cfg.Scrape.Interval, Timeout: cfg.Scrape.Timeout, MaxPageBytes: cfg.Scrape.MaxPageBytes,
		MaxSamples: cfg.Scrape.MaxSamples, MaxLabels: cfg.Scrape.MaxLabels, MaxConcurrent: cfg.Scrape.MaxConcurrent,
		MaxLabelBytes: int(cfg.Scrape.MaxLabelBytes), Retention: newStoreOptions(cfg).Retention,
	}
}

func newEngineSettings(cfg *config.Config) query.Settings {
	return query.Settings{Interval: cfg.Scrape.Interval, MaxWindow: cfg.MaxWindow}
}

// replicaRules tells discovery which families a metric needs.
type replicaRules struct{ *rule.Set }

func (r replicaRules) Families(resource, name string, external bool) []string {
	found, err := r.Lookup(resource, name)
	if external {
		found, err = r.External(name)
	}
	if err != nil || found.Backend != config.ScrapeBackend {
		return nil
	}
	return found.Families()
}

func (r replicaRules) Namespaces(name, asked string) []string {
	found, err := r.External(name)
	if err != nil {
		return []string{asked}
	}
	return found.SourceNamespaces(asked)
}

func (r replicaRules) TargetSources(resource, name string) []string {
	found, err := r.Lookup(resource, name)
	if err != nil || found.Series == nil {
		return nil
	}
	return found.Namespaces
}

// adapterSettings are the statements that make the adapter's configuration.
type adapterSettings struct {
	interval, timeout, maxWindow, maxAge time.Duration
	maxSeries, maxSamples, maxConcurrent int
	rules                                []Statement
}

// renderConfig writes the configuration file.
func (s adapterSettings) renderConfig() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "apiVersion: config.tachometer.dev/v1alpha1\nkind: AdapterConfig\nmaxWindow: %v\nscrape:\n  interval: %v\n", s.maxWindow, s.interval)
	if s.timeout > 0 {
		fmt.Fprintf(&b, "  timeout: %v\n", s.timeout)
	}
	for key, n := range map[string]int{"maxSeries": s.maxSeries, "maxSamples": s.maxSamples, "maxConcurrent": s.maxConcurrent} {
		if n > 0 {
			fmt.Fprintf(&b, "  %s: %d\n", key, n)
		}
	}
	if s.maxAge > 0 {
		fmt.Fprintf(&b, "maxAge: %v\n", s.maxAge)
	}
	if len(s.rules) > 0 {
		b.WriteString("rules:\n")
	}
	keys := map[string]string{"on-missing": "onMissing", "max-age": "maxAge"}
	for _, r := range s.rules {
		fmt.Fprintf(&b, "- metric: %s\n  query: %q\n", r.Args[0], r.Text)
		for _, o := range r.Options {
			key := o[0]
			if k, ok := keys[key]; ok {
				key = k
			}
			fmt.Fprintf(&b, "  %s: %s\n", key, o[1])
		}
	}
	return b.Bytes()
}
