package kube

import (
	"errors"
	"fmt"
	"net"
	"net/http"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"

	"github.com/tachometer-metrics/tachometer/pkg/fieldlimit"
)

// NewBoundedTransport returns a transport to a server other than kube-apiserver, with the identity of cfg and the bound of fieldlimit on the
// headers of responses. It does not change cfg.
func NewBoundedTransport(cfg *rest.Config) (http.RoundTripper, error) {
	own := rest.CopyConfig(cfg)
	if own.Proxy == nil {
		own.Proxy = http.ProxyFromEnvironment // client-go's default. Only a transport with a proxy of its own is not shared.
	}
	own.Wrap(limitResponseHeaders)
	transport, err := rest.TransportFor(own)
	if err != nil {
		return nil, fmt.Errorf("make transport: %w", err)
	}
	return transport, nil
}

// limitResponseHeaders bounds the headers of responses to an unused transport.
func limitResponseHeaders(transport http.RoundTripper) http.RoundTripper {
	for below := transport; ; {
		switch t := below.(type) {
		case *http.Transport:
			t.MaxResponseHeaderBytes = fieldlimit.MaxResponseHeaderBytes
			return transport
		case utilnet.RoundTripperWrapper:
			below = t.WrappedRoundTripper()
		default:
			return transport
		}
	}
}

// hintAtAddress adds to the error of a connection that does not open the flags that choose the cluster.
func hintAtAddress(next http.RoundTripper) http.RoundTripper { return addressHint{next} }

// addressHint is the transport of hintAtAddress.
type addressHint struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (h addressHint) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := h.next.RoundTrip(request)
	if op := (*net.OpError)(nil); errors.As(err, &op) && op.Op == "dial" {
		err = fmt.Errorf("%w; check the cluster of --kubeconfig and --context", err)
	}
	return response, err
}

// WrappedRoundTripper implements utilnet.RoundTripperWrapper.
func (h addressHint) WrappedRoundTripper() http.RoundTripper { return h.next }
