// A read of a kubelet's page over HTTPS, and the outcomes of reads.

package resourcemetrics

import (
	"context"
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
	"github.com/tachometer-metrics/tachometer/pkg/adapter/netcause"
	"github.com/tachometer-metrics/tachometer/pkg/kube"
)

// KubeletTLS configures the verification of kubelets.
type KubeletTLS struct {
	// CAFile holds the authorities that sign kubelets' certificates; empty: the cluster's own.
	CAFile string
	// Insecure skips the verification: any server at a node's address receives the adapter's token.
	Insecure bool
}

// NewKubeletTransport returns a transport for requests to kubelets, with the adapter's identity in cluster. It reads a service
// account's token again when the file changes. It uses no proxy.
func NewKubeletTransport(cluster *rest.Config, trust KubeletTLS) (http.RoundTripper, error) {
	cfg := rest.CopyConfig(cluster)
	cfg.Proxy = func(*http.Request) (*url.URL, error) { return nil, nil } // nodes are near; a proxy is for distant servers
	cfg.DisableCompression = true                                         // costs both sides more CPU than it saves
	cfg.ServerName = ""                                                   // is kube-apiserver's
	cfg.Insecure = trust.Insecure
	if trust.Insecure || trust.CAFile != "" {
		cfg.CAData, cfg.CAFile = nil, trust.CAFile
	}
	if trust.Insecure {
		cfg.CAFile = ""
	}
	transport, err := kube.NewBoundedTransport(cfg)
	if err != nil {
		return nil, fmt.Errorf("make kubelet transport: %w", err)
	}
	return transport, nil
}

// kubeletReader reads the pages of a kubelet. It serves one read at a time.
type kubeletReader struct {
	transport  http.RoundTripper
	parser     *exposition.Parser
	pageLimits exposition.PageOptions // bounds and families; each page sets the rest
}

func newKubeletReader(transport http.RoundTripper, limit exposition.PageOptions) *kubeletReader {
	return &kubeletReader{transport: transport, parser: exposition.NewParser(labels.EmptyLabels()), pageLimits: limit}
}

// kubeletStatusError is the status of a response other than 200.
type kubeletStatusError int

// Error returns the status, with the remedy where it is known.
func (e kubeletStatusError) Error() string {
	switch {
	case e == http.StatusUnauthorized || e == http.StatusForbidden:
		return fmt.Sprintf("HTTP %d: the adapter needs the right to get nodes/metrics", int(e))
	case e/100 == 3:
		return fmt.Sprintf("HTTP %d: redirected, not followed", int(e))
	}
	return fmt.Sprintf("HTTP %d", int(e))
}

// readKubeletPage reads the page of the kubelet at address, host:port. Samples without a time of their own get now.
func (r *kubeletReader) readKubeletPage(ctx context.Context, address string, now time.Time) (kubeletPage, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+"/metrics/resource", http.NoBody)
	if err != nil {
		return kubeletPage{}, err
	}
	req.Header.Set("Accept", exposition.AcceptHeader)
	req.Header.Set("User-Agent", "tachometer")
	// The transport without a Client follows no redirects, which would carry the token to another host.
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
	outcomeSuccess      = "success"
	outcomeTimeout      = "timeout"
	outcomeConnect      = "connect"
	outcomeTLS          = "tls"
	outcomeHTTPStatus   = "http_status"
	outcomePageRejected = "page_rejected"
	outcomeIncomplete   = "incomplete"
)

func listKubeletReadOutcomes() []string {
	return []string{outcomeSuccess, outcomeTimeout, outcomeConnect, outcomeTLS, outcomeHTTPStatus, outcomePageRejected, outcomeIncomplete}
}

// classifyKubeletError returns the outcome of a read, and its cause in a few words without addresses.
func classifyKubeletError(err error) (outcome, text string) {
	var status kubeletStatusError
	var rejected *exposition.Error
	var errno syscall.Errno
	switch {
	case err == nil:
		return outcomeSuccess, ""
	case errors.As(err, &rejected):
		return outcomePageRejected, rejected.Detail
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

// describeKubeletTLSError returns the cause of a failed handshake, without the address; empty if err has another cause.
func describeKubeletTLSError(err error) string {
	text, _ := netcause.DescribeTLS(err, "kubelet")
	if text == "" && strings.Contains(err.Error(), "tls:") {
		return "TLS: handshake failed"
	}
	return text
}
