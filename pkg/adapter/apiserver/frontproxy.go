package apiserver

import (
	"crypto/x509"
	"net/http"
	"slices"
	"sync"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/authenticatorfactory"
	"k8s.io/apiserver/pkg/authentication/group"
	"k8s.io/apiserver/pkg/authentication/request/headerrequest"
	x509request "k8s.io/apiserver/pkg/authentication/request/x509"
)

const (
	// verifiedFor is how long a front proxy's certificate is believed before its signatures are verified again; as long
	// as a permission is. Its dates, its name, and which authorities there are, are looked at every time.
	verifiedFor = time.Minute
	// maxVerified bounds the certificates remembered: there is one for each kube-apiserver.
	maxVerified = 100
)

// frontProxies authenticates what kube-apiserver passes on as the library does, but does not verify the signature of a
// connection's certificate with each request again: 0.09 ms of 0.39 that a read cost before it was looked at.
type frontProxies struct {
	config  *authenticatorfactory.RequestHeaderConfig
	verify  authenticator.Request // of the certificate alone
	headers authenticator.Request // of the user named by the request, whoever asks
	others  authenticator.Request // the library's own, which does all of it
	now     func() time.Time

	mu       sync.Mutex // guards verified
	verified map[string]verifiedCertificate
}

// verifiedCertificate is one that went well.
type verifiedCertificate struct {
	roots *x509.CertPool
	until time.Time
}

// newFrontProxies authenticates front proxies by config, and what is from none of them by others.
func newFrontProxies(config *authenticatorfactory.RequestHeaderConfig, others authenticator.Request, now func() time.Time) *frontProxies {
	yes := authenticator.RequestFunc(func(*http.Request) (*authenticator.Response, bool, error) {
		return &authenticator.Response{}, true, nil
	})
	return &frontProxies{
		config: config,
		verify: x509request.NewDynamicCAVerifier(config.CAContentProvider.VerifyOptions, yes, config.AllowedClientNames),
		headers: group.NewAuthenticatedGroupAdder(headerrequest.NewDynamic(
			config.UsernameHeaders, config.UIDHeaders, config.GroupHeaders, config.ExtraHeaderPrefixes)),
		others: others, now: now, verified: map[string]verifiedCertificate{},
	}
}

var _ authenticator.Request = (*frontProxies)(nil)

// AuthenticateRequest implements authenticator.Request.
func (p *frontProxies) AuthenticateRequest(r *http.Request) (*authenticator.Response, bool, error) {
	if p.isFrontProxy(r) {
		if response, ok, err := p.headers.AuthenticateRequest(r); ok && err == nil {
			return response, ok, nil
		}
	}
	return p.others.AuthenticateRequest(r)
}

// isFrontProxy tells whether the request is from a front proxy.
func (p *frontProxies) isFrontProxy(r *http.Request) bool {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return false
	}
	options, ok := p.config.CAContentProvider.VerifyOptions()
	if !ok {
		return false
	}
	leaf, now := r.TLS.PeerCertificates[0], p.now()
	p.mu.Lock()
	known, found := p.verified[string(leaf.Raw)]
	p.mu.Unlock()
	if found && known.roots == options.Roots && now.Before(known.until) && p.isPlausible(leaf, now) {
		return true
	}
	if _, ok, err := p.verify.AuthenticateRequest(r); !ok || err != nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.verified) >= maxVerified {
		clear(p.verified)
	}
	p.verified[string(leaf.Raw)] = verifiedCertificate{roots: options.Roots, until: now.Add(verifiedFor)}
	return true
}

// isPlausible looks at what does not need a signature.
func (p *frontProxies) isPlausible(leaf *x509.Certificate, now time.Time) bool {
	names := p.config.AllowedClientNames.Value()
	return !now.Before(leaf.NotBefore) && !now.After(leaf.NotAfter) &&
		(len(names) == 0 || slices.Contains(names, leaf.Subject.CommonName))
}
