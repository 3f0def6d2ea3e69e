// OAuth 2 credentials, with bounds on the responses of the token server. The transport of Prometheus's library has none: it waits for a token server
// without an end, takes 10 MiB of headers, and sends the client's secret wherever a redirect says.

package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/golang-jwt/jwt/v5"
	promconfig "github.com/prometheus/common/config"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/tachometer-metrics/tachometer/pkg/protocolswitch"
	"github.com/tachometer-metrics/tachometer/pkg/version"
)

const (
	// signedAssertion is the grant by a signed assertion.
	signedAssertion = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	// maxTokenTime bounds a request to a token server. The library of the grant by a signed assertion does not know the end of the request that needs
	// the token.
	maxTokenTime = 10 * time.Second
)

// tokenRoundTripper adds a token to requests, and gets a new one when it expires or the secret changes. It is safe for concurrent use.
type tokenRoundTripper struct {
	config *promconfig.OAuth2
	secret promconfig.SecretReader // nil for none
	client *http.Client            // of the token server
	next   http.RoundTripper

	turn     chan struct{} // has an item while a request uses the rest
	token    *oauth2.Token // nil at first
	tokensOf string        // the secret that got it
}

func newTokenRoundTripper(c *promconfig.OAuth2, next http.RoundTripper) (*tokenRoundTripper, error) {
	secret, err := newOAuthSecret(c)
	if err != nil {
		return nil, err
	}
	transport, err := newBackendTLSTransport(&c.TLSConfig, func(secured *tls.Config) (http.RoundTripper, error) {
		return newBackendBaseTransport(&c.ProxyConfig, secured, true), nil
	})
	if err != nil {
		return nil, err
	}
	client := &http.Client{
		Transport: protocolswitch.Reject(promconfig.NewUserAgentRoundTripper("tachometer/"+version.String(), transport)),
		Timeout:   maxTokenTime, CheckRedirect: newRedirectPolicy(true),
	}
	return &tokenRoundTripper{config: c, secret: secret, client: client, next: next, turn: make(chan struct{}, 1)}, nil
}

// RoundTrip implements http.RoundTripper.
func (t *tokenRoundTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	token, err := t.obtainOAuthToken(r.Context())
	if err != nil {
		if r.Body != nil {
			_ = r.Body.Close() // as the interface demands
		}
		return nil, err
	}
	r = r.Clone(r.Context())
	token.SetAuthHeader(r)
	return t.next.RoundTrip(r)
}

// CloseIdleConnections closes the connections that http.Client.CloseIdleConnections means.
func (t *tokenRoundTripper) CloseIdleConnections() {
	t.client.CloseIdleConnections()
	(&http.Client{Transport: t.next}).CloseIdleConnections()
}

var errNoToken = fmt.Errorf("oauth2: no token within %v", maxTokenTime)

// obtainOAuthToken returns a valid token. One request at a time gets a new one, and the others wait for it, each to its own end.
func (t *tokenRoundTripper) obtainOAuthToken(ctx context.Context) (*oauth2.Token, error) {
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	secret := ""
	if t.secret != nil {
		var err error
		if secret, err = t.secret.Fetch(ctx); err != nil {
			return nil, fmt.Errorf("read the secret of oauth2: %w", err)
		}
	}
	if t.token.Valid() && secret == t.tokensOf {
		return t.token, nil
	}
	// The library tries two forms of a request, and keeps the text of an end of time only.
	limited, cancel := context.WithTimeout(ctx, maxTokenTime)
	defer cancel()
	token, err := t.newOAuthTokenSource(context.WithValue(limited, oauth2.HTTPClient, t.client), secret).Token()
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case limited.Err() != nil || errors.Is(err, context.DeadlineExceeded):
		return nil, errNoToken
	default:
		return nil, err
	}
	t.token, t.tokensOf = token, secret
	return token, nil
}

// newOAuthTokenSource returns a source of tokens as Prometheus's.
func (t *tokenRoundTripper) newOAuthTokenSource(ctx context.Context, secret string) oauth2.TokenSource {
	c, parameters := t.config, url.Values{}
	for key, value := range c.EndpointParams {
		parameters.Set(key, value)
	}
	if c.GrantType != signedAssertion {
		return (&clientcredentials.Config{
			ClientID: c.ClientID, ClientSecret: secret, Scopes: c.Scopes, TokenURL: c.TokenURL, EndpointParams: parameters,
		}).TokenSource(ctx)
	}
	issuer, method := c.Iss, jwt.SigningMethodRS256
	if issuer == "" {
		issuer = c.ClientID
	}
	for _, m := range []*jwt.SigningMethodRSA{jwt.SigningMethodRS384, jwt.SigningMethodRS512} {
		if m.Name == c.SignatureAlgorithm {
			method = m
		}
	}
	return (&promconfig.JwtGrantTypeConfig{
		PrivateKey: []byte(secret), PrivateKeyID: c.ClientCertificateKeyID, Scopes: c.Scopes, TokenURL: c.TokenURL, SigningAlgorithm: method,
		Iss: issuer, Subject: c.ClientID, Audience: c.Audience, PrivateClaims: c.Claims, EndpointParams: parameters,
	}).TokenSource(ctx)
}
