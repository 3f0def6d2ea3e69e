package sample

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// servicePhase is where the service is in its life; it only goes forward.
type servicePhase int32

const (
	phaseStarting servicePhase = iota // waiting for the start-up jitter
	phaseServing                      // ready as far as the service itself goes
	phaseDraining                     // told to end
)

// dependencyCheckTTL is how long one answer of a dependency holds: however often /readyz is asked, the dependency sees at most
// one ping a second from each pod.
const dependencyCheckTTL = time.Second

// readiness answers /readyz. It may be used concurrently.
type readiness struct {
	phase  atomic.Int32
	checks []*dependencyCheck
}

func (r *readiness) enterPhase(p servicePhase) { r.phase.Store(int32(p)) }

func (r *readiness) isInPhase(p servicePhase) bool { return servicePhase(r.phase.Load()) == p }

// checkReady returns why the service is not ready at now, or nil. Only a serving service asks its dependencies: while it
// waits for the start-up jitter it must leave them alone, and while it drains their state does not matter.
func (r *readiness) checkReady(ctx context.Context, now time.Time) error {
	switch servicePhase(r.phase.Load()) {
	case phaseStarting:
		return errors.New("starting: waiting for the start-up jitter")
	case phaseDraining:
		return errors.New("draining: told to end")
	}
	return r.checkDependencies(ctx, now)
}

// checkDependencies returns the first dependency's error, or nil.
func (r *readiness) checkDependencies(ctx context.Context, now time.Time) error {
	for _, c := range r.checks {
		if err := c.checkDependency(ctx, now); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

func (r *readiness) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if err := r.checkReady(req.Context(), time.Now()); err != nil {
		http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	writeText(w, "ready\n")
}

// dependencyCheck asks one dependency, bounded in time, and remembers the answer for checkTTL.
type dependencyCheck struct {
	name    string
	timeout time.Duration
	ping    func(context.Context) error

	mu   sync.Mutex // guards what follows, and lets one caller ask while the others wait for its answer
	at   time.Time
	last error
}

func (c *dependencyCheck) checkDependency(ctx context.Context, now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.at.IsZero() && now.Sub(c.at) < dependencyCheckTTL {
		return c.last
	}
	// The answer is shared: a prober that hangs up must not make it a failure for the next one.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.timeout)
	defer cancel()
	c.at, c.last = now, c.ping(ctx)
	return c.last
}
