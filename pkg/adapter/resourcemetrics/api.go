// The API group metrics.k8s.io and its dependencies: the objects of the cluster and their usage.

package resourcemetrics

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	genericapiserver "k8s.io/apiserver/pkg/server"
	openapi "k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/validation/spec"
	v1 "k8s.io/metrics/pkg/apis/metrics/v1"
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

// APIServices are the names of the APIServices of the versions that an API serves. Their types are equal; Kubernetes has v1 since
// 1.37.
var APIServices = []string{"v1.metrics.k8s.io", "v1beta1.metrics.k8s.io"}

// Objects lists the existing pods and nodes; MeasuredCluster implements it. It must be safe for concurrent use. Callers share the returned
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

// UsageAPI is metrics.k8s.io in its versions v1 and v1beta1.
type UsageAPI struct {
	deps    Deps
	metrics *apiMetrics
}

// New returns an API.
func New(deps Deps, opts Options) *UsageAPI {
	return &UsageAPI{deps: deps, metrics: newUsageAPIMetrics(opts.Registerer)}
}

// Group returns the API group, for a generic API server to install. The scheme, the codecs and the description are
// metrics-server's. Its storage is not: it passes no context, and gives no reason for a missing usage.
func (a *UsageAPI) Group() *genericapiserver.APIGroupInfo {
	group := api.Build(newPodUsageStorage(a), newNodeUsageStorage(a))
	storage := group.VersionedResourcesStorageMap[v1beta1.SchemeGroupVersion.Version]
	group.VersionedResourcesStorageMap[v1.SchemeGroupVersion.Version] = storage
	group.PrioritizedVersions = []schema.GroupVersion{v1.SchemeGroupVersion, v1beta1.SchemeGroupVersion}
	return &group
}

// Definitions returns the OpenAPI definitions of the group's types. metrics-server describes v1beta1 alone; v1 has the same types.
func (*UsageAPI) Definitions(ref openapi.ReferenceCallback) map[string]openapi.OpenAPIDefinition {
	definitions := generated.GetOpenAPIDefinitions(ref)
	stable := generated.GetOpenAPIDefinitions(func(path string) spec.Ref { return ref(toStableModelName(path)) })
	for name, definition := range stable {
		if v1Name := toStableModelName(name); v1Name != name {
			for i, dependency := range definition.Dependencies {
				definition.Dependencies[i] = toStableModelName(dependency)
			}
			definitions[v1Name] = definition
		}
	}
	return definitions
}

// toStableModelName returns the name of the v1 model for a v1beta1 model's name, and any other name as it is.
func toStableModelName(name string) string {
	return strings.Replace(name, ".apis.metrics.v1beta1.", ".apis.metrics.v1.", 1)
}
