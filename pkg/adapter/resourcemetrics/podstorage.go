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

// podStorage answers for pods.
type podStorage struct{ usageStorage }

var (
	_ rest.Storage              = (*podStorage)(nil)
	_ rest.KindProvider         = (*podStorage)(nil)
	_ rest.Getter               = (*podStorage)(nil)
	_ rest.Lister               = (*podStorage)(nil)
	_ rest.Scoper               = (*podStorage)(nil)
	_ rest.SingularNameProvider = (*podStorage)(nil)
)

// New is an empty object of the kind.
func (*podStorage) New() runtime.Object { return &metrics.PodMetrics{} }

// NewList is an empty list of the kind.
func (*podStorage) NewList() runtime.Object { return &metrics.PodMetricsList{} }

// Kind is PodMetrics, though the resource is called pods.
func (*podStorage) Kind() string { return "PodMetrics" }

// NamespaceScoped is true.
func (*podStorage) NamespaceScoped() bool { return true }

// List answers for the pods selected that have a usage.
func (s *podStorage) List(ctx context.Context, opts *internalversion.ListOptions) (runtime.Object, error) {
	found, err := s.listSelectedObjects(ctx, opts)
	if err != nil {
		return nil, s.toAPIStatus(ctx, "", err)
	}
	items, omitted, err := s.api.listPodMetrics(ctx, found)
	if err == nil && len(items) == 0 && len(omitted) > 0 && isSelective(opts) {
		err = s.newNoUsageListError(omitted)
	}
	if err != nil {
		return nil, s.toAPIStatus(ctx, "", err)
	}
	return &metrics.PodMetricsList{Items: items}, nil
}

// Get answers for one pod.
func (s *podStorage) Get(ctx context.Context, name string, _ *metav1.GetOptions) (runtime.Object, error) {
	found, err := s.getUsageObject(ctx, name)
	if err != nil {
		return nil, s.toAPIStatus(ctx, name, err)
	}
	items, omitted, err := s.api.listPodMetrics(ctx, []*metav1.PartialObjectMetadata{found})
	if err == nil && len(items) == 0 {
		err = s.newNoUsageError(metric.Object{Namespace: found.Namespace, Name: found.Name}, omitted)
	}
	if err != nil {
		return nil, s.toAPIStatus(ctx, name, err)
	}
	return &items[0], nil
}

// ConvertToTable is what kubectl get shows.
func (*podStorage) ConvertToTable(_ context.Context, object, opts runtime.Object) (*metav1.Table, error) {
	t := newKubectlTable(opts)
	switch o := object.(type) {
	case *metrics.PodMetrics:
		t.addPodRow(o)
	case *metrics.PodMetricsList:
		for i := range o.Items {
			t.addPodRow(&o.Items[i])
		}
	}
	return t.table, nil
}
