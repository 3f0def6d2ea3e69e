// The backends of the active configuration: the embedded engine and the remote servers, kept over reloads.

package main

import (
	"math/rand/v2"
	"net/http"
	"reflect"
	"sync"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/provider"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/remote"
)

// backendSet holds the backends of the active configuration: the embedded engine and the remote servers. It may be used
// concurrently.
type backendSet struct {
	embedded   provider.Backend
	components *componentGroup
	metrics    *remote.Metrics
	transport  http.RoundTripper // replaces the HTTP configuration of all servers, unless nil
	seed       uint64

	mu      sync.Mutex // guards the fields below
	servers map[string]*remoteBackend
	order   []string // as in the file
}

// remoteBackend is a running remote backend. stop ends it without waiting.
type remoteBackend struct {
	*remote.Backend
	config config.Backend
	stop   func()
}

func newBackendSet(embedded provider.Backend, c *componentGroup, metrics *remote.Metrics, transport http.RoundTripper) *backendSet {
	return &backendSet{
		embedded: embedded, components: c, metrics: metrics, transport: transport,
		seed: rand.Uint64(), // spreads the queries of two replicas
	}
}

// lookupBackend returns the backend of a rule by its name.
func (b *backendSet) lookupBackend(name string) (provider.Backend, bool) {
	if name == config.ScrapeBackend {
		return b.embedded, true
	}
	return b.lookupServer(name)
}

func (b *backendSet) lookupServer(name string) (*remoteBackend, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, ok := b.servers[name]
	return s, ok
}

// applyPrometheusBackends starts and stops servers until they equal configs. A server with an unchanged configuration keeps running, with its
// cached values. An error names the faulty backend, and leaves all servers unchanged.
func (b *backendSet) applyPrometheusBackends(configs []config.Backend) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := make(map[string]*remoteBackend, len(configs))
	order := make([]string, 0, len(configs))
	for _, c := range configs {
		order = append(order, c.Name)
		if s := b.servers[c.Name]; s != nil && reflect.DeepEqual(s.config, c) {
			next[c.Name] = s
			continue
		}
		made, err := remote.New(c, remote.Options{Metrics: b.metrics, Transport: b.transport, Seed: b.seed})
		if err != nil {
			return err
		}
		next[c.Name] = &remoteBackend{Backend: made, config: c}
	}
	for name, s := range b.servers {
		if next[name] != s {
			s.stop()
		}
	}
	for name, s := range next {
		if s.stop == nil {
			s.stop = b.components.addComponent("backend "+name, s.Run)
		}
	}
	b.servers, b.order = next, order
	return nil
}

// describeBackends returns the state of each server, in lines for /readyz?verbose.
func (b *backendSet) describeBackends() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var notes []string
	for _, name := range b.order {
		notes = append(notes, b.servers[name].Notes()...)
	}
	return notes
}
