// This file serves /readyz and checks the dependencies.

package sample

import (
	"context"
	"encoding/json"
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

// readinessHandler answers /readyz. It may be used concurrently.
type readinessHandler struct {
	phase  atomic.Int32
	checks []*dependencyCheck
}

func (r *readinessHandler) enterServicePhase(p servicePhase) { r.phase.Store(int32(p)) }

func (r *readinessHandler) isInServicePhase(p servicePhase) bool {
	return servicePhase(r.phase.Load()) == p
}

// healthReport is the answer of a probe.
type healthReport struct {
	Status string `json:"status"` // statusOK or statusUnavailable
	// Failed is the name of the first failed check.
	Failed string `json:"failed,omitempty"`
	// Checks maps the name of each check to statusOK or to its failure. A check that was not made is absent.
	Checks map[string]string `json:"checks,omitempty"`
}

const (
	statusOK          = "ok"
	statusUnavailable = "unavailable"
	// phaseCheck is the name of the check of the service's own phase.
	phaseCheck = "phase"
)

// addHealthCheck adds the result of a check.
func (h *healthReport) addHealthCheck(name string, err error) {
	if err == nil {
		h.Checks[name] = statusOK
		return
	}
	h.Checks[name] = err.Error()
	if h.Status = statusUnavailable; h.Failed == "" {
		h.Failed = name
	}
}

// reportReadiness makes the checks, and returns the error of the first that fails. It checks the dependencies only in phaseServing: the
// start-up jitter must spare them, and their state does not matter while the service drains.
func (r *readinessHandler) reportReadiness(ctx context.Context, now time.Time) (healthReport, error) {
	report := healthReport{Status: statusOK, Checks: map[string]string{}}
	var err error
	switch servicePhase(r.phase.Load()) {
	case phaseStarting:
		err = errors.New("starting: waiting for the start-up jitter")
	case phaseDraining:
		err = errors.New("draining: the program is stopping")
	case phaseServing:
	}
	report.addHealthCheck(phaseCheck, err)
	if err != nil {
		return report, err
	}
	return report, r.pingDependencies(ctx, now, &report)
}

// pingDependencies adds the result of each dependency to the report, and returns the first error, or nil.
func (r *readinessHandler) pingDependencies(ctx context.Context, now time.Time, report *healthReport) (first error) {
	for _, c := range r.checks {
		err := c.pingDependency(ctx, now)
		report.addHealthCheck(c.name, err)
		if err != nil && first == nil {
			first = fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return first
}

func (r *readinessHandler) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	report, _ := r.reportReadiness(req.Context(), time.Now()) // the report has the error
	writeHealthReport(w, report)
}

// serveLiveness answers that the process serves. It checks nothing else: a restart brings no dependency back.
func serveLiveness(w http.ResponseWriter, _ *http.Request) {
	writeHealthReport(w, healthReport{Status: statusOK})
}

func writeHealthReport(w http.ResponseWriter, report healthReport) {
	code := http.StatusOK
	if report.Status != statusOK {
		code = http.StatusServiceUnavailable
	}
	doc, err := json.Marshal(report)
	if err != nil {
		panic(err) // texts always marshal
	}
	writeResponseJSON(w, code, append(doc, '\n'))
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

func (c *dependencyCheck) pingDependency(ctx context.Context, now time.Time) error {
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
