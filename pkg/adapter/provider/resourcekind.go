// Resources with their kind and scope.

package provider

import (
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/metrics/pkg/apis/custom_metrics"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// resourceKind is a resource as the cluster knows it.
type resourceKind struct {
	resource   schema.GroupResource
	gvk        schema.GroupVersionKind
	namespaced bool
}

// podKind needs no mapper: nearly every request is for pods.
var podKind = resourceKind{
	resource:   schema.GroupResource{Resource: "pods"},
	gvk:        schema.GroupVersionKind{Version: "v1", Kind: "Pod"},
	namespaced: true,
}

// resolveResourceKind resolves a resource as a request writes it: plural or singular, with or without its group.
func (p *Provider) resolveResourceKind(resource schema.GroupResource) (resourceKind, error) {
	if resource == podKind.resource {
		return podKind, nil
	}
	gvk, err := p.Mapper.KindFor(resource.WithVersion(""))
	if err != nil {
		return resourceKind{}, newResourceMappingError(resource, err)
	}
	mapping, err := p.Mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return resourceKind{}, newResourceMappingError(resource, err)
	}
	return resourceKind{
		resource:   mapping.Resource.GroupResource(),
		gvk:        mapping.GroupVersionKind,
		namespaced: mapping.Scope.Name() == apimeta.RESTScopeNameNamespace,
	}, nil
}

func newResourceMappingError(resource schema.GroupResource, err error) error {
	if apimeta.IsNoMatchError(err) {
		return metric.Errorf(metric.KindNotFound, "the cluster has no resource %q", resource.String())
	}
	return metric.Errorf(metric.KindUnavailable, "resolve resource %q: %w", resource.String(), err)
}

// checkResourceScope rejects a request for a namespaced resource without a namespace, and for a cluster resource with a namespace:
// the user may have rights in this namespace alone.
func (k resourceKind) checkResourceScope(namespace, metricName string) error {
	switch {
	case k.namespaced && namespace == "":
		return metric.Errorf(metric.KindInvalid, "%[1]s are in a namespace: ask for namespaces/NAMESPACE/%[1]s/NAME/%[2]s",
			k.resource.String(), metricName)
	case !k.namespaced && namespace != "" && k.resource.Resource == namespaces && k.resource.Group == "":
		return metric.Errorf(metric.KindInvalid, "namespaces are in no namespace: ask for namespaces/NAME/metrics/%s", metricName)
	case !k.namespaced && namespace != "":
		return metric.Errorf(metric.KindInvalid, "%[1]s are in no namespace: ask for %[1]s/NAME/%[2]s",
			k.resource.String(), metricName)
	}
	return nil
}

// newDescribedObjectReference returns the described object of a response.
func (k resourceKind) newDescribedObjectReference(o metric.Object) custom_metrics.ObjectReference {
	return custom_metrics.ObjectReference{
		Kind: k.gvk.Kind, APIVersion: k.gvk.GroupVersion().String(), Namespace: o.Namespace, Name: o.Name,
	}
}
