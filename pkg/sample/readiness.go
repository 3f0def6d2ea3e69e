// This file serves /readyz and checks the dependencies.

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

// servicePhase is a phase of the service's life; phases only advance.
type servicePhase int32

const (
	phaseStarting servicePhase = iota // waiting for the start-up jitter
	phaseServing                      // ready, if its dependencies are
	phaseDraining                     // after SIGTERM
)

// dependencyCheckTTL is the lifetime of a check's result: a dependency gets at most one ping a second from each pod,
// however often a prober requests /readyz.
const dependencyCheckTTL = time.Second

// readiness answers /readyz. It may be used concurrently.
type readiness struct {
	phase  atomic.Int32
	checks []*dependencyCheck
}

func (r *readiness) enterSampleReadinessPhase(p servicePhase) { r.phase.Store(int32(p)) }

func (r *readiness) isInSampleReadinessPhase(p servicePhase) bool {
	return servicePhase(r.phase.Load()) == p
}

// checkSampleReadiness returns the reason why the service is not ready at now, or nil. It checks the dependencies only in
// phaseServing: the start-up jitter must spare them, and their state does not matter while the service drains.
func (r *readiness) checkSampleReadiness(ctx context.Context, now time.Time) error {
	switch servicePhase(r.phase.Load()) {
	case phaseStarting:
		return errors.New("starting: waiting for the start-up jitter")
	case phaseDraining:
		return errors.New("draining: told to end")
	case phaseServing:
	}
	return r.pingSampleDependencies(ctx, now)
}

// pingSampleDependencies returns the first dependency's error, or nil.
func (r *readiness) pingSampleDependencies(ctx context.Context, now time.Time) error {
	for _, c := range r.checks {
		if err := c.pingSampleDependency(ctx, now); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

func (r *readiness) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if err := r.checkSampleReadiness(req.Context(), time.Now()); err != nil {
		http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	writeSampleResponseText(w, "ready\n")
}

// dependencyCheck pings a dependency, bounded in time, and keeps the result for dependencyCheckTTL.
type dependencyCheck struct {
	name    string
	timeout time.Duration
	ping    func(context.Context) error

	mu   sync.Mutex // guards at and last; concurrent callers wait for one ping and share its result
	at   time.Time
	last error
}

func (c *dependencyCheck) pingSampleDependency(ctx context.Context, now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.at.IsZero() && now.Sub(c.at) < dependencyCheckTTL {
		return c.last
	}
	// Callers share the result: a prober that hangs up must not make the ping fail for the next prober.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.timeout)
	defer cancel()
	c.at, c.last = now, c.ping(ctx)
	return c.last
}
