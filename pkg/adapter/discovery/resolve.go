// This file fetches the pod selector of an object from the API server.

package discovery

import (
	"context"
	"fmt"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// podSelectorResolver fetches the pod selectors of objects from the API server. It is safe for concurrent use.
type podSelectorResolver struct {
	clients Clients

	mu    sync.Mutex
	kinds map[schema.GroupKind]schema.GroupResource // cached mappings, which never change; guarded by mu
}

func newPodSelectorResolver(clients Clients) *podSelectorResolver {
	return &podSelectorResolver{clients: clients, kinds: map[schema.GroupKind]schema.GroupResource{}}
}

func (r *podSelectorResolver) mapDemandedKind(kind schema.GroupKind) (schema.GroupResource, error) {
	r.mu.Lock()
	resource, ok := r.kinds[kind]
	r.mu.Unlock()
	if ok {
		return resource, nil
	}
	mapping, err := r.clients.Mapper.RESTMapping(kind)
	if err != nil {
		return resource, fmt.Errorf("map kind %s: %w", kind, err)
	}
	resource = mapping.Resource.GroupResource()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kinds[kind] = resource
	return resource, nil
}

// podSelectingKinds are the kinds that have no scale subresource but select pods by spec.selector. The spec.selector of other
// kinds may select other objects: a ServiceMonitor's selects Services, which often have the labels of pods.
var podSelectingKinds = map[schema.GroupResource]bool{
	{Group: "apps", Resource: "daemonsets"}:             true,
	{Group: "apps.kruise.io", Resource: "daemonsets"}:   true,
	{Group: "batch", Resource: "jobs"}:                  true,
	{Group: "policy", Resource: "poddisruptionbudgets"}: true,
}

// fetchPodSelector returns the pod selector of an object: its scale subresource's selector, or its spec.selector if that
// selects pods. The error has a kind: not found, invalid if the object selects no pods, else unavailable.
func (r *podSelectorResolver) fetchPodSelector(ctx context.Context, key objectKey) (labels.Selector, error) {
	if key.resource == (schema.GroupResource{Resource: "services"}) {
		return r.getServiceSelector(ctx, key)
	}
	version, err := r.clients.Mapper.ResourceFor(key.resource.WithVersion(""))
	if err != nil {
		return nil, wrapPodSelectorError(key, err)
	}
	if podSelectingKinds[key.resource] {
		return r.getSpecSelector(ctx, key, version)
	}
	selector, err := r.getScaleSelector(ctx, key)
	if metric.KindOf(err) == metric.KindNotFound {
		// Either the object or its scale subresource does not exist: the answers look alike for custom resources.
		return nil, metric.Errorf(metric.KindNotFound, "%w: the object does not exist, or its kind has no scale subresource, which names its pods", err)
	}
	return selector, err
}

func (r *podSelectorResolver) getServiceSelector(ctx context.Context, key objectKey) (labels.Selector, error) {
	service, err := r.clients.Kube.CoreV1().Services(key.namespace).Get(ctx, key.name, metav1.GetOptions{})
	if err != nil {
		return nil, wrapPodSelectorError(key, err)
	}
	return convertPodSelectorSet(key, service.Spec.Selector)
}

func (r *podSelectorResolver) getScaleSelector(ctx context.Context, key objectKey) (labels.Selector, error) {
	scale, err := r.clients.Scale.Scales(key.namespace).Get(ctx, key.resource, key.name, metav1.GetOptions{})
	if err != nil {
		return nil, wrapPodSelectorError(key, err)
	}
	text := scale.Status.Selector
	if err := validateSelectorSize(key, len(text), strings.Count(text, ",")+1); err != nil { // a set counts as its values
		return nil, err
	}
	selector, err := labels.Parse(text)
	if err != nil {
		return nil, metric.Errorf(metric.KindInvalid, "find the pods of %s: parse the selector of its scale subresource: %w", key, err)
	}
	return rejectEmptyPodSelector(key, selector)
}

// getSpecSelector reads spec.selector of the object itself.
func (r *podSelectorResolver) getSpecSelector(ctx context.Context, key objectKey, version schema.GroupVersionResource) (labels.Selector, error) {
	object, err := r.clients.Dynamic.Resource(version).Namespace(key.namespace).Get(ctx, key.name, metav1.GetOptions{})
	if err != nil {
		return nil, wrapPodSelectorError(key, err)
	}
	return parsePodSelectorSpec(key, object)
}

func parsePodSelectorSpec(key objectKey, object *unstructured.Unstructured) (labels.Selector, error) {
	fields, _, err := unstructured.NestedMap(object.Object, "spec", "selector")
	if err != nil {
		return nil, metric.Errorf(metric.KindInvalid, "find the pods of %s: read its spec.selector: %w", key, err)
	}
	var spec metav1.LabelSelector
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(fields, &spec); err != nil {
		return nil, metric.Errorf(metric.KindInvalid, "find the pods of %s: read its spec.selector: %w", key, err)
	}
	size, requirements := measurePodLabels(spec.MatchLabels), len(spec.MatchLabels)+len(spec.MatchExpressions)
	for _, e := range spec.MatchExpressions {
		size += len(e.Key)
		for _, value := range e.Values {
			size += len(value)
		}
	}
	if err := validateSelectorSize(key, size, requirements); err != nil {
		return nil, err
	}
	selector, err := metav1.LabelSelectorAsSelector(&spec)
	if err != nil {
		return nil, metric.Errorf(metric.KindInvalid, "find the pods of %s: read its spec.selector: %w", key, err)
	}
	return rejectEmptyPodSelector(key, selector)
}

func convertPodSelectorSet(key objectKey, set map[string]string) (labels.Selector, error) {
	if err := validateSelectorSize(key, measurePodLabels(set), len(set)); err != nil {
		return nil, err
	}
	selector, err := labels.ValidatedSelectorFromSet(set)
	if err != nil {
		return nil, metric.Errorf(metric.KindInvalid, "find the pods of %s: read its spec.selector: %w", key, err)
	}
	return rejectEmptyPodSelector(key, selector)
}

// rejectEmptyPodSelector rejects the empty selector: it would select every pod of the namespace, which is never intended.
func rejectEmptyPodSelector(key objectKey, selector labels.Selector) (labels.Selector, error) {
	if selector.Empty() {
		return nil, metric.Errorf(metric.KindInvalid, "find the pods of %s: it has no pod selector", key)
	}
	return selector, nil
}

// wrapPodSelectorError adds the object and a kind to an error of the API server.
func wrapPodSelectorError(key objectKey, err error) error {
	kind := metric.KindUnavailable
	if apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
		kind = metric.KindNotFound
	}
	return metric.Errorf(kind, "find the pods of %s: %w", key, err)
}

// classifySelectorLookup returns the outcome label of a lookup.
func classifySelectorLookup(err error) string {
	switch {
	case err == nil:
		return "success"
	case metric.KindOf(err) == metric.KindNotFound:
		return "not_found"
	case apierrors.IsForbidden(err):
		return "forbidden"
	case metric.KindOf(err) == metric.KindInvalid:
		return "no_selector"
	default:
		return "error"
	}
}
