package webhook

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
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

// TestRebinding: a name that resolves to a permitted address first, and to loopback later, reaches no server there. The client resolves it for each
// connection, and checks the address to which it connects.
func TestRebinding(t *testing.T) {
	t.Parallel()
	var reached atomic.Int64
	serve := func(address string) string {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		server := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if host, _, _ := net.SplitHostPort(r.Context().Value(http.LocalAddrContextKey).(net.Addr).String()); host == "127.0.0.1" {
				reached.Add(1)
			}
		})}}
		server.Start()
		t.Cleanup(server.Close)
		return l.Addr().String()
	}
	_, port, _ := net.SplitHostPort(serve("127.0.0.1:0"))
	serve("127.0.0.2:" + port)
	resolver, answers := newRebindingResolver(t)
	client := newGuardedClient([]netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}, resolver)
	for i := range 3 {
		client.CloseIdleConnections()
		err := Post(t.Context(), client, fixedURL("http://hooks.example.com:"+port+secretPath), nil, []byte("{}"))
		if (err == nil) != (i == 0) {
			t.Errorf("post %d: %v", i, err)
		}
	}
	if reached.Load() > 0 || answers.Load() < 2 {
		t.Errorf("%d requests reached the loopback address, after %d answers of the name server", reached.Load(), answers.Load())
	}
}

// newRebindingResolver returns a resolver that answers 127.0.0.2 once, and 127.0.0.1 from then on.
func newRebindingResolver(t *testing.T) (*net.Resolver, *atomic.Int64) {
	t.Helper()
	server, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	var answers atomic.Int64
	go func() {
		query := make([]byte, 1500)
		for {
			n, from, err := server.ReadFrom(query)
			if err != nil {
				return
			}
			question := query[12:n]
			question = question[:bytes.IndexByte(question, 0)+5] // the name, its type and its class
			reply := append([]byte{query[0], query[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, question...)
			if question[len(question)-3] == 1 { // an A record is asked for
				last := byte(2)
				if answers.Add(1) > 1 {
					last = 1
				}
				reply[7] = 1
				reply = append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, last)
			}
			_, _ = server.WriteTo(reply, from)
		}
	}()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", server.LocalAddr().String())
	}
	return &net.Resolver{PreferGo: true, Dial: dial}, &answers
}
