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

// backendSet are what evaluates rules: the embedded engine, and the servers of the configuration in force. It is safe for
// concurrent use.
type backendSet struct {
	embedded   provider.Backend
	components *componentGroup
	metrics    *remote.Metrics
	transport  http.RoundTripper // for all servers, in place of their configuration; nil: none
	seed       uint64

	mu      sync.Mutex // guards what follows
	servers map[string]*remoteBackend
	order   []string // as in the file
}

// remoteBackend is one backend, its configuration, and how it ends.
type remoteBackend struct {
	*remote.Backend
	config config.Backend
	stop   func()
}

func newBackendSet(embedded provider.Backend, c *componentGroup, metrics *remote.Metrics, transport http.RoundTripper) *backendSet {
	return &backendSet{
		embedded: embedded, components: c, metrics: metrics, transport: transport,
		seed: rand.Uint64(), // two replicas do not ask a server at the same moment
	}
}

// lookupBackend returns the evaluator that rules call by that name.
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

// applyBackends puts these in force: one whose configuration stays the same goes on with what it knows. With an error, which
// names the backend at fault, nothing has changed.
func (b *backendSet) applyBackends(configs []config.Backend) error {
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

// describeServers are lines for a person: how each server is.
func (b *backendSet) describeServers() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var notes []string
	for _, name := range b.order {
		notes = append(notes, b.servers[name].Notes()...)
	}
	return notes
}
