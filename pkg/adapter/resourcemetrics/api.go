package resourcemetrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	genericapiserver "k8s.io/apiserver/pkg/server"
	openapi "k8s.io/kube-openapi/pkg/common"
	"k8s.io/metrics/pkg/apis/metrics/v1beta1"
	"sigs.k8s.io/metrics-server/pkg/api"
	generated "sigs.k8s.io/metrics-server/pkg/api/generated/openapi"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// The resources of metrics.k8s.io.
const (
	Pods  = "pods"
	Nodes = "nodes"
)

// APIService is the name of the APIService of what an API serves.
const APIService = "v1beta1.metrics.k8s.io"

// Objects are the pods and nodes that exist; Cluster has them. It must be safe for concurrent use. What it returns is
// shared, and not changed.
type Objects interface {
	// SyncError is nil once List and Get tell the truth.
	SyncError() error
	// List returns those that s selects; of all namespaces, if it is empty.
	List(resource, namespace string, s labels.Selector) []*metav1.PartialObjectMetadata
	// Get returns one, or nil.
	Get(resource string, o metric.Object) *metav1.PartialObjectMetadata
}

// Deps are what an API stands on. All are required.
type Deps struct {
	Objects Objects
	Source  UsageSource
	// Now is the clock by which a usage is too old.
	Now func() time.Time
}

// Options are what an API can be told.
type Options struct {
	// Registerer takes the self-metrics; nil for none.
	Registerer prometheus.Registerer
}

// API is metrics.k8s.io v1beta1.
type API struct {
	deps    Deps
	metrics *apiMetrics
}

// New returns an API.
func New(deps Deps, opts Options) *API {
	return &API{deps: deps, metrics: newAPIMetrics(opts.Registerer)}
}

// Group is the API group, for a generic API server to install. The scheme, the codecs and the description are
// metrics-server's; its storage is not used, which has no context, and nothing to say of why there is no usage.
func (a *API) Group() *genericapiserver.APIGroupInfo {
	group := api.Build(newPodStorage(a), newNodeStorage(a))
	group.PrioritizedVersions = []schema.GroupVersion{v1beta1.SchemeGroupVersion} // the scheme has a v1, which nobody asks for yet
	return &group
}

// Definitions describe the group's types for OpenAPI.
func (*API) Definitions(ref openapi.ReferenceCallback) map[string]openapi.OpenAPIDefinition {
	return generated.GetOpenAPIDefinitions(ref)
}
