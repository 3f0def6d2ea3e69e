// The recorder of autoscalers, the API group explain over it, and the Events about their metrics.

package main

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/client-go/kubernetes"
	endpoints "k8s.io/client-go/kubernetes/typed/discovery/v1"
	"k8s.io/client-go/rest"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/apiserver"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/certificate"
	podDiscovery "github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/explain"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metricevents"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/peer"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/recorder"
)

// buildDecisionRecorder builds the recorder, and the reporter of Events, where autoscalers are watched.
func (a *adapter) buildDecisionRecorder(start *parsedConfig, client kubernetes.Interface, metrics metricsRegistry) error {
	if start.legacy != nil {
		return nil
	}
	replica, err := os.Hostname() // the name of the pod
	if err != nil {
		return fmt.Errorf("find the name of this replica: %w", err)
	}
	a.replica = replica
	a.recorder = recorder.New(recorder.Options{
		Now: a.clock.Now, Autoscalers: a.opts.server.Autoscalers, RuleName: a.rules.nameLiveRule, Registerer: metrics,
		Directory: a.opts.recordDirectory, MaxBytes: int(a.opts.recordSize.Value()),
	})
	if a.opts.autoscalerEvents {
		a.events = metricevents.New(metricevents.Options{
			Events: client.CoreV1(), Records: a.recorder, Replica: replica, Now: a.clock.Now, Registerer: metrics,
		})
	}
	return nil
}

// autoscalerObservers hand autoscalers to several observers, in their order.
type autoscalerObservers []podDiscovery.AutoscalerObserver

// ObserveAutoscaler hands over a new or changed autoscaler.
func (all autoscalerObservers) ObserveAutoscaler(h *autoscalingv2.HorizontalPodAutoscaler) {
	for _, o := range all {
		o.ObserveAutoscaler(h)
	}
}

// ForgetAutoscaler hands over the name of a deleted autoscaler.
func (all autoscalerObservers) ForgetAutoscaler(namespace, name string) {
	for _, o := range all {
		o.ForgetAutoscaler(namespace, name)
	}
}

// RetainAutoscalers hands over a new list.
func (all autoscalerObservers) RetainAutoscalers(exists func(namespace, name string) bool) {
	for _, o := range all {
		o.RetainAutoscalers(exists)
	}
}

// observeWatchedAutoscalers returns the observer of autoscalers; nil without a recorder.
func (a *adapter) observeWatchedAutoscalers() podDiscovery.AutoscalerObserver {
	switch {
	case a.recorder == nil:
		return nil
	case a.events == nil:
		return a.recorder
	}
	return autoscalerObservers{a.recorder, a.events}
}

// addExplainAPI makes the server record its answers, serve the records, and reach the other replicas.
func (a *adapter) addExplainAPI(cluster *rest.Config, deps *apiserver.Dependencies) error {
	if a.recorder == nil {
		return nil
	}
	peers, err := a.newReplicaPeers(cluster, deps.Registerer)
	if err != nil {
		return err
	}
	a.recorder.SetScaleTargets(a.discovery)
	deps.Provider = a.recorder.Record(deps.Provider)
	deps.Replica, deps.Forwarder = a.replica, peers
	api := explain.New(explain.Deps{
		Records: a.recorder, Peers: peers, Discovery: a.discovery, Scrapes: a.scraper, Replica: a.replica, Now: a.clock.Now,
		Reading: a.newProviderDeps(), Config: a.running.Load,
		Families: func(resource, metric string, external bool) []string {
			return demandRules{a.rules.getLiveRules()}.Families(resource, metric, external)
		},
		MetricsOf: a.rules.listLiveRuleMetrics, Registerer: deps.Registerer,
	})
	deps.Groups = append(deps.Groups, apiserver.Group{Info: api.Group(), Definitions: api.Definitions})
	return nil
}

// newReplicaPeers returns a reader of the other replicas' records, with the adapter's own credentials.
func (a *adapter) newReplicaPeers(cluster *rest.Config, registerer prometheus.Registerer) (*peer.Reader, error) {
	client, err := endpoints.NewForConfig(cluster)
	if err != nil {
		return nil, fmt.Errorf("make EndpointSlice client: %w", err)
	}
	authorities := func() []byte { // the replicas share their file
		certificates, _ := certificate.File(a.opts.server.Serving.ServerCert.CertKey.CertFile).CurrentCertKeyContent()
		return certificates
	}
	if a.keeper != nil {
		authorities = a.keeper.AuthorityContent
	}
	return peer.New(peer.Options{
		EndpointSlices: client.EndpointSlices(a.opts.namespace), Service: a.opts.service,
		ServerName: a.opts.service + "." + a.opts.namespace + ".svc", Authorities: authorities, Cluster: cluster, IsSelf: a.isListenAddress,
		Registerer: registerer,
	}), nil
}

// isListenAddress reports whether the server listens on an address: the Service's endpoint of this replica has its pod's.
func (a *adapter) isListenAddress(address netip.AddrPort) bool {
	if int(address.Port()) != a.opts.server.Serving.BindPort {
		return false
	}
	own, err := net.InterfaceAddrs()
	return err == nil && slices.ContainsFunc(own, func(n net.Addr) bool {
		prefix, err := netip.ParsePrefix(n.String())
		return err == nil && prefix.Addr().Unmap() == address.Addr().Unmap()
	})
}
