package webhook

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

// TestForbiddenAddresses: loopback and link-local addresses need a permission, in whatever form they come.
func TestForbiddenAddresses(t *testing.T) {
	t.Parallel()
	allowed := []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32"), netip.MustParsePrefix("fe80::/64")}
	for address, want := range map[string]bool{
		"127.0.0.1:80": false, "127.0.0.2:80": true, "[::1]:80": false, "[::ffff:127.0.0.1]:80": false, "[::ffff:127.0.0.2]:80": true,
		"169.254.169.254:80": false, "[fe80::1%eth0]:80": true, "[fe80:0:0:1::1]:80": false, "0.0.0.0:80": false, "[::]:80": false, "224.0.0.1:80": false,
		"10.0.0.1:80": true, "192.0.2.1:443": true, "[2001:db8::1]:443": true, "localhost:80": false, "": false,
	} {
		if err := checkWebhookAddress(address, allowed); (err == nil) != want {
			t.Errorf("%s: %v; want allowed %t", address, err, want)
		}
	}
}

// TestGuardedClient: the address counts, and not the name, and the error shows neither.
func TestGuardedClient(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	url := strings.Replace(server.URL, "127.0.0.1", "localhost", 1) + secretPath
	err := Post(t.Context(), NewGuardedClient(nil), fixedURL(url), nil, []byte("{}"))
	var e *Error
	if !errors.As(err, &e) || !e.IsPermanent() {
		t.Fatalf("got %v", err)
	}
	checkNoSecret(t, err, url)
	if strings.Contains(err.Error(), "localhost") {
		t.Errorf("the error names the host: %v", err)
	}
	if err := Post(t.Context(), NewGuardedClient([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}), fixedURL(url), nil, []byte("{}")); err != nil {
		t.Errorf("allowed: %v", err)
	}
}
