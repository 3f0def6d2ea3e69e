// One generic storage serves both resources: get, list, and the table of kubectl.

package resourcemetrics

import (
	"context"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/metrics/pkg/apis/metrics"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// usageObject is a pointer to the API type of one usage.
type usageObject[T any] interface {
	*T
	runtime.Object
}

// usageStorage serves the usage of one resource. T is the resource's API type.
type usageStorage[T any, P usageObject[T]] struct {
	usageObjectLookup
	kind       string // of T; it differs from the resource's name
	namespaced bool
	listUsages func(context.Context, []*metav1.PartialObjectMetadata) ([]T, []metric.Omission, error)
	makeList   func([]T) runtime.Object
	addRow     func(usageTable, P)
}

type (
	podStorage  = usageStorage[metrics.PodMetrics, *metrics.PodMetrics]
	nodeStorage = usageStorage[metrics.NodeMetrics, *metrics.NodeMetrics]
)

var (
	_ rest.Storage              = (*podStorage)(nil)
	_ rest.KindProvider         = (*podStorage)(nil)
	_ rest.Getter               = (*podStorage)(nil)
	_ rest.Lister               = (*podStorage)(nil)
	_ rest.Scoper               = (*podStorage)(nil)
	_ rest.SingularNameProvider = (*podStorage)(nil)
)

func newPodUsageStorage(a *UsageAPI) *podStorage {
	return &podStorage{
		usageObjectLookup: usageObjectLookup{a.deps.Objects, Pods}, kind: "PodMetrics", namespaced: true,
		listUsages: a.listPodUsages,
		makeList:   func(items []metrics.PodMetrics) runtime.Object { return &metrics.PodMetricsList{Items: items} },
		addRow:     usageTable.addPodUsageRow,
	}
}

func newNodeUsageStorage(a *UsageAPI) *nodeStorage {
	return &nodeStorage{
		usageObjectLookup: usageObjectLookup{a.deps.Objects, Nodes}, kind: "NodeMetrics", namespaced: false,
		listUsages: a.listNodeUsages,
		makeList:   func(items []metrics.NodeMetrics) runtime.Object { return &metrics.NodeMetricsList{Items: items} },
		addRow:     usageTable.addNodeUsageRow,
	}
}

// New returns an empty object of the kind.
func (*usageStorage[T, P]) New() runtime.Object { return P(new(T)) }

// NewList returns an empty list of the kind.
func (s *usageStorage[T, P]) NewList() runtime.Object { return s.makeList(nil) }

// Destroy does nothing: a storage owns no resources.
func (*usageStorage[T, P]) Destroy() {}

// Kind returns the kind of T.
func (s *usageStorage[T, P]) Kind() string { return s.kind }

// NamespaceScoped reports whether the resource is namespaced.
func (s *usageStorage[T, P]) NamespaceScoped() bool { return s.namespaced }

// GetSingularName returns no name, lest `kubectl get pod` mean a usage.
func (*usageStorage[T, P]) GetSingularName() string { return "" }

// List returns the usages of the selected objects. It omits objects without a usage.
func (s *usageStorage[T, P]) List(ctx context.Context, opts *internalversion.ListOptions) (runtime.Object, error) {
	found, err := s.listSelectedObjects(ctx, opts)
	if err != nil {
		return nil, s.toUsageStatusError(ctx, "", err)
	}
	items, omitted, err := s.listUsages(ctx, found)
	if err == nil && len(items) == 0 && len(omitted) > 0 && isSelectiveUsageList(opts) {
		err = s.newNoUsageListError(omitted)
	}
	if err != nil {
		return nil, s.toUsageStatusError(ctx, "", err)
	}
	return s.makeList(items), nil
}

// Get returns the usage of one object.
func (s *usageStorage[T, P]) Get(ctx context.Context, name string, _ *metav1.GetOptions) (runtime.Object, error) {
	found, err := s.getUsageObject(ctx, name)
	if err != nil {
		return nil, s.toUsageStatusError(ctx, name, err)
	}
	items, omitted, err := s.listUsages(ctx, []*metav1.PartialObjectMetadata{found})
	if err == nil && len(items) == 0 {
		err = s.newNoUsageError(metric.Object{Namespace: found.Namespace, Name: found.Name}, omitted)
	}
	if err != nil {
		return nil, s.toUsageStatusError(ctx, name, err)
	}
	return P(&items[0]), nil
}

// ConvertToTable returns the table that kubectl get shows for a usage or a list of usages.
func (s *usageStorage[T, P]) ConvertToTable(_ context.Context, object, opts runtime.Object) (*metav1.Table, error) {
	t := newUsageTable(opts)
	if usage, ok := object.(P); ok {
		s.addRow(t, usage)
		return t.table, nil
	}
	err := meta.EachListItem(object, func(item runtime.Object) error {
		if usage, ok := item.(P); ok {
			s.addRow(t, usage)
		}
		return nil
	})
	return t.table, err
}
