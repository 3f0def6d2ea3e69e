package resourcemetrics

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"k8s.io/client-go/rest"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/exposition"
)

// KubeletTLS says how a kubelet proves who it is.
type KubeletTLS struct {
	// CAFile holds the authorities that kubelets' certificates are signed by; empty means the cluster's own.
	CAFile string
	// Insecure talks to whoever answers at a node's address, and shows it the adapter's token.
	Insecure bool
}

// KubeletTransport returns what asks kubelets, with the identity that cluster gives the adapter: of a service account the
// token, read again when its file changes. It uses no proxy.
func KubeletTransport(cluster *rest.Config, trust KubeletTLS) (http.RoundTripper, error) {
	cfg := rest.CopyConfig(cluster)
	cfg.Proxy = func(*http.Request) (*url.URL, error) { return nil, nil } // nodes are near; a proxy is for what is far
	cfg.DisableCompression = true                                         // costs both sides more than it saves
	cfg.ServerName = ""                                                   // kube-apiserver's
	cfg.Insecure = trust.Insecure
	if trust.Insecure || trust.CAFile != "" {
		cfg.CAData, cfg.CAFile = nil, trust.CAFile
	}
	if trust.Insecure {
		cfg.CAFile = ""
	}
	transport, err := rest.TransportFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("make kubelet transport: %w", err)
	}
	return transport, nil
}

// reader reads the pages of one kubelet. It is used by one read at a time.
type reader struct {
	transport http.RoundTripper
	parser    *exposition.Parser
	limit     exposition.Page // bounds and families; the rest is set for each page
}

func newReader(transport http.RoundTripper, limit exposition.Page) *reader {
	return &reader{transport: transport, parser: exposition.NewParser(labels.EmptyLabels()), limit: limit}
}

// statusError is an answer that is not 200.
type statusError int

func (e statusError) Error() string {
	switch {
	case e == http.StatusUnauthorized || e == http.StatusForbidden:
		return fmt.Sprintf("HTTP %d: the adapter needs the right to get nodes/metrics", int(e))
	case e/100 == 3:
		return fmt.Sprintf("HTTP %d: redirected, not followed", int(e))
	}
	return fmt.Sprintf("HTTP %d", int(e))
}

// read asks the kubelet at address, host:port. Samples without a time of their own are of now.
func (r *reader) read(ctx context.Context, address string, now time.Time) (page, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+"/metrics/resource", http.NoBody)
	if err != nil {
		return page{}, err
	}
	req.Header.Set("Accept", exposition.Accept)
	req.Header.Set("User-Agent", "tachometer")
	// The transport alone, without a Client around it: no redirects, and so no token for whom they point at.
	resp, err := r.transport.RoundTrip(req)
	if err != nil {
		return page{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return page{}, statusError(resp.StatusCode)
	}
	return r.parse(resp, now)
}

func (r *reader) parse(resp *http.Response, now time.Time) (page, error) {
	p := r.limit
	p.Now = now
	var err error
	if p.Format, err = exposition.FormatOf(resp.Header.Get("Content-Type"), resp.Header.Get("Content-Encoding")); err != nil {
		return page{}, err
	}
	if err := p.CheckSize(resp.ContentLength); err != nil {
		return page{}, err
	}
	r.parser.Begin(p)
	if _, err := io.Copy(r.parser, resp.Body); err != nil {
		r.parser.Abandon()
		return page{}, err
	}
	result, err := r.parser.End()
	if err != nil {
		return page{}, err
	}
	return newPage(result.Samples)
}

// The outcomes of a read, as label values.
const (
	outOK         = "ok"
	outTimeout    = "timeout"
	outConnect    = "connect"
	outTLS        = "tls"
	outStatus     = "http_status"
	outPage       = "page_refused"
	outIncomplete = "incomplete"
)

func outcomes() []string {
	return []string{outOK, outTimeout, outConnect, outTLS, outStatus, outPage, outIncomplete}
}

// cause distils why a read failed: an outcome, and a few words for people, without addresses.
func cause(err error) (outcome, text string) {
	var status statusError
	var refused *exposition.Error
	var errno syscall.Errno
	switch {
	case err == nil:
		return outOK, ""
	case errors.As(err, &refused):
		return outPage, refused.Detail
	case errors.As(err, &status):
		return outStatus, status.Error()
	case errors.Is(err, errIncomplete):
		return outIncomplete, err.Error()
	case errors.Is(err, errNoAddress):
		return outConnect, err.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return outTimeout, "timeout"
	}
	if text := tlsCause(err); text != "" {
		return outTLS, text
	}
	if errors.As(err, &errno) {
		return outConnect, errno.Error()
	}
	return outConnect, "connection broken"
}

func tlsCause(err error) string {
	var host x509.HostnameError
	var verification *tls.CertificateVerificationError
	switch {
	case errors.As(err, &host):
		return "TLS: the kubelet's certificate is not for its address"
	case errors.As(err, &verification):
		return "TLS: the kubelet's certificate is not trusted"
	case strings.Contains(err.Error(), "tls:"):
		return "TLS: handshake refused"
	}
	return ""
}
