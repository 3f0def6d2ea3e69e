package apiserver

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/restmapper"
	"k8s.io/klog/v2"
)

// missPause is the least time between two refreshes that misses ask for: a reader of a resource that does not exist
// must not make the adapter read the cluster's whole discovery each time.
const missPause = 10 * time.Second

var errNoMapping = errors.New("the cluster's resources have not been read yet")

// Mapper knows the cluster's resources and kinds. Run refreshes it, regularly and soon after it was asked for one that
// it does not know: the way a custom resource that was added later is found. A lookup never waits for the network.
type Mapper struct {
	client   discovery.DiscoveryInterfaceWithContext
	interval time.Duration
	current  atomic.Pointer[meta.RESTMapper]
	loaded   chan struct{} // closed once current is set
	missed   chan struct{} // one token: something was not found since the last refresh
}

var _ meta.RESTMapper = (*Mapper)(nil)

// NewMapper returns a Mapper that knows nothing until Run has read the cluster's resources, which it does again
// after each interval.
func NewMapper(client discovery.DiscoveryInterface, interval time.Duration) *Mapper {
	return &Mapper{client: discovery.ToDiscoveryInterfaceWithContext(client), interval: interval, loaded: make(chan struct{}), missed: make(chan struct{}, 1)}
}

// Run keeps the mapper fresh until ctx ends, and returns nil.
func (m *Mapper) Run(ctx context.Context) error {
	regular := time.NewTicker(m.interval)
	defer regular.Stop()
	for {
		pause := missPause
		if err := m.refresh(ctx); err != nil && ctx.Err() == nil {
			klog.FromContext(ctx).Error(err, "Resource discovery failed")
			m.miss() // again after the pause, not after the interval
			if m.Loaded() != nil {
				pause = time.Second // nothing is ready without
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		select {
		case <-ctx.Done():
			return nil
		case <-regular.C:
		case <-m.missed:
		}
	}
}

func (m *Mapper) refresh(ctx context.Context) error {
	resources, err := restmapper.GetAPIGroupResourcesWithContext(ctx, m.client)
	if err != nil {
		return fmt.Errorf("read resources: %w", err)
	}
	mapper := restmapper.NewDiscoveryRESTMapper(resources)
	if m.current.Swap(&mapper) == nil {
		close(m.loaded)
	}
	return nil
}

// Loaded returns nil once the cluster's resources have been read.
func (m *Mapper) Loaded() error {
	if m.current.Load() == nil {
		return errNoMapping
	}
	return nil
}

// Wait returns when the cluster's resources have been read, or ctx has ended.
func (m *Mapper) Wait(ctx context.Context) {
	select {
	case <-m.loaded:
	case <-ctx.Done():
	}
}

func (m *Mapper) miss() {
	select {
	case m.missed <- struct{}{}:
	default:
	}
}

// ask looks something up in the mapping of the moment.
func ask[T any](m *Mapper, lookup func(meta.RESTMapper) (T, error)) (T, error) {
	current := m.current.Load()
	if current == nil {
		var zero T
		return zero, errNoMapping
	}
	found, err := lookup(*current)
	if meta.IsNoMatchError(err) {
		m.miss()
	}
	return found, err
}

// KindFor returns the kind of a partially named resource; an error that meta.IsNoMatchError knows if there is none.
func (m *Mapper) KindFor(resource schema.GroupVersionResource) (schema.GroupVersionKind, error) {
	return ask(m, func(r meta.RESTMapper) (schema.GroupVersionKind, error) { return r.KindFor(resource) })
}

// KindsFor returns all kinds of a partially named resource.
func (m *Mapper) KindsFor(resource schema.GroupVersionResource) ([]schema.GroupVersionKind, error) {
	return ask(m, func(r meta.RESTMapper) ([]schema.GroupVersionKind, error) { return r.KindsFor(resource) })
}

// ResourceFor completes a partially named resource.
func (m *Mapper) ResourceFor(input schema.GroupVersionResource) (schema.GroupVersionResource, error) {
	return ask(m, func(r meta.RESTMapper) (schema.GroupVersionResource, error) { return r.ResourceFor(input) })
}

// ResourcesFor returns all resources that a partial name may mean.
func (m *Mapper) ResourcesFor(input schema.GroupVersionResource) ([]schema.GroupVersionResource, error) {
	return ask(m, func(r meta.RESTMapper) ([]schema.GroupVersionResource, error) { return r.ResourcesFor(input) })
}

// RESTMapping returns the resource of a kind.
func (m *Mapper) RESTMapping(kind schema.GroupKind, versions ...string) (*meta.RESTMapping, error) {
	return ask(m, func(r meta.RESTMapper) (*meta.RESTMapping, error) { return r.RESTMapping(kind, versions...) })
}

// RESTMappings returns all resources of a kind.
func (m *Mapper) RESTMappings(kind schema.GroupKind, versions ...string) ([]*meta.RESTMapping, error) {
	return ask(m, func(r meta.RESTMapper) ([]*meta.RESTMapping, error) { return r.RESTMappings(kind, versions...) })
}

// ResourceSingularizer returns the singular of a resource's name.
func (m *Mapper) ResourceSingularizer(resource string) (string, error) {
	return ask(m, func(r meta.RESTMapper) (string, error) { return r.ResourceSingularizer(resource) })
}
