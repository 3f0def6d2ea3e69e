package main

import (
	"context"
	"sync"
)

// crew are the components that come and go with the configuration. It is safe for concurrent use.
type crew struct {
	failed chan error // holds the first that ended by itself
	wg     sync.WaitGroup

	mu      sync.Mutex // guards what follows, and all members
	ctx     context.Context
	waiting []*member // added before Run
}

// member is one component.
type member struct {
	name    string
	run     func(context.Context) error
	cancel  context.CancelFunc // nil: not started
	dropped bool
}

func newCrew() *crew { return &crew{failed: make(chan error, 1)} }

// add runs a component from now on, or from Run on, until the returned function is called, which does not wait.
func (c *crew) add(name string, run func(context.Context) error) (stop func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := &member{name: name, run: run}
	if c.ctx == nil {
		c.waiting = append(c.waiting, m)
	} else {
		c.start(c.ctx, m)
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		m.dropped = true
		if m.cancel != nil {
			m.cancel()
		}
	}
}

// start is called with c.mu held.
func (c *crew) start(ctx context.Context, m *member) {
	if m.dropped || ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	m.cancel = cancel
	c.wg.Go(func() {
		defer cancel()
		if err := supervise(ctx, m.name, m.run); err != nil {
			select {
			case c.failed <- err:
			default:
			}
		}
	})
}

// Run runs the components until ctx ends, or one of them does by itself, and returns when all have ended.
func (c *crew) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.mu.Lock()
	c.ctx = ctx
	for _, m := range c.waiting {
		c.start(ctx, m)
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
