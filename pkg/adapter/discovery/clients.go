// This file has the API clients that discovery needs.

package discovery

import (
	"fmt"
	"net/http"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/scale"

	"github.com/tachometer-metrics/tachometer/pkg/kube"
)

// Clients holds the API clients of discovery. All are required.
type Clients struct {
	Kube kubernetes.Interface
	// Dynamic reads spec.selector of objects without a scale subresource.
	Dynamic dynamic.Interface
	Scale   scale.ScalesGetter
	// Mapper answers from memory, and its owner refreshes it: discovery retries unknown kinds.
	Mapper meta.RESTMapper
}

// NewClients returns the clients for a cluster. It does not modify cfg. The clients limit requests only if cfg sets a
// QPS: discovery bounds its own requests, and a queue in the client would delay the first lookup for a new autoscaler.
func NewClients(cfg *rest.Config, mapper meta.RESTMapper) (Clients, error) {
	plain := rest.CopyConfig(cfg)
	if plain.QPS == 0 {
		plain.QPS = -1
	}
	plain.Wrap(func(t http.RoundTripper) http.RoundTripper { return boundedTransport{t} })
	kube, err := kube.NewClient(plain)
	if err != nil {
		return Clients{}, err
	}
	objects, err := dynamic.NewForConfig(plain)
	if err != nil {
		return Clients{}, fmt.Errorf("make dynamic client: %w", err)
	}
	kinds := scale.NewDiscoveryScaleKindResolver(kube.Discovery())
	scales, err := scale.NewForConfig(plain, mapper, dynamic.LegacyAPIPathResolverFunc, kinds)
	if err != nil {
		return Clients{}, fmt.Errorf("make scale client: %w", err)
	}
	return Clients{Kube: kube, Dynamic: objects, Scale: scales, Mapper: mapper}, nil
}
