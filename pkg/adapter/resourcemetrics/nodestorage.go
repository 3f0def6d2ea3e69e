package resourcemetrics

import (
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/metrics/pkg/apis/metrics"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// nodeStorage answers for nodes.
type nodeStorage struct{ usageStorage }

var (
	_ rest.Storage              = (*nodeStorage)(nil)
	_ rest.KindProvider         = (*nodeStorage)(nil)
	_ rest.Getter               = (*nodeStorage)(nil)
	_ rest.Lister               = (*nodeStorage)(nil)
	_ rest.Scoper               = (*nodeStorage)(nil)
	_ rest.SingularNameProvider = (*nodeStorage)(nil)
)

// New is an empty object of the kind.
func (*nodeStorage) New() runtime.Object { return &metrics.NodeMetrics{} }

// NewList is an empty list of the kind.
func (*nodeStorage) NewList() runtime.Object { return &metrics.NodeMetricsList{} }

// Kind is NodeMetrics, though the resource is called nodes.
func (*nodeStorage) Kind() string { return "NodeMetrics" }

// NamespaceScoped is false.
func (*nodeStorage) NamespaceScoped() bool { return false }

// List answers for the nodes selected that have a usage.
func (s *nodeStorage) List(ctx context.Context, opts *internalversion.ListOptions) (runtime.Object, error) {
	found, err := s.listSelectedObjects(ctx, opts)
	if err != nil {
		return nil, s.toAPIStatus(ctx, "", err)
	}
	items, omitted, err := s.api.listNodeMetrics(ctx, found)
	if err == nil && len(items) == 0 && len(omitted) > 0 && isSelective(opts) {
		err = s.newNoUsageListError(omitted)
	}
	if err != nil {
		return nil, s.toAPIStatus(ctx, "", err)
	}
	return &metrics.NodeMetricsList{Items: items}, nil
}

// Get answers for one node.
func (s *nodeStorage) Get(ctx context.Context, name string, _ *metav1.GetOptions) (runtime.Object, error) {
	found, err := s.getUsageObject(ctx, name)
	if err != nil {
		return nil, s.toAPIStatus(ctx, name, err)
	}
	items, omitted, err := s.api.listNodeMetrics(ctx, []*metav1.PartialObjectMetadata{found})
	if err == nil && len(items) == 0 {
		err = s.newNoUsageError(metric.Object{Name: found.Name}, omitted)
	}
	if err != nil {
		return nil, s.toAPIStatus(ctx, name, err)
	}
	return &items[0], nil
}

// ConvertToTable is what kubectl get shows.
func (*nodeStorage) ConvertToTable(_ context.Context, object, opts runtime.Object) (*metav1.Table, error) {
	t := newKubectlTable(opts)
	switch o := object.(type) {
	case *metrics.NodeMetrics:
		t.addNodeRow(o)
	case *metrics.NodeMetricsList:
		for i := range o.Items {
			t.addNodeRow(&o.Items[i])
		}
	}
	return t.table, nil
}
