package reserved

import (
	"net/netip"
	"testing"
)

func TestClassify(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Kind{
		"127.0.0.1": Loopback, "127.255.0.9": Loopback, "::1": Loopback, "::ffff:127.0.0.1": Loopback, "::127.0.0.1": Loopback,
		"64:ff9b::7f00:1": Loopback, "64:ff9b:1::7f00:1": Loopback, "2002:7f00:1::": Loopback,
		"169.254.169.254": LinkLocal, "fe80::1": LinkLocal, "fe80::1%eth0": LinkLocal, "::ffff:169.254.169.254": LinkLocal,
		"64:ff9b::a9fe:a9fe": LinkLocal, "::ffff:0:a9fe:a9fe": LinkLocal, "2002:a9fe:a9fe::1": LinkLocal,
		"224.0.0.1": Multicast, "ff02::1": Multicast, "255.255.255.255": Multicast, "0.0.0.0": Unspecified, "::": Unspecified, "0.0.0.7": Unspecified,
		"fd00:ec2::254": Metadata, "fd20:ce::254": Metadata, "100.100.100.200": Metadata, "192.0.0.192": Metadata, "168.63.129.16": Metadata,
		"64:ff9b::6464:64c8":       Metadata,
		"64:ff9b:1:a9fe:a9:fe00::": LinkLocal, "64:ff9b:1:2a9:fe:a9fe::": LinkLocal, "64:ff9b:1:2:a9:fea9:fe00:0": LinkLocal, "64:ff9b:1:7f00:0:100::": Loopback,
		"64:ff9b:1:64:64:64c8::": Metadata, "64:ff9b:1::808:808": "", "64:ff9b:1:2:3:4:808:808": "", "64:ff9b:1:808:8:800::": "",
		"10.0.0.7": "", "192.168.1.1": "", "100.64.0.1": "", "8.8.8.8": "", "fd00::7": "", "2001:db8::1": "", "64:ff9b::808:808": "", "::ffff:0:808:808": "", "2002:808:808::1": "",
	} {
		if got := Classify(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func TestAmbiguousHosts(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{
		"2130706433": true, "127.1": true, "0x7f.1": true, "0x7f000001": true, "0177.0.0.1": true, "127.0.0.1.": true, "a.0x": true, "1.2.3.4.5": true,
		"127.0.0.1": false, "::1": false, "localhost": false, "example.com": false, "example.com.": false, "x1": false, "1x": false, "a.b2": false, "": false,
	} {
		if got := IsAmbiguousHost(host); got != want {
			t.Errorf("%q: %t, want %t", host, got, want)
		}
	}
}
