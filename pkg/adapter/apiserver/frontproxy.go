package apiserver

import (
	"crypto/tls"
	"net/http"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/authenticatorfactory"
	x509request "k8s.io/apiserver/pkg/authentication/request/x509"
)

// frontProxyVerifier recognizes connections of kube-apiserver's front proxy by their client certificate.
type frontProxyVerifier struct{ certificates authenticator.Request }

// newFrontProxyVerifier returns a verifier that trusts no connection if config is nil.
func newFrontProxyVerifier(config *authenticatorfactory.RequestHeaderConfig) frontProxyVerifier {
	if config == nil {
		return frontProxyVerifier{}
	}
	proven := authenticator.RequestFunc(func(*http.Request) (*authenticator.Response, bool, error) { return nil, true, nil })
	return frontProxyVerifier{x509request.NewDynamicCAVerifier(config.CAContentProvider.VerifyOptions, proven, config.AllowedClientNames)}
}

// isFrontProxy reports whether the peer has proven to be the front proxy. It decides about limits alone: the
// authenticator verifies the certificate again for each request.
func (v frontProxyVerifier) isFrontProxy(state *tls.ConnectionState) bool {
	if v.certificates == nil || state == nil || len(state.PeerCertificates) == 0 {
		return false
	}
	_, ok, err := v.certificates.AuthenticateRequest(&http.Request{TLS: state})
	return ok && err == nil
}
