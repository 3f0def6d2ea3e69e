// The transport to prometheus-adapter's server: the credentials of a kubeconfig, and any headers.

package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/remote"
	"github.com/tachometer-metrics/tachometer/pkg/kube"
	"github.com/tachometer-metrics/tachometer/pkg/version"
)

// newServerTransport returns the transport that the flags describe; nil if the configuration of the backend says all.
func (p *prometheusOptions) newServerTransport() (http.RoundTripper, error) {
	base, err := p.newAuthTransport()
	if err != nil {
		return nil, err
	}
	headers := p.parseServerHeaders()
	if base != nil && headers.Get("Authorization") == "" {
		if u, err := url.Parse(p.url); err == nil && u.User != nil {
			password, _ := u.User.Password()
			r := http.Request{Header: headers}
			r.SetBasicAuth(u.User.Username(), password)
		}
	}
	if base == nil && len(headers) == 0 {
		return nil, nil
	}
	if base == nil {
		b, err := p.newFlaggedBackend()
		if err != nil {
			return nil, err
		}
		if base, err = remote.NewTransport(b); err != nil {
			return nil, fmt.Errorf("use the --prometheus flags: %w", err)
		}
	}
	if headers.Get("User-Agent") == "" {
		headers.Set("User-Agent", "tachometer/"+version.String())
	}
	return headerTransport{headers, base}, nil
}

// bodyHeaders describe a body or a connection. HTTP itself sets them.
var bodyHeaders = map[string]bool{
	"Accept-Encoding": true, "Connection": true, "Content-Encoding": true, "Content-Length": true, "Content-Type": true,
	"Keep-Alive": true, "Te": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true,
}

func (p *prometheusOptions) parseServerHeaders() http.Header {
	headers := http.Header{}
	for _, h := range p.headers {
		if name, value, _ := strings.Cut(h, "="); !bodyHeaders[http.CanonicalHeaderKey(name)] {
			headers.Add(name, value)
		}
	}
	return headers
}

// headerTransport sets headers of requests. They replace the request's own headers, and the credentials that next would add.
type headerTransport struct {
	headers http.Header
	next    http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t headerTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	for name, values := range t.headers {
		if name == "Host" {
			req.Host = values[0]
			continue
		}
		req.Header[name] = values
	}
	return t.next.RoundTrip(req)
}

// newAuthTransport returns a transport with the credentials of --prometheus-auth-config; nil without the flag, or, as in
// prometheus-adapter, with --prometheus-ca-file.
func (p *prometheusOptions) newAuthTransport() (http.RoundTripper, error) {
	if p.authConfig == "" || p.caFile != "" {
		return nil, nil
	}
	cfg, err := p.newServerKubeconfig().ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("read --prometheus-auth-config: %w", err)
	}
	if p.tokenFile != "" {
		cfg.BearerToken, cfg.BearerTokenFile = "", p.tokenFile
	}
	t, err := kube.NewBoundedTransport(cfg)
	if err != nil {
		return nil, fmt.Errorf("use --prometheus-auth-config: %w", err)
	}
	return t, nil
}

func (p *prometheusOptions) newServerKubeconfig() clientcmd.ClientConfig {
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		&clientcmd.ClientConfigLoadingRules{ExplicitPath: p.authConfig}, &clientcmd.ConfigOverrides{})
}

// describeUnusedAuth returns a line about credentials of --prometheus-auth-config that no request carries, or empty text.
// Like prometheus-adapter, client-go drops the credentials of a kubeconfig for a server without TLS.
func (p *prometheusOptions) describeUnusedAuth() string {
	if p.authConfig == "" {
		return ""
	}
	kubeconfig := p.newServerKubeconfig()
	raw, err := kubeconfig.RawConfig()
	if err != nil {
		return "" // newAuthTransport has the error
	}
	current := raw.Contexts[raw.CurrentContext]
	if current == nil || raw.AuthInfos[current.AuthInfo] == nil {
		return ""
	}
	user := raw.AuthInfos[current.AuthInfo]
	named := user.Username != "" || user.Token != "" || user.TokenFile != "" || user.ClientCertificate != "" || len(user.ClientCertificateData) > 0
	cfg, err := kubeconfig.ClientConfig()
	switch {
	case err != nil || !named:
		return ""
	case p.caFile != "":
		return fmt.Sprintf("user %q of --prometheus-auth-config is not used, because --prometheus-ca-file is given", current.AuthInfo)
	case !rest.IsConfigTransportTLS(*cfg):
		return fmt.Sprintf("user %q of --prometheus-auth-config is not used, because its server %s has no TLS; "+
			"use https, --prometheus-token-file or --prometheus-header", current.AuthInfo, cfg.Host)
	}
	return ""
}
