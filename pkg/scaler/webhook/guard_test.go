package webhook

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
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
		"[fd00:ec2::254]:80": false, "100.100.100.200:80": false, "[64:ff9b::a9fe:a9fe]:80": false, "[64:ff9b::7f00:1]:80": false, "[::127.0.0.1]:80": false,
		"[fd00::7]:80": true, "10.0.0.1:80": true, "192.0.2.1:443": true, "[2001:db8::1]:443": true, "localhost:80": false, "": false,
	} {
		if err := checkWebhookAddress(address, allowed); (err == nil) != want {
			t.Errorf("%s: %v; want allowed %t", address, err, want)
		}
	}
}

// TestGuardedProxy: behind a proxy the host in the URL counts, in whatever form it comes.
func TestGuardedProxy(t *testing.T) {
	t.Parallel()
	proxy := &url.URL{Scheme: "http", Host: "proxy.example:3128"}
	choose := guardWebhookProxy([]netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}, func(*http.Request) (*url.URL, error) { return proxy, nil })
	for host, want := range map[string]bool{
		"169.254.169.254": false, "[::ffff:169.254.169.254]": false, "2852039166": false, "0xa9fea9fe": false, "0251.0376.0251.0376": false, "169.254.43518": false,
		"localhost": false, "LOCALHOST.": false, "a.localhost:80": false, "127.0.0.1": false, "[fd00:ec2::254]": false, "127.0.0.2": true, "hooks.example.com": true,
		"192.0.2.1:443": true, "[2001:db8::1]": true,
	} {
		r, err := http.NewRequest(http.MethodPost, "http://"+host+"/x", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := choose(r); (err == nil && got == proxy) != want || !want && !errors.Is(err, errForbiddenAddress) {
			t.Errorf("%s: %v, %v; want allowed %t", host, got, err, want)
		}
	}
	direct := guardWebhookProxy(nil, func(*http.Request) (*url.URL, error) { return nil, nil })
	if got, err := direct(&http.Request{URL: &url.URL{Host: "169.254.169.254"}}); got != nil || err != nil {
		t.Errorf("without a proxy the dialer decides: %v, %v", got, err)
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
