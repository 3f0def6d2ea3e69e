package main

import (
	"fmt"
	"os"
	"os/user"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/tachometer-metrics/tachometer/pkg/kube"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/rollout"
	"github.com/tachometer-metrics/tachometer/pkg/version"
)

// The client's own limits: a rollout of one target makes some ten requests a second while it waits, and a raise that queues
// behind them would not be there in time. The API server has limits of its own.
const (
	clientQPS   = 200
	clientBurst = 400
)

// clusterConnection is a cluster, and where in it commands without a namespace act.
type clusterConnection struct {
	config    *rest.Config
	client    *kubernetes.Clientset
	dynamic   dynamic.Interface
	mapper    *kube.RESTMapper
	namespace string
}

// connectCluster makes the clients; it asks the cluster nothing yet.
func (g *globalFlags) connectCluster() (*clusterConnection, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = g.kubeconfig
	overrides := &clientcmd.ConfigOverrides{CurrentContext: g.context}
	overrides.Context.Namespace = g.namespace
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides)
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, newUsageError("read the kubeconfig: %w", err)
	}
	namespace, _, err := loader.Namespace()
	if err != nil {
		return nil, newUsageError("read the kubeconfig: %w", err)
	}
	config.QPS, config.Burst = clientQPS, clientBurst
	config.UserAgent = "tachometer-scaler/" + version.String()
	return newClusterConnection(config, namespace)
}

func newClusterConnection(config *rest.Config, namespace string) (*clusterConnection, error) {
	client, err := kube.NewClient(config)
	if err != nil {
		return nil, err
	}
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	mapper := kube.NewLazyRESTMapper(client.Discovery())
	return &clusterConnection{config: config, client: client, dynamic: objects, mapper: mapper, namespace: namespace}, nil
}

// engineOptions are those of an engine on the connection, without what is told to whom.
func (c *clusterConnection) engineOptions() rollout.Options {
	return rollout.Options{Client: c.client, Dynamic: c.dynamic, Mapper: c.mapper, Identity: identifyCaller()}
}

// parseWorkload reads the argument of a command.
func (c *clusterConnection) parseWorkload(text string) (hold.Workload, error) {
	t, err := hold.ParseWorkload(text, c.namespace)
	if err != nil {
		return t, exitError{err, exitUsage}
	}
	return t, nil
}

// identifyCaller runs this program: a pod, or a person on a machine.
func identifyCaller() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	if os.Getenv("KUBERNETES_SERVICE_HOST") != "" {
		return host // of a pod: its name
	}
	if u, err := user.Current(); err == nil {
		return u.Username + "@" + host
	}
	return host
}
