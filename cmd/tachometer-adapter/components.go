// The group of components that a reload adds and removes.

package main

import (
	"context"
	"sync"
)

// componentGroup runs the components that a reload adds and removes. It may be used concurrently.
type componentGroup struct {
	failed chan error // the error of the first component that ended by itself
	wg     sync.WaitGroup

	mu      sync.Mutex // guards the fields below, and the fields of all components
	ctx     context.Context
	waiting []*component // added before Run
}

type component struct {
	name    string
	run     func(context.Context) error
	cancel  context.CancelFunc // nil: not started
	removed bool
}

func newComponentGroup() *componentGroup {
	return &componentGroup{failed: make(chan error, 1)}
}

// addComponent starts a component: at once, or when Run begins. The returned function stops it, and does not wait for its end.
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

// startComponent starts a component that is not removed yet. The caller holds c.mu.
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

// Run runs the components until ctx ends or a component ends by itself. It returns after all of them have ended.
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
	c.mu.Lock() // no component starts after this
	cancel()
	c.mu.Unlock()
	c.wg.Wait()
	return err
}
