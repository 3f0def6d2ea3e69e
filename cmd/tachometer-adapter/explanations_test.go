package main

import (
	"net/netip"
	"testing"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/apiserver"
)

// TestOwnAddress: a replica knows its own endpoint by its port and the machine's addresses.
func TestOwnAddress(t *testing.T) {
	t.Parallel()
	a := &adapter{opts: &adapterOptions{server: apiserver.NewOptions()}}
	for address, want := range map[string]bool{
		"127.0.0.1:6443":          true,
		"[::ffff:127.0.0.1]:6443": true,
		"127.0.0.1:6444":          false, // another replica on this machine
		"192.0.2.7:6443":          false, // an address for documentation, which no machine has
	} {
		if got := a.isAdapterProgramAddress(netip.MustParseAddrPort(address)); got != want {
			t.Errorf("%s is this replica's: %t, want %t", address, got, want)
		}
	}
}
