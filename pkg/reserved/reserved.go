// Package reserved tells the addresses that no pod or other server may have: a machine's own, its links', and its cloud's metadata service.
package reserved

import (
	"net/netip"
	"strings"
)

// Kind is the use of a reserved address.
type Kind string

// The kinds of reserved addresses. Any other address has an empty Kind.
const (
	Loopback    Kind = "loopback"
	LinkLocal   Kind = "link-local"
	Multicast   Kind = "multicast"
	Unspecified Kind = "unspecified"
	Metadata    Kind = "metadata" // of a cloud; its answers may have credentials
)

// metadataAddresses are addresses at which clouds serve metadata to their machines, beside link-local ones: AWS, Google Cloud, Alibaba
// Cloud, Oracle Cloud, and Azure's WireServer.
var metadataAddresses = map[netip.Addr]struct{}{
	netip.MustParseAddr("fd00:ec2::254"): {}, netip.MustParseAddr("fd20:ce::254"): {}, netip.MustParseAddr("100.100.100.200"): {},
	netip.MustParseAddr("192.0.0.192"): {}, netip.MustParseAddr("168.63.129.16"): {},
}

// Classify returns the kind of an address; empty for an ordinary one. An IPv6 address that stands for an IPv4 address has the kind of that
// IPv4 address.
func Classify(address netip.Addr) Kind {
	address = address.WithZone("").Unmap()
	_, metadata := metadataAddresses[address]
	switch {
	case metadata:
		return Metadata
	case address.IsLoopback():
		return Loopback
	case address.IsLinkLocalUnicast():
		return LinkLocal
	case address.IsMulticast(), address == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return Multicast
	case address.IsUnspecified(), address.Is4() && address.As4()[0] == 0:
		return Unspecified
	}
	return classifyEmbedded(address)
}

// translatedPrefixes are the IPv6 prefixes that stand for IPv4 addresses, with the places of these in bytes: compatible addresses (RFC 4291),
// NAT64 (RFC 6052), SIIT (RFC 2765), and 6to4 (RFC 3056). A network chooses the length of its own NAT64 prefix in 64:ff9b:1::/48 (RFC 8215),
// and with it the place.
var translatedPrefixes = []struct {
	prefix netip.Prefix
	places [][4]int
}{
	{netip.MustParsePrefix("::/96"), [][4]int{{12, 13, 14, 15}}},
	{netip.MustParsePrefix("64:ff9b::/96"), [][4]int{{12, 13, 14, 15}}},
	{netip.MustParsePrefix("64:ff9b:1::/48"), [][4]int{{6, 7, 9, 10}, {7, 9, 10, 11}, {9, 10, 11, 12}, {12, 13, 14, 15}}},
	{netip.MustParsePrefix("::ffff:0:0:0/96"), [][4]int{{12, 13, 14, 15}}},
	{netip.MustParsePrefix("2002::/16"), [][4]int{{2, 3, 4, 5}}},
}

// classifyEmbedded returns the kind of the IPv4 addresses that a router or a host may send to in place of an IPv6 address; empty without a
// reserved one. The bytes between two places are zero, so an unspecified address counts only without another.
func classifyEmbedded(address netip.Addr) Kind {
	bytes := address.As16()
	for _, t := range translatedPrefixes {
		if !t.prefix.Contains(address) {
			continue
		}
		unspecified := true
		for _, p := range t.places {
			kind := Classify(netip.AddrFrom4([4]byte{bytes[p[0]], bytes[p[1]], bytes[p[2]], bytes[p[3]]}))
			if kind != "" && kind != Unspecified {
				return kind
			}
			unspecified = unspecified && kind == Unspecified
		}
		if unspecified {
			return Unspecified
		}
	}
	return ""
}

// IsAmbiguousHost reports whether some resolvers read a host as an IPv4 address, and others as a name: 2130706433, 0x7f.1 and 127.1 may all
// be 127.0.0.1.
func IsAmbiguousHost(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return false
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	last := host[strings.LastIndexByte(host, '.')+1:]
	digits := "0123456789"
	if hex, isHex := strings.CutPrefix(last, "0x"); isHex {
		last, digits = hex, "0123456789abcdef"
		if last == "" {
			return true
		}
	}
	return last != "" && strings.Trim(last, digits) == ""
}
