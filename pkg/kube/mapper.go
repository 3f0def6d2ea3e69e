package kube

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/restmapper"
)

// missRefreshInterval is how soon a mapper asks again for kinds that it does not know.
const missRefreshInterval = 5 * time.Second

// DeferredMapper finds the APIs of kinds, from memory. For a kind that it does not know it asks the cluster again, since kinds come with
// what is installed later; client-go's own would never do so. It may be used concurrently.
type DeferredMapper struct {
	*restmapper.DeferredDiscoveryRESTMapper

	mu          sync.Mutex // guards asked
	lastRefresh time.Time
}

var _ meta.RESTMapper = (*DeferredMapper)(nil)

// NewDeferredMapper returns a mapper for a cluster, which is asked when something is looked for.
func NewDeferredMapper(client discovery.DiscoveryInterface) *DeferredMapper {
	return &DeferredMapper{DeferredDiscoveryRESTMapper: restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(client))}
}

// RESTMapping is the API of a kind in one of the versions, the first preferred.
func (m *DeferredMapper) RESTMapping(kind schema.GroupKind, versions ...string) (*meta.RESTMapping, error) {
	mapping, err := m.DeferredDiscoveryRESTMapper.RESTMapping(kind, versions...)
	if !meta.IsNoMatchError(err) || !m.allowRefresh(time.Now()) {
		return mapping, err
	}
	m.Reset()
	return m.DeferredDiscoveryRESTMapper.RESTMapping(kind, versions...)
}

// allowRefresh tells whether it is time to ask again, and takes note of it.
func (m *DeferredMapper) allowRefresh(now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now.Sub(m.lastRefresh) < missRefreshInterval {
		return false
	}
	m.lastRefresh = now
	return true
}
