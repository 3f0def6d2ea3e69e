package kube

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/restmapper"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/retry"
)

// The least time between two refreshes that misses cause. Reads of a resource that does not exist must not make a program read the
// cluster's whole discovery each time.
const (
	backgroundMissInterval = 10 * time.Second
	lazyMissInterval       = 5 * time.Second // shorter: a lookup waits for the refresh
)

// firstReadInterval is the time between two attempts at the first read. The program is not ready before it.
const firstReadInterval = time.Second

var errNotRead = errors.New("the cluster's resources have not been read yet")

// RESTMapper maps the cluster's resources and kinds, from memory. After a miss it reads them again, because custom resources are
// added while a program runs; client-go's own mapper would never find them. It may be used concurrently.
//
// NewRESTMapper and NewLazyRESTMapper differ in when it reads: in the background, or within a lookup.
type RESTMapper struct {
	client   discovery.DiscoveryInterfaceWithContext
	lazy     bool
	interval time.Duration                   // between two regular refreshes of Run
	current  atomic.Pointer[meta.RESTMapper] // nil: not read yet
	loaded   chan struct{}                   // closed once current is set
	missed   chan struct{}                   // holds a token after a miss, until the next refresh

	mu              sync.Mutex // held while a lookup refreshes; guards lastMissRefresh
	lastMissRefresh time.Time
}

var _ meta.RESTMapper = (*RESTMapper)(nil)

// NewRESTMapper returns a mapper with lookups that never wait for the network. It knows nothing until Run has read the cluster's
// resources. Run refreshes after each interval, and soon after a miss.
func NewRESTMapper(client discovery.DiscoveryInterface, interval time.Duration) *RESTMapper {
	return newKubeRESTMapper(client, false, interval)
}

// NewLazyRESTMapper returns a mapper that needs no Run: the first lookup reads the cluster's resources, and a miss reads them again,
// at most once in five seconds.
func NewLazyRESTMapper(client discovery.DiscoveryInterface) *RESTMapper {
	return newKubeRESTMapper(client, true, 0)
}

func newKubeRESTMapper(client discovery.DiscoveryInterface, lazy bool, interval time.Duration) *RESTMapper {
	return &RESTMapper{
		client: discovery.ToDiscoveryInterfaceWithContext(client), lazy: lazy, interval: interval,
		loaded: make(chan struct{}), missed: make(chan struct{}, 1),
	}
}

// Run refreshes a mapper of NewRESTMapper until ctx ends, and returns nil.
func (m *RESTMapper) Run(ctx context.Context) error {
	regular := time.NewTicker(m.interval)
	defer regular.Stop()
	for {
		pause := backgroundMissInterval
		if err := m.refreshKubeRESTMapper(ctx); err != nil && ctx.Err() == nil {
			klog.FromContext(ctx).Error(err, "Resource discovery failed")
			m.requestKubeRESTMapperRefresh() // retry after the pause, not after the interval
			if m.Loaded() != nil {
				pause = firstReadInterval
			}
		}
		if !retry.Sleep(ctx, pause) {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-regular.C:
		case <-m.missed:
		}
	}
}

func (m *RESTMapper) refreshKubeRESTMapper(ctx context.Context) error {
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
func (m *RESTMapper) Loaded() error {
	if m.current.Load() == nil {
		return errNotRead
	}
	return nil
}

// Wait returns when the cluster's resources have been read, or ctx has ended.
func (m *RESTMapper) Wait(ctx context.Context) {
	select {
	case <-m.loaded:
	case <-ctx.Done():
	}
}

// requestKubeRESTMapperRefresh makes Run refresh soon.
func (m *RESTMapper) requestKubeRESTMapperRefresh() {
	select {
	case m.missed <- struct{}{}:
	default:
	}
}

// loadKubeRESTMapping returns the current mapping. A lazy mapper without one reads it.
func (m *RESTMapper) loadKubeRESTMapping() (meta.RESTMapper, error) {
	if m.lazy && m.Loaded() != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.Loaded() != nil { // another lookup has not read it in the meantime
			if err := m.refreshKubeRESTMapper(context.Background()); err != nil { // meta.RESTMapper has no context
				return nil, err
			}
		}
	}
	if err := m.Loaded(); err != nil {
		return nil, err
	}
	return *m.current.Load(), nil
}

// refreshKubeRESTMapperAfterMiss refreshes at once, unless the last miss did so lately. A refresh that fails does not count: until one succeeds, a
// miss returns its error, since the kind may exist.
func (m *RESTMapper) refreshKubeRESTMapperAfterMiss() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if now.Sub(m.lastMissRefresh) < lazyMissInterval {
		return nil
	}
	if err := m.refreshKubeRESTMapper(context.Background()); err != nil { // meta.RESTMapper has no context
		return err
	}
	m.lastMissRefresh = now
	return nil
}

// lookupKubeRESTMapping looks something up in the current mapping. After a miss, a lazy mapper refreshes and looks again; else Run refreshes soon.
func lookupKubeRESTMapping[T any](m *RESTMapper, lookup func(meta.RESTMapper) (T, error)) (T, error) {
	var zero T
	mapping, err := m.loadKubeRESTMapping()
	if err != nil {
		return zero, err
	}
	found, err := lookup(mapping)
	if !meta.IsNoMatchError(err) {
		return found, err
	}
	if !m.lazy {
		m.requestKubeRESTMapperRefresh()
		return found, err
	}
	if err := m.refreshKubeRESTMapperAfterMiss(); err != nil {
		return zero, err
	}
	if mapping, err = m.loadKubeRESTMapping(); err != nil {
		return zero, err
	}
	return lookup(mapping)
}

// KindFor returns the kind of a partially named resource; without one, an error for which meta.IsNoMatchError returns true.
func (m *RESTMapper) KindFor(resource schema.GroupVersionResource) (schema.GroupVersionKind, error) {
	return lookupKubeRESTMapping(m, func(r meta.RESTMapper) (schema.GroupVersionKind, error) { return r.KindFor(resource) })
}

// KindsFor returns all kinds of a partially named resource.
func (m *RESTMapper) KindsFor(resource schema.GroupVersionResource) ([]schema.GroupVersionKind, error) {
	return lookupKubeRESTMapping(m, func(r meta.RESTMapper) ([]schema.GroupVersionKind, error) { return r.KindsFor(resource) })
}

// ResourceFor completes a partially named resource.
func (m *RESTMapper) ResourceFor(input schema.GroupVersionResource) (schema.GroupVersionResource, error) {
	return lookupKubeRESTMapping(m, func(r meta.RESTMapper) (schema.GroupVersionResource, error) { return r.ResourceFor(input) })
}

// ResourcesFor returns all resources that a partial name may mean.
func (m *RESTMapper) ResourcesFor(input schema.GroupVersionResource) ([]schema.GroupVersionResource, error) {
	return lookupKubeRESTMapping(m, func(r meta.RESTMapper) ([]schema.GroupVersionResource, error) { return r.ResourcesFor(input) })
}

// RESTMapping returns the resource of a kind, in the first of the versions that has it.
func (m *RESTMapper) RESTMapping(kind schema.GroupKind, versions ...string) (*meta.RESTMapping, error) {
	return lookupKubeRESTMapping(m, func(r meta.RESTMapper) (*meta.RESTMapping, error) { return r.RESTMapping(kind, versions...) })
}

// RESTMappings returns all resources of a kind.
func (m *RESTMapper) RESTMappings(kind schema.GroupKind, versions ...string) ([]*meta.RESTMapping, error) {
	return lookupKubeRESTMapping(m, func(r meta.RESTMapper) ([]*meta.RESTMapping, error) { return r.RESTMappings(kind, versions...) })
}

// ResourceSingularizer returns the singular of a resource's name.
func (m *RESTMapper) ResourceSingularizer(resource string) (string, error) {
	return lookupKubeRESTMapping(m, func(r meta.RESTMapper) (string, error) { return r.ResourceSingularizer(resource) })
}
