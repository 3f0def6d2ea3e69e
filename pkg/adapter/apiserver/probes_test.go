package apiserver

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestStrangersImpersonateNobody: a request without credentials for another identity costs no review, on an open path too.
func TestStrangersImpersonateNobody(t *testing.T) {
	t.Parallel()
	r := serve(t, Health{})
	eventually(t, "serving", r.answers(t))
	client, before := r.dialFrom(2, false), r.kube.accessReviews.Load()
	for _, name := range []string{"Impersonate-User", "impersonate-group", "Impersonate-Uid", "Impersonate-Extra-Scopes"} {
		for _, path := range []string{"/healthz", "/livez", "/readyz", podsPath} {
			if code, body := r.ask(t, client, path, http.Header{name: {"reader"}}); code != http.StatusUnauthorized {
				t.Errorf("%s with %s: %d %s", path, name, code, body)
			}
		}
	}
	if n := r.kube.accessReviews.Load() - before; n != 0 {
		t.Errorf("%d SubjectAccessReviews for strangers", n)
	}
}

// TestProbesPassTheChain: the health paths are answered in front of the handler chain, and no other open path is.
func TestProbesPassTheChain(t *testing.T) {
	t.Parallel()
	chain := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGatewayTimeout) })
	health := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	verifier := newFrontProxyVerifier(newProxyConfig(t, newProxyAuthority(t)))
	isOpen := func(path string) bool { return path != podsPath && path != "/healthz" }
	admission := newRequestAdmission(chain, defaultServerLimits(), isOpen, newProvenFrontProxyCredentials(), verifier, newMetrics(nil))
	admission.health = newProbeHandler(health)
	for path, want := range map[string]int{
		"/livez": 200, "/readyz": 200, "/readyz?verbose": 200, "/metrics": 504, "/readyz/ping": 504, "/livez/": 504, podsPath: 401,
		"/healthz": 401, // closed by the operator
	} {
		w := httptest.NewRecorder()
		if admission.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, http.NoBody)); w.Code != want {
			t.Errorf("%s: %d, want %d", path, w.Code, want)
		}
	}
}
