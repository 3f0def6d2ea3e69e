package main

import (
	"net/netip"
	"testing"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/apiserver"
)

// TestOwnAddress: a replica knows its own endpoint by its port and the machine's addresses.
func TestOwnAddress(t *testing.T) {
	t.Parallel()
	a := &adapter{opts: &commandLineOptions{server: apiserver.NewOptions()}}
	for address, want := range map[string]bool{
		"127.0.0.1:6443":          true,
		"[::ffff:127.0.0.1]:6443": true,
		"127.0.0.1:6444":          false, // another replica on this machine
		"192.0.2.7:6443":          false, // an address for documentation, which no machine has
	} {
		if got := a.isListenAddress(netip.MustParseAddrPort(address)); got != want {
			t.Errorf("%s is this replica's: %t, want %t", address, got, want)
		}
	}
}

// TestRuleNames: a metric has the name of its rule, which is the pattern of a pattern rule, so that there are as many names as rules.
func TestRuleNames(t *testing.T) {
	t.Parallel()
	start, err := readConfigOrDefaults(newDefaultOptions())
	if err != nil {
		t.Fatal(err)
	}
	live := liveRules{}
	live.setStaticRules(start.rules)
	for _, tc := range []struct {
		resource, metric string
		external         bool
		want             string
	}{
		{"pods", "request_per_second", false, "request_per_second"},
		{"pods", "orders_per_second", false, "^(.+)_per_second$"},
		{"services", "sales_per_second", false, "^(.+)_per_second$"},
		{"pods", "http_request_duration_seconds_p95", false, "^(.+)_p(50|90|95|99)$"},
		{"", "orders_waiting", true, ""}, // no external rule
	} {
		if got := live.nameLiveRule("shop", tc.resource, tc.metric, tc.external); got != tc.want {
			t.Errorf("%+v: %q", tc, got)
		}
	}
}
