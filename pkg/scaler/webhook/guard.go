package webhook

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"syscall"
	"time"
)

// This file keeps webhooks away from addresses that only the scaler's own machine and links have: a URL there is a mistake or an attack.

// errForbiddenAddress is the error of a connection to an address that is not allowed.
var errForbiddenAddress = errors.New("the host is a loopback or link-local address that allowAddresses does not list")

// dialTimeout is a part of DefaultTimeout.
const dialTimeout = 3 * time.Second

// NewGuardedClient returns a client like NewClient(nil) that connects to no loopback, link-local, multicast or unspecified address outside of
// the allowed networks. It checks addresses and not names, because a name may resolve to anything.
func NewGuardedClient(allowed []netip.Prefix) *http.Client {
	dialer := &net.Dialer{Timeout: dialTimeout, Control: func(_, address string, _ syscall.RawConn) error {
		return checkWebhookAddress(address, allowed)
	}}
	transport := http.DefaultTransport.(*http.Transport).Clone() // the standard library's default is a Transport
	transport.DialContext = dialer.DialContext
	transport.DisableKeepAlives = true // messages are rare, and a replaced client leaves no connection behind
	return NewClient(&http.Client{Timeout: DefaultTimeout, Transport: transport})
}

// checkWebhookAddress returns an error for an address, with its port, that a client must not connect to.
func checkWebhookAddress(address string, allowed []netip.Prefix) error {
	peer, err := netip.ParseAddrPort(address)
	if err != nil {
		return errForbiddenAddress
	}
	ip := peer.Addr().Unmap().WithZone("")
	special := ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified()
	if special && !slices.ContainsFunc(allowed, func(n netip.Prefix) bool { return n.Contains(ip) }) {
		return errForbiddenAddress
	}
	return nil
}
