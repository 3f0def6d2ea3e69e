package apiserver

import (
	"fmt"
	"net/http"

	"k8s.io/apiserver/pkg/server/healthz"
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
	// Notes returns lines for /readyz?verbose, without effect on its result. They are readable without
	// authentication. Nil for none.
	Notes func() []string
}

func toHealthCheckers(checks []Check) []healthz.HealthChecker {
	out := make([]healthz.HealthChecker, len(checks))
	for i, c := range checks {
		out[i] = healthz.NamedCheck(c.Name, func(*http.Request) error { return c.Test() })
	}
	return out
}

// explainHealth adds the reasons of failing checks and the notes to the response of the generic server, which withholds
// reasons. No reason is secret, and an operator needs the cause of a pod that is not ready.
func (h Health) explainHealth(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r)
		switch r.URL.Path {
		case "/livez":
			writeFailedChecks(w, h.Live)
		case "/readyz":
			writeFailedChecks(w, h.Ready)
			if h.Notes == nil || !r.URL.Query().Has("verbose") {
				return
			}
			for _, note := range h.Notes() {
				fmt.Fprintf(w, "[i]%s\n", note)
			}
		}
	})
}

func writeFailedChecks(w http.ResponseWriter, checks []Check) {
	for _, c := range checks {
		if err := c.Test(); err != nil {
			fmt.Fprintf(w, "[i]%s: %v\n", c.Name, err)
		}
	}
}
