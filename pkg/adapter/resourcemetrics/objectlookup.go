// The objects of a get or a list, from the watches of the cluster.

package resourcemetrics

import (
	"context"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// usageObjectLookup finds the objects of one resource.
type usageObjectLookup struct {
	objects  Objects
	resource string // plural
}

// listSelectedObjects returns the objects of a list, in kube-apiserver's order.
func (l usageObjectLookup) listSelectedObjects(ctx context.Context, opts *internalversion.ListOptions) ([]*metav1.PartialObjectMetadata, error) {
	if err := l.objects.SyncError(); err != nil {
		return nil, newUnavailableUsagef("the cluster's %s are not known yet: %w", l.resource, err)
	}
	selector := labels.Everything()
	if opts != nil && opts.LabelSelector != nil {
		selector = opts.LabelSelector
	}
	found := l.objects.List(l.resource, request.NamespaceValue(ctx), selector)
	if opts != nil && opts.FieldSelector != nil && !opts.FieldSelector.Empty() {
		found = slices.DeleteFunc(slices.Clone(found), func(o *metav1.PartialObjectMetadata) bool {
			return !opts.FieldSelector.Matches(fields.Set{"metadata.name": o.Name, "metadata.namespace": o.Namespace})
		})
	}
	slices.SortFunc(found, func(a, b *metav1.PartialObjectMetadata) int {
		if c := strings.Compare(a.Namespace, b.Namespace); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	return found, nil
}

// getUsageObject returns the object of a get, or a not-found error.
func (l usageObjectLookup) getUsageObject(ctx context.Context, name string) (*metav1.PartialObjectMetadata, error) {
	if err := l.objects.SyncError(); err != nil {
		return nil, newUnavailableUsagef("the cluster's %s are not known yet: %w", l.resource, err)
	}
	o := metric.Object{Namespace: request.NamespaceValue(ctx), Name: name}
	if found := l.objects.Get(l.resource, o); found != nil {
		return found, nil
	}
	return nil, metric.Errorf(metric.KindNotFound, "there is no %s %s", nameSingularKind(l.resource), o)
}

func nameSingularKind(resource string) string { return strings.TrimSuffix(resource, "s") }

// isSelectiveUsageList reports whether the list selects certain objects. If none of them has a usage, the list is an error.
func isSelectiveUsageList(opts *internalversion.ListOptions) bool {
	return opts != nil && (opts.LabelSelector != nil && !opts.LabelSelector.Empty() ||
		opts.FieldSelector != nil && !opts.FieldSelector.Empty())
}
