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

// NewKubeletTransport returns what asks kubelets, with the identity that cluster gives the adapter: of a service account the
// token, read again when its file changes. It uses no proxy.
func NewKubeletTransport(cluster *rest.Config, trust KubeletTLS) (http.RoundTripper, error) {
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

// kubeletReader reads the pages of one kubelet. It is used by one read at a time.
type kubeletReader struct {
	transport  http.RoundTripper
	parser     *exposition.Parser
	pageLimits exposition.PageOptions // bounds and families; the rest is set for each page
}

func newKubeletReader(transport http.RoundTripper, limit exposition.PageOptions) *kubeletReader {
	return &kubeletReader{transport: transport, parser: exposition.NewParser(labels.EmptyLabels()), pageLimits: limit}
}

// kubeletStatusError is an answer that is not 200.
type kubeletStatusError int

func (e kubeletStatusError) Error() string {
	switch {
	case e == http.StatusUnauthorized || e == http.StatusForbidden:
		return fmt.Sprintf("HTTP %d: the adapter needs the right to get nodes/metrics", int(e))
	case e/100 == 3:
		return fmt.Sprintf("HTTP %d: redirected, not followed", int(e))
	}
	return fmt.Sprintf("HTTP %d", int(e))
}

// readKubeletPage asks the kubelet at address, host:port. Samples without a time of their own are of now.
func (r *kubeletReader) readKubeletPage(ctx context.Context, address string, now time.Time) (kubeletPage, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+"/metrics/resource", http.NoBody)
	if err != nil {
		return kubeletPage{}, err
	}
	req.Header.Set("Accept", exposition.AcceptHeader)
	req.Header.Set("User-Agent", "tachometer")
	// The transport alone, without a Client around it: no redirects, and so no token for whom they point at.
	resp, err := r.transport.RoundTrip(req)
	if err != nil {
		return kubeletPage{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return kubeletPage{}, kubeletStatusError(resp.StatusCode)
	}
	return r.parseKubeletPage(resp, now)
}

func (r *kubeletReader) parseKubeletPage(resp *http.Response, now time.Time) (kubeletPage, error) {
	p := r.pageLimits
	p.Now = now
	var err error
	if p.Format, err = exposition.DetectFormat(resp.Header.Get("Content-Type"), resp.Header.Get("Content-Encoding")); err != nil {
		return kubeletPage{}, err
	}
	if err := p.CheckSize(resp.ContentLength); err != nil {
		return kubeletPage{}, err
	}
	r.parser.BeginPage(p)
	if _, err := io.Copy(r.parser, resp.Body); err != nil {
		r.parser.AbandonPage()
		return kubeletPage{}, err
	}
	result, err := r.parser.EndPage()
	if err != nil {
		return kubeletPage{}, err
	}
	return newKubeletPage(result.Samples)
}

// The outcomes of a read, as label values.
const (
	outcomeOK           = "ok"
	outcomeTimeout      = "timeout"
	outcomeConnect      = "connect"
	outcomeTLS          = "tls"
	outcomeHTTPStatus   = "http_status"
	outcomePageRejected = "page_refused"
	outcomeIncomplete   = "incomplete"
)

func kubeletReadOutcomes() []string {
	return []string{outcomeOK, outcomeTimeout, outcomeConnect, outcomeTLS, outcomeHTTPStatus, outcomePageRejected, outcomeIncomplete}
}

// classifyKubeletError distils why a read failed: an outcome, and a few words for people, without addresses.
func classifyKubeletError(err error) (outcome, text string) {
	var status kubeletStatusError
	var refused *exposition.Error
	var errno syscall.Errno
	switch {
	case err == nil:
		return outcomeOK, ""
	case errors.As(err, &refused):
		return outcomePageRejected, refused.Detail
	case errors.As(err, &status):
		return outcomeHTTPStatus, status.Error()
	case errors.Is(err, errIncomplete):
		return outcomeIncomplete, err.Error()
	case errors.Is(err, errNoAddress):
		return outcomeConnect, err.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return outcomeTimeout, "timeout"
	}
	if text := describeKubeletTLSError(err); text != "" {
		return outcomeTLS, text
	}
	if errors.As(err, &errno) {
		return outcomeConnect, errno.Error()
	}
	return outcomeConnect, "connection broken"
}

func describeKubeletTLSError(err error) string {
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
