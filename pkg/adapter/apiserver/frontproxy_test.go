package apiserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	apiserverapi "k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/authenticatorfactory"
	"k8s.io/apiserver/pkg/authentication/request/headerrequest"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
)

// proxyAuthority issues client certificates of front proxies.
type proxyAuthority struct {
	key         *ecdsa.PrivateKey
	certificate *x509.Certificate
}

func newProxyAuthority(t testing.TB) proxyAuthority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := proxyAuthority{key: key}
	a.certificate = a.issueClient(t, &x509.Certificate{Subject: pkix.Name{CommonName: "ca"}, IsCA: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// issueClient completes and signs a template: it is valid for an hour, unless the template says otherwise.
func (a proxyAuthority) issueClient(t testing.TB, template *x509.Certificate) *x509.Certificate {
	t.Helper()
	template.SerialNumber, template.BasicConstraintsValid = big.NewInt(1), true
	if template.NotAfter.IsZero() {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	parent := a.certificate
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	issued, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return issued
}

// newProxyConfig returns the library's configuration for the front proxies of an authority with these names; none: any name.
func newProxyConfig(t testing.TB, a proxyAuthority, names ...string) *authenticatorfactory.RequestHeaderConfig {
	t.Helper()
	ca, err := dynamiccertificates.NewStaticCAContent("test", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw}))
	if err != nil {
		t.Fatal(err)
	}
	return &authenticatorfactory.RequestHeaderConfig{
		UsernameHeaders: headerrequest.StaticStringSlice{"X-Remote-User"}, UIDHeaders: headerrequest.StaticStringSlice{},
		GroupHeaders: headerrequest.StaticStringSlice{}, ExtraHeaderPrefixes: headerrequest.StaticStringSlice{},
		CAContentProvider: ca, AllowedClientNames: headerrequest.StaticStringSlice(names),
	}
}

func newProxyState(certificates ...*x509.Certificate) *tls.ConnectionState {
	return &tls.ConnectionState{PeerCertificates: certificates}
}

// TestFrontProxyAsTheLibrary: a connection gets the front proxy's limits where, and only where, the library takes the identity of a request
// over it from its headers.
func TestFrontProxyAsTheLibrary(t *testing.T) {
	t.Parallel()
	authority, other := newProxyAuthority(t), newProxyAuthority(t)
	client := func(name string) *x509.Certificate {
		return &x509.Certificate{Subject: pkix.Name{CommonName: name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	}
	server := client("front-proxy")
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	ended, later := client("front-proxy"), client("front-proxy")
	ended.NotBefore, ended.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	later.NotBefore, later.NotAfter = time.Now().Add(time.Hour), time.Now().Add(2*time.Hour)
	own := authority.issueClient(t, client("front-proxy"))
	for name, tc := range map[string]struct {
		state *tls.ConnectionState
		names []string
		want  bool
	}{
		"its certificate":           {newProxyState(own), []string{"front-proxy"}, true},
		"one of two names":          {newProxyState(own), []string{"aggregator", "front-proxy"}, true},
		"any name":                  {newProxyState(authority.issueClient(t, client("x"))), nil, true},
		"another name":              {newProxyState(authority.issueClient(t, client("kubelet"))), []string{"front-proxy"}, false},
		"no name":                   {newProxyState(authority.issueClient(t, client(""))), []string{"front-proxy"}, false},
		"another authority":         {newProxyState(other.issueClient(t, client("front-proxy"))), []string{"front-proxy"}, false},
		"behind a stranger's":       {newProxyState(other.issueClient(t, client("front-proxy")), own), []string{"front-proxy"}, false},
		"before a stranger's":       {newProxyState(own, other.issueClient(t, client("front-proxy"))), []string{"front-proxy"}, true},
		"expired":                   {newProxyState(authority.issueClient(t, ended)), []string{"front-proxy"}, false},
		"not valid yet":             {newProxyState(authority.issueClient(t, later)), []string{"front-proxy"}, false},
		"for servers":               {newProxyState(authority.issueClient(t, server)), []string{"front-proxy"}, false},
		"no certificate":            {newProxyState(), []string{"front-proxy"}, false},
		"no TLS":                    {nil, []string{"front-proxy"}, false},
		"the authority's own":       {newProxyState(authority.certificate), []string{"ca"}, true},
		"the authority's, any name": {newProxyState(authority.certificate), nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := newProxyConfig(t, authority, tc.names...)
			library, _, err := authenticatorfactory.DelegatingAuthenticatorConfig{
				Anonymous: &apiserverapi.AnonymousAuthConfig{}, RequestHeaderConfig: config,
			}.New()
			if err != nil {
				t.Fatal(err)
			}
			r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
			r.TLS = tc.state
			r.Header.Set("X-Remote-User", "somebody")
			_, takes, err := library.AuthenticateRequest(r)
			takes = takes && err == nil
			if got := newFrontProxyVerifier(config).isFrontProxyPeer(tc.state); got != takes || got != tc.want {
				t.Errorf("front proxy: %v, the library takes the identity: %v; want %v for both", got, takes, tc.want)
			}
		})
	}
}

// TestFrontProxyIsVerifiedOnce: a request over a connection of the front proxy costs no verification beside the library's.
func TestFrontProxyIsVerifiedOnce(t *testing.T) {
	t.Parallel()
	authority := newProxyAuthority(t)
	verifier := newFrontProxyVerifier(newProxyConfig(t, authority))
	verified, inner := 0, verifier.certificates
	verifier.certificates = authenticator.RequestFunc(func(r *http.Request) (*authenticator.Response, bool, error) {
		verified++
		return inner.AuthenticateRequest(r)
	})
	served := 0
	next := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served++ })
	admission := newRequestAdmission(next, defaultServerLimits(), func(string) bool { return false }, newProvenFrontProxyCredentials(), verifier, newMetrics(nil))
	state := newProxyState(authority.issueClient(t, &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}))
	if !verifier.isFrontProxyPeer(state) { // as at the handshake
		t.Fatal("the certificate is not the front proxy's")
	}
	for range 10 {
		r := httptest.NewRequest(http.MethodGet, "/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/*/queue", http.NoBody)
		r.TLS = state
		admission.ServeHTTP(httptest.NewRecorder(), r.WithContext(withFrontProxyMark(r.Context())))
	}
	if served != 10 || verified != 1 {
		t.Errorf("%d requests of 10 served, %d verifications; want one for the connection", served, verified)
	}
}

// TestFrontProxyVersion fails where the library has another minor version than the one that this path was compared with.
func TestFrontProxyVersion(t *testing.T) {
	t.Parallel()
	module, err := os.ReadFile("../../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if want := "\tk8s.io/apiserver " + comparedAPIServer + "."; !strings.Contains(string(module), want) {
		t.Errorf("go.mod has another k8s.io/apiserver than %s: read how authenticatorfactory's delegating authenticator verifies the front proxy, "+
			"and whether DefaultBuildHandlerChain still authenticates each request behind our bounds; then set comparedAPIServer", comparedAPIServer)
	}
}

// BenchmarkFrontProxyPeer is the cost of recognizing a connection.
func BenchmarkFrontProxyPeer(b *testing.B) {
	authority := newProxyAuthority(b)
	verifier := newFrontProxyVerifier(newProxyConfig(b, authority))
	state := newProxyState(authority.issueClient(b, &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}))
	for b.Loop() {
		if !verifier.isFrontProxyPeer(state) {
			b.Fatal("not recognized")
		}
	}
}
