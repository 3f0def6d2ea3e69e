// Package kube has the pieces of Kubernetes APIs that several programs use: clients, bounded transports, REST mappings, lists of
// metrics, and owners.
package kube

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// NewClient returns a client that speaks protobuf: a third of the size of JSON, and a fraction of the work. It does not change cfg.
func NewClient(cfg *rest.Config) (*kubernetes.Clientset, error) {
	typed := rest.CopyConfig(cfg)
	typed.ContentType = runtime.ContentTypeProtobuf
	typed.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	typed.Wrap(boundResponses)
	client, err := kubernetes.NewForConfig(typed)
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	return client, nil
}

// ReadKubeconfig returns the configuration of the cluster and the namespace of a command. Its error says where it looked for a
// kubeconfig, if there is none.
func ReadKubeconfig(loader clientcmd.ClientConfig) (config *rest.Config, namespace string, err error) {
	config, err = loader.ClientConfig()
	if clientcmd.IsEmptyConfig(err) {
		return nil, "", fmt.Errorf("no cluster in %s; set KUBECONFIG or give --kubeconfig", strings.Join(loader.ConfigAccess().GetLoadingPrecedence(), ", "))
	}
	if err != nil {
		return nil, "", fmt.Errorf("read the kubeconfig: %w", err)
	}
	if namespace, _, err = loader.Namespace(); err != nil {
		return nil, "", fmt.Errorf("read the kubeconfig: %w", err)
	}
	if file, err := loader.RawConfig(); err == nil && len(file.Clusters) > 0 { // without one the pod's service account has the address
		config.Wrap(hintAtAddress)
	}
	return config, namespace, nil
}
