package main

import (
	"context"
	"sync"
)

// crew are the components that come and go with the configuration. It is safe for concurrent use.
type crew struct {
	failed chan error // holds the first that ended by itself
	wg     sync.WaitGroup

	mu      sync.Mutex // guards what follows
	ctx     context.Context
	waiting []func(context.Context) // added before Run
}

func newCrew() *crew { return &crew{failed: make(chan error, 1)} }

// add runs a component from now on, or from Run on, until the returned function is called, which does not wait.
func (c *crew) add(name string, run func(context.Context) error) (stop func()) {
	gone, stop := context.WithCancel(context.Background())
	start := func(ctx context.Context) {
		ctx, cancel := context.WithCancel(ctx)
		release := context.AfterFunc(gone, cancel)
		c.wg.Go(func() {
			defer release()
			defer cancel()
			if err := supervise(ctx, name, run); err != nil {
				select {
				case c.failed <- err:
				default:
				}
			}
		})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx == nil {
		c.waiting = append(c.waiting, start)
	} else if c.ctx.Err() == nil {
		start(c.ctx)
	}
	return stop
}

// Run runs the components until ctx ends, or one of them does by itself, and returns when all have ended.
func (c *crew) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	c.mu.Lock()
	c.ctx = ctx
	for _, start := range c.waiting {
		start(ctx)
	}
	c.waiting = nil
	c.mu.Unlock()
	var err error
	select {
	case <-ctx.Done():
	case err = <-c.failed:
	}
	c.mu.Lock() // nothing is added after this
	cancel()
	c.mu.Unlock()
	c.wg.Wait()
	return err
}
