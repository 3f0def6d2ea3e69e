package connlimit_test

import (
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/connlimit"
)

// TestOldestGivesWay: a connection above a bound is served, and closes the oldest connection.
func TestOldestGivesWay(t *testing.T) {
	t.Parallel()
	for name, limiter := range map[string]*connlimit.Limiter{"in all": connlimit.New(2, 10), "of an address": connlimit.New(10, 2)} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: http.NotFoundHandler()} //nolint:gosec // it serves this test
		limiter.Apply(server)
		ended := make(chan error, 1)
		go func() { ended <- server.Serve(listener) }()
		var conns []net.Conn
		for range 3 {
			conn, err := net.Dial("tcp", listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conns = append(conns, conn)
		}
		_ = conns[0].SetReadDeadline(time.Now().Add(20 * time.Second)) // an open connection sends nothing
		if _, err := conns[0].Read(make([]byte, 1)); err != io.EOF {   //nolint:errorlint // a Conn returns it as it is
			t.Errorf("%s: the oldest connection: %v; want it closed", name, err)
		}
		if _, err := io.WriteString(conns[2], "GET / HTTP/1.0\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(conns[2]); err != nil || len(text) == 0 {
			t.Errorf("%s: the new connection: %q, %v; want a response", name, text, err)
		}
		_ = server.Close()
		<-ended
	}
}

// TestPeer: an IPv4 address in either form, and a network of IPv6, is a peer.
func TestPeer(t *testing.T) {
	t.Parallel()
	for remote, want := range map[string]string{
		"10.1.2.3:4": "10.1.2.3", "[::ffff:10.1.2.3]:4": "10.1.2.3", "[2001:db8::1:2]:4": "2001:db8::", "[fe80::1%eth0]:4": "fe80::", "pipe": "invalid IP",
	} {
		if got := connlimit.Peer(remote).String(); got != want {
			t.Errorf("%s: %s; want %s", remote, got, want)
		}
	}
}
