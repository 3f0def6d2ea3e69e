// The transport to the servers of a backend: Prometheus's credentials and TLS, with a bound on the headers of responses.

package remote

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"time"

	promconfig "github.com/prometheus/common/config"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
	"github.com/tachometer-metrics/tachometer/pkg/fieldlimit"
)

// NewTransport returns the transport of a backend. Prometheus's own constructor has no option for the bound of headers. It reads the files of
// authorities, certificates and credentials again when they change.
func NewTransport(b config.Backend) (http.RoundTripper, error) {
	transport, err := newBackendTransport(&b.HTTP)
	if err != nil {
		return nil, fmt.Errorf("configure the HTTP client of backend %q: %w", b.Name, err)
	}
	return transport, nil
}

func newBackendTransport(c *promconfig.HTTPClientConfig) (http.RoundTripper, error) {
	return newBackendTLSTransport(&c.TLSConfig, func(secured *tls.Config) (http.RoundTripper, error) {
		next, err := addServerCredentials(c, newBackendBaseTransport(&c.ProxyConfig, secured, c.EnableHTTP2))
		if err != nil {
			return nil, err
		}
		if c.HTTPHeaders != nil {
			next = promconfig.NewHeadersRoundTripper(c.HTTPHeaders, next)
		}
		return next, nil
	})
}

// newBackendTLSTransport returns a transport that build makes, again whenever a file of c changes.
func newBackendTLSTransport(c *promconfig.TLSConfig, build func(*tls.Config) (http.RoundTripper, error)) (http.RoundTripper, error) {
	secured, err := promconfig.NewTLSConfig(c)
	if err != nil {
		return nil, err
	}
	var files promconfig.TLSRoundTripperSettings
	files.CA, err = newSecretReader(promconfig.Secret(c.CA), c.CAFile, c.CARef)
	if err != nil {
		return nil, err
	}
	if files.Cert, err = newSecretReader(promconfig.Secret(c.Cert), c.CertFile, c.CertRef); err != nil {
		return nil, err
	}
	if files.Key, err = newSecretReader(c.Key, c.KeyFile, c.KeyRef); err != nil {
		return nil, err
	}
	return promconfig.NewTLSRoundTripper(secured, files, build)
}

// newBackendBaseTransport returns a transport as Prometheus's, with the bound.
func newBackendBaseTransport(c *promconfig.ProxyConfig, secured *tls.Config, http2 bool) *http.Transport {
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(http2)
	return &http.Transport{
		Proxy:                  c.Proxy(),
		ProxyConnectHeader:     c.GetProxyConnectHeader(),
		MaxIdleConnsPerHost:    1000, // as many as there are requests at a time
		DisableCompression:     true, // costs both sides more CPU than it saves
		IdleConnTimeout:        5 * time.Minute,
		TLSClientConfig:        secured,
		TLSHandshakeTimeout:    10 * time.Second,
		Protocols:              protocols,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: time.Minute},
		MaxResponseHeaderBytes: fieldlimit.MaxResponseHeaderBytes,
	}
}

// addServerCredentials adds the credentials of a configuration to the requests of next.
func addServerCredentials(c *promconfig.HTTPClientConfig, next http.RoundTripper) (http.RoundTripper, error) {
	if a := c.Authorization; a != nil {
		credentials, err := newSecretReader(a.Credentials, a.CredentialsFile, a.CredentialsRef)
		if err != nil {
			return nil, err
		}
		next = promconfig.NewAuthorizationCredentialsRoundTripper(a.Type, credentials, next)
	}
	if a := c.BasicAuth; a != nil {
		username, err := newSecretReader(promconfig.Secret(a.Username), a.UsernameFile, a.UsernameRef)
		if err != nil {
			return nil, err
		}
		password, err := newSecretReader(a.Password, a.PasswordFile, a.PasswordRef)
		if err != nil {
			return nil, err
		}
		next = promconfig.NewBasicAuthRoundTripper(username, password, next)
	}
	if a := c.OAuth2; a != nil {
		return newTokenRoundTripper(a, next)
	}
	return next, nil
}

// newOAuthSecret returns what proves a client to its token server: a key for the grant by a signed assertion, else a secret.
func newOAuthSecret(a *promconfig.OAuth2) (promconfig.SecretReader, error) {
	if a.GrantType == signedAssertion {
		return newSecretReader(a.ClientCertificateKey, a.ClientCertificateKeyFile, a.ClientCertificateKeyRef)
	}
	return newSecretReader(a.ClientSecret, a.ClientSecretFile, a.ClientSecretRef)
}

// newSecretReader returns a text or the text of a file; nil for neither.
func newSecretReader(text promconfig.Secret, file, ref string) (promconfig.SecretReader, error) {
	switch {
	case text != "":
		return promconfig.NewInlineSecret(string(text)), nil
	case file != "":
		return promconfig.NewFileSecret(file), nil
	case ref != "":
		return nil, errors.New("keys with _ref need Prometheus's secret providers; use the key with _file")
	}
	return nil, nil //nolint:nilnil // no secret is no error: the library asks nothing of nil
}
