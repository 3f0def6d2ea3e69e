package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	aggregator "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/apiserver"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/certificate"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
	podDiscovery "github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/promadapter"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/provider"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/query"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/remote"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/resourcemetrics"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/scrape"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/store"
)

// apiServices are those that the adapter always stands behind.
var apiServices = []string{"v1beta1.custom.metrics.k8s.io", "v1beta2.custom.metrics.k8s.io", "v1beta1.external.metrics.k8s.io"}

// metricsRegistry is where the self-metrics are and are read from.
type metricsRegistry interface {
	prometheus.Registerer
	prometheus.Gatherer
}

// adapter is all components, wired. Its parts know each other through the interfaces that they declare.
type adapter struct {
	keeper *certificate.Keeper // nil where the certificate comes from files
	expiry *certificate.Expiry

	mapper    *apiserver.Mapper
	discovery *podDiscovery.Discovery
	store     *store.Store
	scraper   *scrape.Manager
	engine    *query.Engine
	backends  *backendSet
	usage     *resourceMetrics // nil: metrics.k8s.io is not served
	provider  *provider.Provider
	server    *apiserver.Server

	opts           *adapterOptions
	catalogMetrics *promadapter.Metrics
	components     *componentGroup
	rules          liveRules
	reloader       *configReloader
	warmup         *warmupCheck
}

// newAdapter makes the components of a configuration in force; it starts nothing and asks nobody. The adapter owns
// opts from now on.
func newAdapter(opts *adapterOptions, start *parsedConfig, cluster *rest.Config, metrics metricsRegistry) (*adapter, error) {
	a := &adapter{opts: opts, components: newComponentGroup(), catalogMetrics: promadapter.NewMetrics(metrics)}
	a.reloader = newConfigReloader(opts, start, a.applyConfiguration, metrics)
	if err := a.buildClusterClients(start, cluster, metrics); err != nil {
		return nil, err
	}
	a.buildScrapePipeline(start.config, metrics)
	if err := a.buildBackends(start.config, metrics); err != nil {
		return nil, err
	}
	if err := a.buildResourceMetrics(start, cluster, metrics); err != nil {
		return nil, err
	}
	a.applyRules(start)
	a.provider = provider.New(provider.Deps{
		Rules:   a.rules.getRules,
		Backend: a.backends.lookupBackend,
		Pods:    a.discovery,
		Targets: a.discovery,
		Demands: a.discovery,
		Scrapes: a.scraper,
		Mapper:  a.mapper,
		Now:     time.Now,
	}, provider.Options{Registerer: metrics})
	deps := apiserver.Dependencies{Provider: a.provider, Metrics: metrics, Health: a.buildHealth(), Groups: a.usage.apiGroups()}
	if a.keeper != nil {
		deps.Certificate = a.keeper
	}
	opts.server.UseKubeconfig(opts.kubeconfig)
	a.server = apiserver.New(opts.server, deps)
	return a, nil
}

// buildClusterClients makes what talks to kube-apiserver.
func (a *adapter) buildClusterClients(start *parsedConfig, cluster *rest.Config, metrics metricsRegistry) error {
	resources, err := discovery.NewDiscoveryClientForConfig(cluster)
	if err != nil {
		return fmt.Errorf("make discovery client: %w", err)
	}
	a.mapper = apiserver.NewMapper(resources, a.opts.discoveryInterval)
	clients, err := podDiscovery.NewClients(cluster, a.mapper)
	if err != nil {
		return err
	}
	a.discovery = podDiscovery.New(clients, podDiscovery.Options{
		Registerer: metrics,
		// Nothing is scraped for the rules of prometheus-adapter, whose service account has no right to autoscalers.
		WithoutAutoscalers: start.legacy != nil,
	})
	behind := apiServices
	if a.opts.servesResourceMetrics(start) {
		behind = append(slices.Clone(behind), resourcemetrics.APIService)
	}
	return a.buildCertificateKeeper(behind, clients.Kube, cluster, metrics)
}

// buildCertificateKeeper keeps one for the APIServices that the adapter stands behind, unless the flags name files.
func (a *adapter) buildCertificateKeeper(behind []string, kube kubernetes.Interface, cluster *rest.Config, metrics metricsRegistry) error {
	opts := a.opts
	if opts.server.OwnCertificate() {
		a.expiry = certificate.NewExpiry(certificate.File(opts.server.Serving.ServerCert.CertKey.CertFile), metrics)
		return nil
	}
	registration, err := aggregator.NewForConfig(cluster)
	if err != nil {
		return fmt.Errorf("make APIService client: %w", err)
	}
	a.keeper = certificate.New(kube.CoreV1().Secrets(opts.namespace), registration.ApiregistrationV1().APIServices(), certificate.Options{
		Secret: opts.certSecret, Namespace: opts.namespace, Service: opts.service,
		APIServices: behind, Registerer: metrics,
	})
	a.expiry = certificate.NewExpiry(a.keeper, metrics)
	return nil
}

// buildScrapePipeline makes the way of the data: targets to samples to values.
func (a *adapter) buildScrapePipeline(cfg *config.Config, metrics metricsRegistry) {
	storeOptions, scrapeOptions := newStoreOptions(cfg), newScrapeOptions(cfg)
	storeOptions.Registerer, scrapeOptions.Registerer = metrics, metrics
	scrapeOptions.Seed = rand.Uint64() // two replicas do not ask a target at the same moment
	a.store = store.New(storeOptions)
	a.scraper = scrape.New(a.store, scrapeOptions)
	a.engine = query.New(a.store, query.Options{Settings: newEngineSettings(cfg), Registerer: metrics})
	a.discovery.OnTargets(a.scraper.SetTargets)
	a.warmup = &warmupCheck{
		synced:         a.discovery.HasSynced,
		firstRoundDone: a.scraper.FirstRoundDone,
		targets:        func() int { return len(a.discovery.Targets()) },
		interval:       cfg.Scrape.Interval,
	}
}

// buildBackends makes the way to the servers.
func (a *adapter) buildBackends(cfg *config.Config, metrics metricsRegistry) error {
	transport, err := a.opts.prometheus.newKubeconfigTransport()
	if err != nil {
		return err
	}
	a.backends = newBackendSet(a.engine, a.components, remote.NewMetrics(metrics), transport)
	return a.backends.applyBackends(cfg.Backends)
}

// applyRules has reads and targets follow the rules of a configuration from now on.
func (a *adapter) applyRules(next *parsedConfig) {
	if next.legacy == nil {
		a.rules.setStatic(next.rules)
	} else {
		catalog := a.newCatalog(next)
		a.rules.setDynamic(catalog, a.components.addComponent("series", func(ctx context.Context) error {
			a.mapper.Wait(ctx) // without the mapping every rule would fail at first
			return catalog.Run(ctx)
		}))
	}
	a.discovery.SetRules(demandRules{a.rules.getRules()})
}

// newCatalog is that of a configuration of prometheus-adapter.
func (a *adapter) newCatalog(next *parsedConfig) *promadapter.Catalog {
	return promadapter.NewCatalog(next.legacy, backendSeries{a.backends, legacyBackend}, clusterResources{a.mapper}, promadapter.Options{
		Backend: legacyBackend, MaxAge: next.config.Backends[0].MaxAge,
		RelistInterval: a.opts.prometheus.relistInterval, Lookback: a.opts.prometheus.metricsAge, Metrics: a.catalogMetrics,
	})
}

// applyConfiguration puts next in force while the adapter runs. With an error nothing has changed.
func (a *adapter) applyConfiguration(next *parsedConfig) error {
	cfg := next.config
	if a.opts.servesResourceMetrics(next) != (a.usage != nil) {
		return errors.New("resourceRules come and go with a restart of the adapter only")
	}
	if err := a.backends.applyBackends(cfg.Backends); err != nil {
		return err
	}
	// From the samples to those who read them: a rule must not be answered with another interval, or over a longer
	// window, than there are samples for.
	a.store.Reconfigure(newStoreOptions(cfg))
	a.scraper.Reconfigure(newScrapeOptions(cfg))
	a.engine.Reconfigure(newEngineSettings(cfg))
	a.applyRules(next)
	return nil
}

func newStoreOptions(cfg *config.Config) store.Options {
	return store.Options{Retention: query.Retention(cfg.MaxWindow, cfg.Scrape.Interval), MaxSeries: cfg.Scrape.MaxSeries}
}

func newScrapeOptions(cfg *config.Config) scrape.Options {
	return scrape.Options{
		Interval: cfg.Scrape.Interval, Timeout: cfg.Scrape.Timeout, MaxPageBytes: cfg.Scrape.MaxPageBytes,
		MaxSamples: cfg.Scrape.MaxSamples, MaxLabels: cfg.Scrape.MaxLabels, MaxConcurrent: cfg.Scrape.MaxConcurrent,
	}
}

func newEngineSettings(cfg *config.Config) query.Settings {
	return query.Settings{Interval: cfg.Scrape.Interval, MaxWindow: cfg.MaxWindow}
}

// loadClusterConfig returns how to reach the cluster: a kubeconfig, or the service account of the pod.
func loadClusterConfig(kubeconfig string) (*rest.Config, error) {
	if kubeconfig == "" {
		cfg, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("find the cluster (no --kubeconfig): %w", err)
		}
		return cfg, nil
	}
	rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: kubeconfig}
	cfg, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	return cfg, nil
}
