// The wiring: builds the components of a configuration, and applies a new configuration to them.

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"

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
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metricevents"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/promadapter"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/provider"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/query"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/recorder"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/remote"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/resourcemetrics"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/scrape"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/store"
	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/kube"
)

// apiServices are the APIServices that the adapter always serves, but for the last: with prometheus-adapter's rules it does not see
// autoscalers.
var apiServices = []string{"v1beta1.custom.metrics.k8s.io", "v1beta2.custom.metrics.k8s.io", "v1beta1.external.metrics.k8s.io", explainapi.APIService}

// metricsRegistry registers the self-metrics and reads them for /metrics.
type metricsRegistry interface {
	prometheus.Registerer
	prometheus.Gatherer
}

// adapter is all components, connected. A component uses another only through an interface that it declares itself.
type adapter struct {
	keeper *certificate.Keeper // nil: the certificate comes from files
	expiry *certificate.Expiry

	mapper    *kube.RESTMapper
	discovery *podDiscovery.Discovery
	store     *store.Store
	clock     *scrape.SampleClock // of samples, and of the requests that read them
	scraper   *scrape.Manager
	engine    *query.Engine
	backends  *backendSet
	usage     *resourceMetrics // nil: metrics.k8s.io is not served
	provider  *provider.Provider
	recorder  *recorder.Recorder     // nil: autoscalers are not watched
	events    *metricevents.Reporter // nil: no recorder, or switched off
	replica   string                 // the name of this pod
	server    *apiserver.Server

	opts           *commandLineOptions
	catalogMetrics *promadapter.Metrics
	components     *componentGroup
	rules          liveRules
	running        atomic.Pointer[config.Config]
	reloader       *configReloader
	warmup         *warmupCheck
}

// newAdapter builds the components of a configuration. It starts no goroutine and sends no request. The adapter owns opts from now on.
func newAdapter(opts *commandLineOptions, start *parsedConfig, cluster *rest.Config, metrics metricsRegistry) (*adapter, error) {
	a := &adapter{opts: opts, clock: scrape.NewSampleClock(), components: newComponentGroup(), catalogMetrics: promadapter.NewMetrics(metrics)}
	a.reloader = newConfigReloader(opts, start, a.applyNextConfig, metrics)
	if err := a.buildClusterClients(start, cluster, metrics); err != nil {
		return nil, err
	}
	a.buildScrapePipeline(start.config, metrics)
	if err := a.buildPrometheusBackends(start.config, metrics); err != nil {
		return nil, err
	}
	if err := a.buildResourceMetrics(start, cluster, metrics); err != nil {
		return nil, err
	}
	a.applyLiveRules(start)
	a.provider = provider.New(a.newProviderDeps(), provider.Options{Registerer: metrics, ScrapeInterval: start.config.Scrape.Interval})
	deps := apiserver.Dependencies{Provider: a.provider, Metrics: metrics, Registerer: metrics, Health: a.newHealthChecks(), Groups: a.usage.listAPIGroups()}
	if err := a.addExplainAPI(cluster, &deps); err != nil {
		return nil, err
	}
	if a.keeper != nil {
		deps.Certificate = a.keeper
	}
	opts.server.UseKubeconfig(opts.kubeconfig)
	a.server = apiserver.New(opts.server, deps)
	return a, nil
}

// newProviderDeps returns the sources of a provider that starts now: the active rules, their backends, pods and scrapes.
func (a *adapter) newProviderDeps() provider.Deps {
	return provider.Deps{
		Rules:     a.rules.getLiveRules,
		Backend:   a.backends.lookupBackend,
		Pods:      a.discovery,
		Targets:   a.discovery,
		Demands:   a.discovery,
		Scrapes:   a.scraper,
		Mapper:    a.mapper,
		SyncError: a.discovery.SyncError,
		Now:       a.clock.Now,
		Started:   a.clock.Now(),
	}
}

// buildClusterClients builds the components that talk to kube-apiserver.
func (a *adapter) buildClusterClients(start *parsedConfig, cluster *rest.Config, metrics metricsRegistry) error {
	resources, err := discovery.NewDiscoveryClientForConfig(cluster)
	if err != nil {
		return fmt.Errorf("make discovery client: %w", err)
	}
	a.mapper = kube.NewRESTMapper(resources, a.opts.discoveryInterval)
	clients, err := podDiscovery.NewClients(cluster, a.mapper)
	if err != nil {
		return err
	}
	if err := a.buildDecisionRecorder(start, clients.Kube, metrics); err != nil {
		return err
	}
	a.discovery = podDiscovery.New(clients, podDiscovery.Options{
		Now:              a.clock.Now,
		Observer:         a.observeWatchedAutoscalers(),
		Retention:        deriveStoreOptions(start.config).Retention,
		Registerer:       metrics,
		AllowHostNetwork: a.opts.allowHostNetwork,
		// prometheus-adapter's rules need no scraping, and its service account has no right to read autoscalers.
		WithoutAutoscalers: start.legacy != nil,
	})
	services := apiServices
	if start.legacy != nil {
		services = services[:len(services)-1]
	}
	if a.opts.servesResourceMetrics(start) {
		services = append(slices.Clone(services), resourcemetrics.APIServices...)
	}
	return a.buildCertificateKeeper(services, clients.Kube, cluster, metrics)
}

// buildCertificateKeeper builds the keeper of the serving certificate of services, unless the flags name certificate files.
func (a *adapter) buildCertificateKeeper(services []string, client kubernetes.Interface, cluster *rest.Config, metrics metricsRegistry) error {
	opts := a.opts
	if opts.server.OwnCertificate() {
		a.expiry = certificate.NewExpiry(certificate.File(opts.server.Serving.ServerCert.CertKey.CertFile), metrics)
		return nil
	}
	registration, err := aggregator.NewForConfig(cluster)
	if err != nil {
		return fmt.Errorf("make APIService client: %w", err)
	}
	a.keeper = certificate.New(client.CoreV1().Secrets(opts.namespace), registration.ApiregistrationV1().APIServices(), certificate.Options{
		Secret: opts.certSecret, Namespace: opts.namespace, Service: opts.service,
		APIServices: services, Registerer: metrics,
	})
	a.expiry = certificate.NewExpiry(a.keeper, metrics)
	return nil
}

// buildScrapePipeline builds the path of the data: targets to samples to values.
func (a *adapter) buildScrapePipeline(cfg *config.Config, metrics metricsRegistry) {
	storeOptions, scrapeOptions := deriveStoreOptions(cfg), deriveScrapeOptions(cfg)
	storeOptions.Registerer, scrapeOptions.Registerer = metrics, metrics
	scrapeOptions.Seed = rand.Uint64() // spreads the scrapes of two replicas
	scrapeOptions.Clock, storeOptions.Now = a.clock, a.clock.Now
	a.store = store.New(storeOptions)
	a.scraper = scrape.New(a.store, scrapeOptions)
	a.engine = query.New(a.store, query.Options{Settings: deriveQuerySettings(cfg), Registerer: metrics})
	a.discovery.OnTargets(a.scraper.SetTargets)
	a.warmup = &warmupCheck{
		synced:         a.discovery.HasSynced,
		firstRoundDone: a.scraper.FirstRoundDone,
		targets:        func() int { return len(a.discovery.Targets()) },
		demands:        a.discovery.Demanded,
		checkDemand:    a.checkDemandIsWarm,
		interval:       cfg.Scrape.Interval,
	}
}

// buildPrometheusBackends builds the backends of the configuration.
func (a *adapter) buildPrometheusBackends(cfg *config.Config, metrics metricsRegistry) error {
	transport, err := a.opts.prometheus.newServerTransport()
	if err != nil {
		return err
	}
	a.backends = newBackendSet(a.engine, a.components, remote.NewMetrics(metrics), transport)
	return a.backends.applyPrometheusBackends(cfg.Backends)
}

// applyLiveRules makes requests and targets follow the rules of next from now on.
func (a *adapter) applyLiveRules(next *parsedConfig) {
	a.running.Store(next.config)
	if next.legacy == nil {
		a.rules.setStaticRules(next.rules)
	} else {
		catalog := a.newPromAdapterCatalog(next)
		a.rules.setCatalogRules(catalog, a.components.addComponent("series", func(ctx context.Context) error {
			a.mapper.Wait(ctx) // without the mapping every rule would fail at first
			return catalog.Run(ctx)
		}))
	}
	a.discovery.SetRules(demandRules{a.rules.getLiveRules()})
	a.discovery.SetRuleTargets(listTargetsOfRules(next.config))
}

// newPromAdapterCatalog returns the catalog of a prometheus-adapter configuration.
func (a *adapter) newPromAdapterCatalog(next *parsedConfig) *promadapter.Catalog {
	return promadapter.NewCatalog(next.legacy, backendSeries{a.backends, legacyBackend}, clusterResources{a.mapper}, promadapter.Options{
		Backend: legacyBackend, MaxAge: next.config.Backends[0].MaxAge,
		RelistInterval: a.opts.prometheus.relistInterval, Lookback: a.opts.prometheus.metricsAge, Metrics: a.catalogMetrics,
	})
}

// applyNextConfig applies next while the adapter runs. After an error the previous configuration is active, unchanged.
func (a *adapter) applyNextConfig(next *parsedConfig) error {
	cfg := next.config
	if a.opts.servesResourceMetrics(next) != (a.usage != nil) {
		return errors.New("restart the adapter to add or remove resourceRules")
	}
	if err := a.backends.applyPrometheusBackends(cfg.Backends); err != nil {
		return err
	}
	// The order is from samples to their readers: a rule must not use another interval, or a longer window, than the store has
	// samples for.
	a.store.Reconfigure(deriveStoreOptions(cfg))
	a.scraper.Reconfigure(deriveScrapeOptions(cfg))
	a.discovery.SetRetention(deriveStoreOptions(cfg).Retention)
	a.engine.Reconfigure(deriveQuerySettings(cfg))
	a.provider.Reconfigure(cfg.Scrape.Interval)
	a.applyLiveRules(next)
	return nil
}

func deriveStoreOptions(cfg *config.Config) store.Options {
	return store.Options{Retention: query.Retention(cfg.MaxWindow, cfg.Scrape.Interval), MaxSeries: cfg.Scrape.MaxSeries, MaxBytes: cfg.Scrape.MaxStoreBytes}
}

func deriveScrapeOptions(cfg *config.Config) scrape.Options {
	return scrape.Options{
		Interval: cfg.Scrape.Interval, Timeout: cfg.Scrape.Timeout, MaxPageBytes: cfg.Scrape.MaxPageBytes,
		MaxSamples: cfg.Scrape.MaxSamples, MaxLabels: cfg.Scrape.MaxLabels, MaxLabelBytes: int(cfg.Scrape.MaxLabelBytes),
		MaxConcurrent: cfg.Scrape.MaxConcurrent,
		Retention:     query.Retention(cfg.MaxWindow, cfg.Scrape.Interval),
	}
}

func deriveQuerySettings(cfg *config.Config) query.Settings {
	return query.Settings{Interval: cfg.Scrape.Interval, MaxWindow: cfg.MaxWindow}
}

// loadClusterConfig returns the client configuration of the cluster: from a kubeconfig, else from the service account of the pod.
func loadClusterConfig(kubeconfig string) (*rest.Config, error) {
	if kubeconfig == "" {
		cfg, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("find the cluster; outside of a pod give --kubeconfig: %w", err)
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
