package kube

import (
	"fmt"
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
