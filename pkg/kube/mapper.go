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

// again is how soon a mapper asks again for kinds that it does not know.
const again = 5 * time.Second

// Mapper finds the APIs of kinds, from memory. For a kind that it does not know it asks the cluster again, since kinds come with
// what is installed later; client-go's own would never do so. It may be used concurrently.
type Mapper struct {
	*restmapper.DeferredDiscoveryRESTMapper

	mu    sync.Mutex // guards asked
	asked time.Time
}

var _ meta.RESTMapper = (*Mapper)(nil)

// NewMapper returns a mapper for a cluster, which is asked when something is looked for.
func NewMapper(client discovery.DiscoveryInterface) *Mapper {
	return &Mapper{DeferredDiscoveryRESTMapper: restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(client))}
}

// RESTMapping is the API of a kind in one of the versions, the first preferred.
func (m *Mapper) RESTMapping(kind schema.GroupKind, versions ...string) (*meta.RESTMapping, error) {
	mapping, err := m.DeferredDiscoveryRESTMapper.RESTMapping(kind, versions...)
	if !meta.IsNoMatchError(err) || !m.due(time.Now()) {
		return mapping, err
	}
	m.Reset()
	return m.DeferredDiscoveryRESTMapper.RESTMapping(kind, versions...)
}

// due tells whether it is time to ask again, and takes note of it.
func (m *Mapper) due(now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now.Sub(m.asked) < again {
		return false
	}
	m.asked = now
	return true
}
