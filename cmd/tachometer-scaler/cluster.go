// Clients of a cluster.

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

// The client's limits: reads come from caches, and a raise takes some ten writes. The API server has limits of its own.
const (
	clientQPS   = 200
	clientBurst = 400
)

// clusterConnection holds the clients of a cluster, and the default namespace of commands.
type clusterConnection struct {
	config    *rest.Config
	client    *kubernetes.Clientset
	dynamic   dynamic.Interface
	mapper    *kube.RESTMapper
	holds     *hold.Client
	namespace string
}

// connectScalerCommandCluster makes the clients, without a request to the cluster.
func (g *globalFlags) connectScalerCommandCluster() (*clusterConnection, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = g.kubeconfig
	overrides := &clientcmd.ConfigOverrides{CurrentContext: g.context}
	overrides.Context.Namespace = g.namespace
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides)
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, newScalerCommandUsageError("read the kubeconfig: %w", err)
	}
	namespace, _, err := loader.Namespace()
	if err != nil {
		return nil, newScalerCommandUsageError("read the kubeconfig: %w", err)
	}
	config.QPS, config.Burst = clientQPS, clientBurst
	config.UserAgent = "tachometer-scaler/" + version.String()
	return newScalerCommandConnection(config, namespace)
}

// newScalerCommandConnection makes the clients of a connection.
func newScalerCommandConnection(config *rest.Config, namespace string) (*clusterConnection, error) {
	client, err := kube.NewClient(config)
	if err != nil {
		return nil, err
	}
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a dynamic client: %w", err)
	}
	holds, err := hold.NewClient(config)
	if err != nil {
		return nil, err
	}
	mapper := kube.NewLazyRESTMapper(client.Discovery())
	return &clusterConnection{config: config, client: client, dynamic: objects, mapper: mapper, holds: holds, namespace: namespace}, nil
}

// liveCluster returns the cluster for an engine.
func (c *clusterConnection) liveCluster() *rollout.LiveCluster {
	return &rollout.LiveCluster{Client: c.client, Dynamic: c.dynamic, Mapper: c.mapper, Holds: c.holds}
}

// parseScalerCommandWorkload parses the workload argument of a command.
func (c *clusterConnection) parseScalerCommandWorkload(text string) (hold.Workload, error) {
	t, err := hold.ParseWorkload(text, c.namespace)
	if err != nil {
		return t, exitError{err, exitUsage}
	}
	return t, nil
}

// scalerCommandUser returns the name of the user; in a pod, the name of the pod's owner cannot be known: the word pod.
func scalerCommandUser() string {
	if os.Getenv("KUBERNETES_SERVICE_HOST") != "" {
		return "pod"
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "unknown"
}

// identifyScalerCommandCaller returns the name of the program's pod, else USER@HOST.
func identifyScalerCommandCaller() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	if os.Getenv("KUBERNETES_SERVICE_HOST") != "" {
		return host // the pod's name
	}
	if u, err := user.Current(); err == nil {
		return u.Username + "@" + host
	}
	return host
}
