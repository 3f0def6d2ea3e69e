// prometheus-adapter's flags, and the remote backend that they describe.

package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	promconfig "github.com/prometheus/common/config"
	"github.com/spf13/pflag"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
)

// legacyBackend names the one server of a prometheus-adapter configuration.
const legacyBackend = "prometheus"

// The files of a pod's service account.
const (
	serviceAccountCA    = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
	serviceAccountToken = "/var/run/secrets/kubernetes.io/serviceaccount/token" //nolint:gosec // a path, no credential
)

// prometheusOptions holds the flags of prometheus-adapter: they describe its one server.
type prometheusOptions struct {
	url, authConfig            string
	authInCluster              bool
	caFile, certFile, keyFile  string
	tokenFile, verb            string
	headers                    []string
	relistInterval, metricsAge time.Duration
	flags                      *pflag.FlagSet // tells which flags were given; nil: none
}

func newPrometheusOptions() prometheusOptions {
	return prometheusOptions{
		url: "https://localhost", verb: http.MethodGet, // prometheus-adapter's own defaults
		relistInterval: 10 * time.Minute,
	}
}

func (p *prometheusOptions) addPrometheusFlags(fs *pflag.FlagSet) {
	p.flags = fs
	fs.StringVar(&p.url, "prometheus-url", p.url, "base `url` of the server that a prometheus-adapter configuration queries")
	fs.BoolVar(&p.authInCluster, "prometheus-auth-incluster", p.authInCluster,
		"use the service account's token and certificate authority for the server")
	fs.StringVar(&p.authConfig, "prometheus-auth-config", p.authConfig, "kubeconfig `file` with the credentials for the server")
	fs.StringVar(&p.caFile, "prometheus-ca-file", p.caFile, "`file` with the certificate authorities of the server")
	fs.StringVar(&p.certFile, "prometheus-client-tls-cert-file", p.certFile, "`file` with the client certificate for the server")
	fs.StringVar(&p.keyFile, "prometheus-client-tls-key-file", p.keyFile, "`file` with the key of the client certificate")
	fs.StringVar(&p.tokenFile, "prometheus-token-file", p.tokenFile,
		"`file` with the bearer token for the server, read again when it changes")
	fs.StringArrayVar(&p.headers, "prometheus-header", p.headers, "`header` for the server, NAME=VALUE; may be repeated")
	fs.StringVar(&p.verb, "prometheus-verb", p.verb, "HTTP `method` of queries, GET or POST")
	fs.DurationVar(&p.relistInterval, "metrics-relist-interval", p.relistInterval, "`time` between two listings of the server's series")
	fs.DurationVar(&p.metricsAge, "metrics-max-age", p.metricsAge,
		"greatest `age` of the last sample of a listed series; 0: --metrics-relist-interval")
}

// validatePrometheusFlags returns every fault of the flags at once.
func (p *prometheusOptions) validatePrometheusFlags() error {
	var errs []error
	if p.relistInterval <= 0 {
		errs = append(errs, fmt.Errorf("--metrics-relist-interval is not positive: %s", p.relistInterval))
	}
	if p.metricsAge != 0 && p.metricsAge < p.relistInterval {
		errs = append(errs, fmt.Errorf("--metrics-max-age %s is shorter than --metrics-relist-interval %s: metrics would come and go",
			p.metricsAge, p.relistInterval))
	}
	if (p.certFile == "") != (p.keyFile == "") {
		errs = append(errs, errors.New("--prometheus-client-tls-cert-file and --prometheus-client-tls-key-file go together"))
	}
	if p.verb != http.MethodGet && p.verb != http.MethodPost {
		errs = append(errs, fmt.Errorf("--prometheus-verb is %q, neither GET nor POST", p.verb))
	}
	if u, err := url.Parse(p.url); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		errs = append(errs, errors.New("--prometheus-url must be http://HOST:PORT/PATH or https://HOST:PORT/PATH"))
	} else if path := config.FindAPIPath(u); path != "" {
		errs = append(errs, fmt.Errorf("--prometheus-url must be the base address; remove %s, which each request adds", path))
	}
	for _, h := range p.headers {
		if name, _, ok := strings.Cut(h, "="); !ok || name == "" {
			errs = append(errs, fmt.Errorf("--prometheus-header of %d characters is not NAME=VALUE", len(h))) // it may be a secret
		}
	}
	return errors.Join(errs...)
}

// rejectPrometheusFlags returns an error if any of the flags is given: they need a configuration in prometheus-adapter's format.
func (p *prometheusOptions) rejectPrometheusFlags(where string) error {
	var given []string
	if p.flags != nil {
		p.flags.VisitAll(func(f *pflag.Flag) {
			if f.Changed {
				given = append(given, "--"+f.Name)
			}
		})
	}
	if len(given) == 0 {
		return nil
	}
	return fmt.Errorf("%s %s would have no effect: they need a configuration in prometheus-adapter's format; "+
		"in Tachometer's format, servers are listed under backends", strings.Join(given, ", "), where)
}

// newFlaggedBackend returns the backend that the flags describe, without the headers.
func (p *prometheusOptions) newFlaggedBackend() (config.Backend, error) {
	u, err := url.Parse(p.url)
	if err != nil {
		return config.Backend{}, errors.New("--prometheus-url is not a valid URL")
	}
	b := config.Backend{Name: legacyBackend, Method: p.verb, HTTP: promconfig.DefaultHTTPClientConfig}
	if u.User != nil {
		password, _ := u.User.Password()
		b.HTTP.BasicAuth = &promconfig.BasicAuth{Username: u.User.Username(), Password: promconfig.Secret(password)}
		u.User = nil
	}
	b.URL = u.String()
	b.HTTP.TLSConfig = promconfig.TLSConfig{CAFile: p.caFile, CertFile: p.certFile, KeyFile: p.keyFile}
	if p.authInCluster && p.caFile == "" && p.authConfig == "" {
		b.HTTP.TLSConfig.CAFile = serviceAccountCA
		b.HTTP.Authorization = &promconfig.Authorization{Type: "Bearer", CredentialsFile: serviceAccountToken}
	}
	if p.tokenFile != "" {
		b.HTTP.Authorization = &promconfig.Authorization{Type: "Bearer", CredentialsFile: p.tokenFile}
	}
	if b.HTTP.BasicAuth != nil {
		b.HTTP.Authorization = nil // as in prometheus-adapter, the user in the URL comes first
	}
	if err := b.HTTP.Validate(); err != nil {
		return b, fmt.Errorf("check the --prometheus flags: %w", err)
	}
	b.SetDefaults()
	return b, nil
}
