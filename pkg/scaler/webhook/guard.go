package webhook

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/reserved"
)

// This file keeps webhooks away from addresses that only the scaler's own machine and links have: a URL there is a mistake or an attack.

// errForbiddenAddress is the error of a connection to an address that is not allowed.
var errForbiddenAddress = errors.New("the host is a loopback, link-local or metadata address that allowAddresses does not list")

// dialTimeout is a part of DefaultTimeout.
const dialTimeout = 3 * time.Second

// NewGuardedClient returns a client like NewClient(nil) that connects to no reserved address outside of the allowed networks. It checks
// addresses and not names, because a name may resolve to anything.
func NewGuardedClient(allowed []netip.Prefix) *http.Client { return newGuardedClient(allowed, nil) }

// newGuardedClient is NewGuardedClient with a resolver; nil is that of the machine.
func newGuardedClient(allowed []netip.Prefix, resolver *net.Resolver) *http.Client {
	transport := newWebhookTransport()
	transport.DialContext = newGuardedDialer(allowed, resolver).DialContext
	transport.Proxy = guardWebhookProxy(allowed, http.ProxyFromEnvironment)
	return NewClient(&http.Client{Timeout: DefaultTimeout, Transport: transport})
}

// newGuardedDialer returns a dialer that checks each address to which it connects.
func newGuardedDialer(allowed []netip.Prefix, resolver *net.Resolver) *net.Dialer {
	return &net.Dialer{Timeout: dialTimeout, Resolver: resolver, Control: func(_, address string, _ syscall.RawConn) error {
		return checkWebhookAddress(address, allowed)
	}}
}

// checkWebhookAddress returns an error for an address, with its port, that a client must not connect to.
func checkWebhookAddress(address string, allowed []netip.Prefix) error {
	peer, err := netip.ParseAddrPort(address)
	if err != nil {
		return errForbiddenAddress
	}
	return checkWebhookIP(peer.Addr(), allowed)
}

func checkWebhookIP(ip netip.Addr, allowed []netip.Prefix) error {
	ip = ip.Unmap().WithZone("")
	if reserved.Classify(ip) != "" && !slices.ContainsFunc(allowed, func(n netip.Prefix) bool { return n.Contains(ip) }) {
		return errForbiddenAddress
	}
	return nil
}

// guardWebhookProxy returns the proxy of the environment. Behind a proxy the client connects to the proxy alone, so the host in the URL is
// checked here: the proxy may reach forbidden addresses.
func guardWebhookProxy(allowed []netip.Prefix, choose func(*http.Request) (*url.URL, error)) func(*http.Request) (*url.URL, error) {
	return func(r *http.Request) (*url.URL, error) {
		proxy, err := choose(r)
		if err != nil || proxy == nil {
			return proxy, err
		}
		host := r.URL.Hostname()
		name := strings.ToLower(strings.TrimSuffix(host, "."))
		if reserved.IsAmbiguousHost(host) || name == "localhost" || strings.HasSuffix(name, ".localhost") {
			return nil, errForbiddenAddress
		}
		if ip, err := netip.ParseAddr(host); err == nil {
			return proxy, checkWebhookIP(ip, allowed)
		}
		return proxy, nil
	}
}
