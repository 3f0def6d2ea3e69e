// The API group metrics.k8s.io and its dependencies: the objects of the cluster and their usage.

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

// Pods and Nodes are the resources of metrics.k8s.io.
const (
	Pods  = "pods"
	Nodes = "nodes"
)

// APIService is the name of the APIService of the group version that an API serves.
const APIService = "v1beta1.metrics.k8s.io"

// Objects lists the existing pods and nodes; Cluster implements it. It must be safe for concurrent use. Callers share the returned
// objects, and must not change them.
type Objects interface {
	// SyncError returns nil once List and Get know all objects.
	SyncError() error
	// List returns the objects that s selects in a namespace; empty: in all.
	List(resource, namespace string, s labels.Selector) []*metav1.PartialObjectMetadata
	// Get returns an object, or nil.
	Get(resource string, o metric.Object) *metav1.PartialObjectMetadata
}

// Deps are the dependencies of an API. All are required.
type Deps struct {
	Objects Objects
	Source  UsageSource
	// Now is the clock for the age of a usage.
	Now func() time.Time
}

// Options are the settings of an API.
type Options struct {
	// Registerer registers the self-metrics; nil: registers none.
	Registerer prometheus.Registerer
}

// API is metrics.k8s.io v1beta1.
type API struct {
	deps    Deps
	metrics *apiMetrics
}

// New returns an API.
func New(deps Deps, opts Options) *API {
	return &API{deps: deps, metrics: newResourceMetricsAPIMetrics(opts.Registerer)}
}

// Group returns the API group, for a generic API server to install. The scheme, the codecs and the description are
// metrics-server's. Its storage is not: it passes no context, and gives no reason for a missing usage.
func (a *API) Group() *genericapiserver.APIGroupInfo {
	group := api.Build(newPodResourceMetricsStorage(a), newNodeResourceMetricsStorage(a))
	group.PrioritizedVersions = []schema.GroupVersion{v1beta1.SchemeGroupVersion} // the scheme's v1 has no clients yet
	return &group
}

// Definitions returns the OpenAPI definitions of the group's types.
func (*API) Definitions(ref openapi.ReferenceCallback) map[string]openapi.OpenAPIDefinition {
	return generated.GetOpenAPIDefinitions(ref)
}
