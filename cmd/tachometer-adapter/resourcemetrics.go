// metrics.k8s.io: its flags, its components, its health checks and its rules.

package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/apiserver"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/resourcemetrics"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// resourceOptions holds the flags of metrics.k8s.io from the kubelets.
type resourceOptions struct {
	kubelets         bool
	kubeletTLS       resourcemetrics.KubeletTLS
	addressTypes     []string
	kubeletsInterval time.Duration
}

func newResourceOptions() resourceOptions {
	return resourceOptions{kubeletsInterval: 15 * time.Second} // the longest time between two measurements of a kubelet
}

func (r *resourceOptions) addResourceFlags(fs *pflag.FlagSet) {
	fs.BoolVar(&r.kubelets, "resource-metrics", r.kubelets,
		"serve metrics.k8s.io, the CPU and memory of pods and nodes, from the kubelets")
	fs.DurationVar(&r.kubeletsInterval, "kubelet-interval", r.kubeletsInterval, "`time` between two reads of a kubelet")
	fs.StringVar(&r.kubeletTLS.CAFile, "kubelet-certificate-authority", r.kubeletTLS.CAFile,
		"`file` with the certificate authorities of the kubelets; empty: the cluster's own")
	fs.BoolVar(&r.kubeletTLS.Insecure, "kubelet-insecure-tls", r.kubeletTLS.Insecure,
		"do not verify kubelet certificates: the token is sent to any server at the node's address; for tests only")
	fs.StringSliceVar(&r.addressTypes, "kubelet-preferred-address-types", r.addressTypes,
		"`types` of node address to reach a kubelet by, the preferred first; empty: InternalIP, then the others")
}

func (r *resourceOptions) validateResourceFlags() error {
	var errs []error
	if r.kubeletsInterval < time.Second {
		errs = append(errs, errors.New("--kubelet-interval is less than a second: kubelets measure about every ten seconds"))
	}
	if r.kubeletTLS.Insecure && r.kubeletTLS.CAFile != "" {
		errs = append(errs, errors.New("--kubelet-insecure-tls and --kubelet-certificate-authority exclude each other"))
	}
	return errors.Join(errs...)
}

// resourceMetrics serves metrics.k8s.io from its sources.
type resourceMetrics struct {
	api      *resourcemetrics.UsageAPI
	objects  *resourcemetrics.MeasuredCluster
	kubelets *resourcemetrics.KubeletSource // nil: resourceRules of the configuration are the source
}

// servesResourceMetrics reports whether a configuration serves metrics.k8s.io.
func (o *commandLineOptions) servesResourceMetrics(c *parsedConfig) bool {
	return o.resources.kubelets || c.legacy != nil && c.legacy.ResourceRules != nil
}

// buildResourceMetrics builds metrics.k8s.io, if the adapter serves it: from the kubelets, else by the resourceRules of a
// prometheus-adapter configuration.
func (a *adapter) buildResourceMetrics(start *parsedConfig, cluster *rest.Config, metrics metricsRegistry) error {
	if !a.opts.servesResourceMetrics(start) {
		return nil
	}
	clients, err := resourcemetrics.NewClients(cluster)
	if err != nil {
		return err
	}
	var types []corev1.NodeAddressType
	for _, t := range a.opts.resources.addressTypes {
		types = append(types, corev1.NodeAddressType(t))
	}
	u := &resourceMetrics{}
	if u.objects, err = resourcemetrics.NewMeasuredCluster(clients, resourcemetrics.ClusterOptions{Addresses: types}); err != nil {
		return err
	}
	var source resourcemetrics.UsageSource = resourcemetrics.NewRuleSource(a.rules.getLiveResourceRules, a.backends)
	if a.opts.resources.kubelets {
		transport, err := resourcemetrics.NewKubeletTransport(cluster, a.opts.resources.kubeletTLS)
		if err != nil {
			return err
		}
		u.kubelets = resourcemetrics.NewKubeletSource(u.objects.ListNodes, transport, resourcemetrics.KubeletOptions{
			Interval: a.opts.resources.kubeletsInterval, Seed: rand.Uint64(), Registerer: metrics,
		})
		source = u.kubelets
	}
	u.api = resourcemetrics.New(resourcemetrics.Deps{Objects: u.objects, Source: source, Now: time.Now}, resourcemetrics.Options{Registerer: metrics})
	a.usage = u
	return nil
}

// listAPIGroups returns the API groups besides custom and external metrics.
func (u *resourceMetrics) listAPIGroups() []apiserver.Group {
	if u == nil {
		return nil
	}
	return []apiserver.Group{{Info: u.api.Group(), Definitions: u.api.Definitions}}
}

// listResourceChecks returns the checks of metrics.k8s.io; none if the adapter does not serve it.
func (u *resourceMetrics) listResourceChecks() (live, ready []apiserver.Check) {
	if u == nil {
		return nil, nil
	}
	ready = append(ready, apiserver.Check{Name: "pods-and-nodes", Test: u.objects.SyncError})
	if u.kubelets != nil {
		live = append(live, apiserver.Check{Name: "kubelet-loop", Test: func() error { return u.kubelets.Live(time.Now()) }})
		ready = append(ready, apiserver.Check{Name: "first-usage", Test: u.kubelets.Warm})
	}
	return live, ready
}

// getLiveResourceRules returns the active resourceRules, or nil.
func (l *liveRules) getLiveResourceRules() *rule.UsageRuleSet {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.catalog == nil {
		return nil
	}
	return l.catalog.UsageRules()
}

// Evaluate evaluates a query on the backend of its rule.
func (b *backendSet) Evaluate(ctx context.Context, q rule.Query, now time.Time) ([]metric.Value, error) {
	backend, ok := b.lookupBackend(q.Rule.Backend)
	if !ok {
		return nil, metric.Errorf(metric.KindInternal, "rule %q: there is no backend %q", q.Rule.Name, q.Rule.Backend)
	}
	return backend.Evaluate(ctx, q, now)
}
