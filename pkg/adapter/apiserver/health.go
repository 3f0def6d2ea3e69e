package apiserver

import (
	"fmt"
	"net/http"

	"k8s.io/apiserver/pkg/server/healthz"
)

// Check is one line of a health endpoint. Test returns nil if all is well; it is called for every request, at the same
// time by several, and must not block.
type Check struct {
	Name string
	Test func() error
}

// Health is what the health endpoints tell.
type Health struct {
	// Live are the checks of /livez: a failure means that only a restart helps.
	Live []Check
	// Ready are the checks of /readyz: a failure keeps requests away.
	Ready []Check
	// Notes are lines for a person who asks /readyz?verbose; they change nothing. They may be read without
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

// explainHealth adds the reasons of failing checks and the notes to what the generic server answers, which withholds
// reasons. Nothing here is secret, and whoever looks at a pod that is not ready wants to know why.
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
