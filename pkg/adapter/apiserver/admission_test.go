package apiserver

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"testing"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
)

// Only credentials that the authenticator accepted are remembered, each for itself.
func TestProvenCredentials(t *testing.T) {
	t.Parallel()
	newRequest := func(token, certificate string) *http.Request {
		r := httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody)
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		r.TLS = &tls.ConnectionState{}
		if certificate != "" {
			r.TLS.PeerCertificates = []*x509.Certificate{{Raw: []byte(certificate)}}
		}
		return r
	}
	for name, tc := range map[string]struct {
		token, certificate string
		accept             func(*http.Request) (string, bool)
		proven             bool
	}{
		"token":               {"a", "", func(r *http.Request) (string, bool) { r.Header.Del("Authorization"); return "u", true }, true},
		"unknown token":       {"a", "", func(*http.Request) (string, bool) { return "", false }, false},
		"token not looked at": {"a", "c", func(*http.Request) (string, bool) { return "u", true }, false},
		"certificate":         {"", "c", func(*http.Request) (string, bool) { return "u", true }, true},
		"anonymous":           {"", "c", func(*http.Request) (string, bool) { return user.Anonymous, true }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProvenFrontProxyCredentials()
			auth := p.recordProvenCredentials(authenticator.RequestFunc(func(r *http.Request) (*authenticator.Response, bool, error) {
				name, ok := tc.accept(r)
				return &authenticator.Response{User: &user.DefaultInfo{Name: name}}, ok, nil
			}))
			next := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				if _, _, err := auth.AuthenticateRequest(r); err != nil {
					t.Error(err)
				}
			})
			admission := &requestAdmission{proven: p, unproven: newClientAddressPlaces(1, 1), next: next}
			admission.serveWithCredentials(httptest.NewRecorder(), newRequest(tc.token, tc.certificate))
			if got := p.areCredentialsProven(hashRequestCredentials(newRequest(tc.token, tc.certificate))); got != tc.proven {
				t.Errorf("proven: %v, want %v", got, tc.proven)
			}
			if p.areCredentialsProven(hashRequestCredentials(newRequest("another", "another"))) {
				t.Error("other credentials are proven")
			}
		})
	}
}
