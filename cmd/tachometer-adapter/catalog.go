// The sources of prometheus-adapter's rules: the series of a server, and the resources of the cluster.

package main

import (
	"context"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/promadapter"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/remote"
)

// backendSeries lists the series of a named server. It looks the server up at each call, because a reload may replace it.
type backendSeries struct {
	backends *backendSet
	name     string
}

var _ promadapter.SeriesLister = backendSeries{}

// LabelValues implements promadapter.Series.
func (l backendSeries) LabelValues(ctx context.Context, label string, s promadapter.SeriesSelection, each func(string) error) error {
	server, err := l.requirePrometheusBackend()
	if err != nil {
		return err
	}
	return server.LabelValues(ctx, label, remote.SeriesSelection(s), each)
}

// LabelNames implements promadapter.Series.
func (l backendSeries) LabelNames(ctx context.Context, s promadapter.SeriesSelection, each func(string) error) error {
	server, err := l.requirePrometheusBackend()
	if err != nil {
		return err
	}
	return server.LabelNames(ctx, remote.SeriesSelection(s), each)
}

func (l backendSeries) requirePrometheusBackend() (*remoteBackend, error) {
	s, ok := l.backends.lookupServer(l.name)
	if !ok {
		return nil, metric.Errorf(metric.KindInternal, "there is no backend %q", l.name)
	}
	return s, nil
}

// clusterResources looks up the resources of prometheus-adapter rules in a REST mapper.
type clusterResources struct{ mapper apimeta.RESTMapper }

var _ promadapter.ResourceLookup = clusterResources{}

// LookupResource is the resource of a partial name: a plural or singular, with or without its group.
func (c clusterResources) LookupResource(name string) (promadapter.Resource, error) {
	gvk, err := c.mapper.KindFor(schema.ParseGroupResource(name).WithVersion(""))
	if err != nil {
		return promadapter.Resource{}, wrapMapperError(name, err)
	}
	mapping, err := c.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return promadapter.Resource{}, wrapMapperError(name, err)
	}
	resource := mapping.Resource.GroupResource()
	singular, err := c.mapper.ResourceSingularizer(resource.Resource)
	if err != nil {
		return promadapter.Resource{}, wrapMapperError(name, err)
	}
	return promadapter.Resource{
		Name: resource.String(), Singular: singular, Group: resource.Group,
		Namespaced: mapping.Scope.Name() == apimeta.RESTScopeNameNamespace,
	}, nil
}

func wrapMapperError(name string, err error) error {
	if apimeta.IsNoMatchError(err) {
		return metric.Errorf(metric.KindNotFound, "the cluster has no resource %q", name)
	}
	return metric.Errorf(metric.KindUnavailable, "resolve resource %q: %w", name, err)
}
