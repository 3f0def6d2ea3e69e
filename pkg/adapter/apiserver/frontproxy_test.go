package apiserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/authenticatorfactory"
	"k8s.io/apiserver/pkg/authentication/request/headerrequest"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
)

// authority signs certificates. As a CAContentProvider it is the one that front proxies must have theirs from.
type authority struct {
	dynamiccertificates.CAContentProvider
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pool        *x509.CertPool
}

func newAuthority(t *testing.T, now time.Time) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key, pool: x509.NewCertPool()}
	a.certificate = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.certificate = a.sign(t, a.certificate, key)
	a.pool.AddCert(a.certificate)
	return a
}

func (a *authority) sign(t *testing.T, what *x509.Certificate, of *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, what, a.certificate, of.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func (a *authority) client(t *testing.T, name string, until time.Time) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return a.sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotBefore: a.certificate.NotBefore, NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, key)
}

func (a *authority) VerifyOptions() (x509.VerifyOptions, bool) {
	return x509.VerifyOptions{Roots: a.pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, true
}

// asked is who the request is from, as both say who look at it: the one that remembers, and the library's.
func asked(t *testing.T, p *frontProxies, certificate *x509.Certificate) (name string, remembered bool) {
	t.Helper()
	ask := func(a authenticator.Request) string {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header = http.Header{"X-Remote-User": {"hpa"}, "X-Remote-Group": {"controllers"}, "X-Remote-Extra-Zone": {"a"}}
		if certificate != nil {
			r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{certificate}}
		}
		response, ok, err := a.AuthenticateRequest(r)
		if !ok || err != nil {
			return ""
		}
		want := &user.DefaultInfo{Name: "hpa", Groups: []string{"controllers", user.AllAuthenticated}, Extra: map[string][]string{"zone": {"a"}}}
		if d := cmp.Diff(want, response.User); d != "" {
			t.Errorf("user (-want +got):\n%s", d)
		}
		return response.User.GetName()
	}
	others := p.others
	defer func() { p.others = others }()
	counted := 0
	p.others = authenticator.RequestFunc(func(r *http.Request) (*authenticator.Response, bool, error) {
		counted++
		return others.AuthenticateRequest(r)
	})
	name = ask(p)
	return name, counted == 0
}

func TestFrontProxyIsRemembered(t *testing.T) {
	t.Parallel()
	now := time.Now()
	mine, other := newAuthority(t, now), newAuthority(t, now)
	names := headerrequest.StaticStringSlice{}
	config := &authenticatorfactory.RequestHeaderConfig{
		UsernameHeaders: headerrequest.StaticStringSlice{"X-Remote-User"}, UIDHeaders: headerrequest.StaticStringSlice{},
		GroupHeaders: headerrequest.StaticStringSlice{"X-Remote-Group"}, ExtraHeaderPrefixes: headerrequest.StaticStringSlice{"X-Remote-Extra-"},
		CAContentProvider: mine, AllowedClientNames: headerrequest.StringSliceProviderFunc(func() []string { return names }),
	}
	library, _, err := authenticatorfactory.DelegatingAuthenticatorConfig{RequestHeaderConfig: config}.New()
	if err != nil {
		t.Fatal(err)
	}
	at := now
	p := newFrontProxies(config, library, func() time.Time { return at })
	short := mine.client(t, "front-proxy", now.Add(20*time.Second))
	good := mine.client(t, "front-proxy", now.Add(time.Hour))
	for _, step := range []struct {
		name        string
		before      func()
		certificate *x509.Certificate
		want        string
	}{
		{"nobody", func() {}, nil, ""},
		{"a front proxy", func() {}, good, "hpa"},
		{"again", func() {}, good, "hpa"},
		{"one of another authority", func() {}, other.client(t, "front-proxy", now.Add(time.Hour)), ""},
		{"one whose certificate ends soon", func() {}, short, "hpa"},
		{"a name that is not allowed", func() { names = headerrequest.StaticStringSlice{"somebody"} }, good, ""},
		{"one that is", func() { names = headerrequest.StaticStringSlice{"front-proxy"} }, good, "hpa"},
		{"another authority instead", func() { config.CAContentProvider.(*authority).pool = other.pool }, good, ""},
	} {
		step.before()
		if got, _ := asked(t, p, step.certificate); got != step.want {
			t.Errorf("%s: from %q, want %q", step.name, got, step.want)
		}
	}
	mine.pool = x509.NewCertPool()
	mine.pool.AddCert(mine.certificate)
	if got, remembered := asked(t, p, good); got != "hpa" || !remembered {
		t.Errorf("by the first authority again: %q, remembered %t", got, remembered)
	}
	at = now.Add(30 * time.Second)
	if p.isPlausible(short, at) {
		t.Error("a certificate that has ended is believed")
	}
	if p.verified[string(good.Raw)].until.After(now.Add(verifiedFor)) {
		t.Error("a signature is believed for longer than it should be")
	}
}
