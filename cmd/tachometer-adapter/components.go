package main

import (
	"context"
	"sync"
)

// componentGroup are the components that come and go with the configuration. It is safe for concurrent use.
type componentGroup struct {
	failed chan error // holds the first that ended by itself
	wg     sync.WaitGroup

	mu      sync.Mutex // guards what follows, and all members
	ctx     context.Context
	waiting []*component // added before Run
}

// component is one component.
type component struct {
	name    string
	run     func(context.Context) error
	cancel  context.CancelFunc // nil: not started
	removed bool
}

func newComponentGroup() *componentGroup { return &componentGroup{failed: make(chan error, 1)} }

// addComponent runs a component from now on, or from Run on, until the returned function is called, which does not wait.
func (c *componentGroup) addComponent(name string, run func(context.Context) error) (stop func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := &component{name: name, run: run}
	if c.ctx == nil {
		c.waiting = append(c.waiting, m)
	} else {
		c.startComponent(c.ctx, m)
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		m.removed = true
		if m.cancel != nil {
			m.cancel()
		}
	}
}

// startComponent is called with c.mu held.
func (c *componentGroup) startComponent(ctx context.Context, m *component) {
	if m.removed || ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	m.cancel = cancel
	c.wg.Go(func() {
		defer cancel()
		if err := superviseComponent(ctx, m.name, m.run); err != nil {
			select {
			case c.failed <- err:
			default:
			}
		}
	})
}

// Run runs the components until ctx ends, or one of them does by itself, and returns when all have ended.
func (c *componentGroup) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.mu.Lock()
	c.ctx = ctx
	for _, m := range c.waiting {
		c.startComponent(ctx, m)
	}
	c.waiting = nil
	c.mu.Unlock()
	var err error
	select {
	case <-ctx.Done():
	case err = <-c.failed:
	}
	c.mu.Lock() // nothing is started after this
	cancel()
	c.mu.Unlock()
	c.wg.Wait()
	return err
}
