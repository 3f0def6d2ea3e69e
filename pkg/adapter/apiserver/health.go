// The health endpoints, and their reasons for callers with a right to them.

package apiserver

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/server/healthz"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/retry"
)

// Check is one line of a health endpoint. Test returns nil if the check passes. It runs for every request,
// must not block, and must be safe for concurrent use.
type Check struct {
	Name string
	Test func() error
}

// Health are the checks and notes of the health endpoints.
type Health struct {
	// Live are the checks of /livez: a failure means that only a restart helps.
	Live []Check
	// Ready are the checks of /readyz: a failure keeps requests away.
	Ready []Check
	// Notes returns lines for /readyz?verbose, without effect on its result. Only callers with the right to get
	// healthDetailsPath read them. Nil for none.
	Notes func() []string
}

// healthDetailsPath is the non-resource URL; the right to get it shows the reasons of failing checks, and the notes, on the health
// endpoints. They name addresses and files. The health paths themselves are readable for everybody in every cluster.
const healthDetailsPath = "/debug/health"

// isHealthPath reports whether a path is of a health endpoint.
func isHealthPath(path string) bool {
	return path == "/healthz" || path == "/livez" || path == "/readyz"
}

// newProbeHandler returns the handler of the health endpoints for callers without credentials. It stands in front of the library's handler chain: an
// overload delays the chain's goroutines, locks and timeouts, and a kubelet waits for two seconds.
func newProbeHandler(health http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-cache, private")
		health.ServeHTTP(w, r)
	})
}

func toHealthCheckers(checks []Check) []healthz.HealthChecker {
	out := make([]healthz.HealthChecker, len(checks))
	for i, c := range checks {
		out[i] = healthz.NamedCheck(c.Name, func(*http.Request) error { return c.Test() })
	}
	return out
}

// healthExplainer adds the reasons of failing checks and the notes to the response of the generic server, which shows names
// alone. It logs the reasons too, for operators without the right to read them there.
type healthExplainer struct {
	health        Health
	details, wide authorizer.Authorizer // wide is for callers with wide identities
	log           *retry.Throttle
}

// healthDetailsTime bounds the wait for a decision. Probes of the health endpoints wait for seconds.
const healthDetailsTime = time.Second

func newHealthExplainer(health Health, details, wide authorizer.Authorizer) *healthExplainer {
	return &healthExplainer{health: health, details: details, wide: wide, log: &retry.Throttle{Interval: time.Minute}}
}

func (e *healthExplainer) explainHealthResponse(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r)
		var lines []string
		switch r.URL.Path {
		case "/livez":
			lines = e.describeFailedChecks(r, e.health.Live)
		case "/readyz":
			lines = e.describeFailedChecks(r, e.health.Ready)
		default:
			return
		}
		notes := r.URL.Path == "/readyz" && e.health.Notes != nil && r.URL.Query().Has("verbose")
		if !notes && len(lines) == 0 || !e.mayReadHealthDetails(r) {
			return
		}
		if notes {
			lines = append(lines, e.health.Notes()...)
		}
		for _, line := range lines {
			fmt.Fprintf(w, "[i]%s\n", line)
		}
	})
}

// mayReadHealthDetails reports whether the caller has the right to get healthDetailsPath.
func (e *healthExplainer) mayReadHealthDetails(r *http.Request) bool {
	caller, ok := request.UserFrom(r.Context())
	if !ok || caller.GetName() == user.Anonymous {
		return false
	}
	chosen := e.details
	if measureCallerIdentity(caller) > wideIdentityBytes {
		chosen = e.wide
	}
	ctx, cancel := context.WithTimeout(r.Context(), healthDetailsTime)
	defer cancel()
	decision, _, err := chosen.Authorize(ctx, authorizer.AttributesRecord{User: caller, Verb: "get", Path: healthDetailsPath})
	if err != nil && e.log.Allow("details", time.Now()) {
		klog.FromContext(r.Context()).Error(err, "Right to read health details not verified", "user", caller.GetName())
	}
	return decision == authorizer.DecisionAllow
}

func (e *healthExplainer) describeFailedChecks(r *http.Request, checks []Check) []string {
	var lines []string
	for _, c := range checks {
		err := c.Test()
		if err == nil {
			continue
		}
		lines = append(lines, fmt.Sprintf("%s: %v", c.Name, err))
		if e.log.Allow(c.Name, time.Now()) {
			klog.FromContext(r.Context()).Error(err, "Health check failed", "check", c.Name, "path", r.URL.Path)
		}
	}
	return lines
}
