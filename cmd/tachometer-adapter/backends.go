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

// backends are what evaluates rules: the embedded engine, and the servers of the configuration in force. It is safe for
// concurrent use.
type backends struct {
	embedded  provider.Backend
	crew      *crew
	metrics   *remote.Metrics
	transport http.RoundTripper // for all servers, in place of their configuration; nil: none
	seed      uint64

	mu      sync.Mutex // guards what follows
	servers map[string]*server
	order   []string // as in the file
}

// server is one backend, its configuration, and how it ends.
type server struct {
	*remote.Backend
	config config.Backend
	stop   func()
}

func newBackends(embedded provider.Backend, c *crew, metrics *remote.Metrics, transport http.RoundTripper) *backends {
	return &backends{
		embedded: embedded, crew: c, metrics: metrics, transport: transport,
		seed: rand.Uint64(), // two replicas do not ask a server at the same moment
	}
}

// get returns the evaluator that rules call by that name.
func (b *backends) get(name string) (provider.Backend, bool) {
	if name == config.ScrapeBackend {
		return b.embedded, true
	}
	return b.server(name)
}

func (b *backends) server(name string) (*server, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, ok := b.servers[name]
	return s, ok
}

// set puts these in force: one whose configuration stays the same goes on with what it knows. With an error, which
// names the backend at fault, nothing has changed.
func (b *backends) set(configs []config.Backend) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := make(map[string]*server, len(configs))
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
		next[c.Name] = &server{Backend: made, config: c}
	}
	for name, s := range b.servers {
		if next[name] != s {
			s.stop()
		}
	}
	for name, s := range next {
		if s.stop == nil {
			s.stop = b.crew.add("backend "+name, s.Run)
		}
	}
	b.servers, b.order = next, order
	return nil
}

// notes are lines for a person: how each server is.
func (b *backends) notes() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var notes []string
	for _, name := range b.order {
		notes = append(notes, b.servers[name].Notes()...)
	}
	return notes
}
