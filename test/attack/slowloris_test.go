// Clients that are slow on purpose, and callers who may do nothing.

package attack

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/retry"
	"github.com/tachometer-metrics/tachometer/test/harness/adapter"
)

// dribble is the beginning of what is sent, and the rest that follows byte by byte and never ends, after a TLS handshake if secure.
type dribble struct {
	secure      bool
	first, rest string
}

// fieldDribbles are headers of thousands of fields, each of few bytes, that do not end.
var fieldDribbles = []dribble{{true, "GET /readyz HTTP/1.1\r\nHost: localhost\r\n" + newManyFields(60_000), strings.Repeat("X: slow\r\n", 1000)}}

// bodyDribbles are probes with bodies that come byte by byte.
var bodyDribbles = []dribble{
	{true, "POST /readyz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\n", strings.Repeat("x", 60_000)},
	{true, "GET /livez HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", strings.Repeat("1\r\nx\r\n", 10_000)},
	{true, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 60000\r\n\r\n", strings.Repeat("x", 60_000)},
}

// newManyFields returns about so many bytes of header fields with different names.
func newManyFields(size int) string {
	var b strings.Builder
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, "%x:\r\n", i)
	}
	return b.String()
}

// dribbles are of each kind.
var dribbles = []dribble{
	{false, "", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("\x00", 500)}, // a TLS hello
	{true, "GET /readyz HTTP/1.1\r\nHost: localhost\r\n", strings.Repeat("X-Header: slow\r\n", 1000)},
	{true, "GET " + doorReadPath + " HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer unknown", strings.Repeat("x", 10_000)},
	{
		true, "POST /apis/" + explainapi.GroupVersion.String() + "/namespaces/shop/rulereviews HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" +
			"Content-Length: 60000\r\nAuthorization: Bearer reader-slow\r\n\r\n{", strings.Repeat(" ", 60_000),
	},
	{true, "", strings.Repeat("\r\n", 5000)}, // blank lines before a request
	// A WebSocket, and frames without an end.
	{
		true, "GET /apis HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
			"Sec-WebSocket-Version: 13\r\nAuthorization: Bearer reader-slow\r\n\r\n", strings.Repeat("\x01\xfe\xff\xff", 1000),
	},
}

// holdDribbles opens connections from an address and sends a byte on each every 100 ms.
func (f *doorFlooder) holdDribbles(ctx context.Context, host int, kinds []dribble) {
	var held sync.WaitGroup
	defer held.Wait()
	for range 15 { // 20 addresses, 10 workers: 3,000
		held.Go(func() { f.countDoorAnswer(0, f.sendDribble(ctx, host, kinds[f.sent.Add(1)%int64(len(kinds))])) })
	}
}

// recordHello returns the first message of a TLS handshake.
var recordHello = sync.OnceValue(func() []byte {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	defer ours.Close()
	go func() {
		_ = tls.Client(ours, &tls.Config{ServerName: "localhost", MinVersion: tls.VersionTLS12}).Handshake()
	}()
	hello := make([]byte, 16<<10)
	n, _ := theirs.Read(hello) // a record is one Write
	return hello[:n]
})

// sendHello begins a handshake, which costs the server a key and a signature, and leaves.
func (f *doorFlooder) sendHello(ctx context.Context, host int) error {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(host))}, Timeout: 10 * time.Second}
	c, err := dialer.DialContext(ctx, "tcp", strings.TrimPrefix(f.order.Base, "https://"))
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write(recordHello())
	return err
}

// holdSilentConnections opens connections and sends nothing on them.
func (f *doorFlooder) holdSilentConnections(ctx context.Context, host int) {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(host))}, Timeout: 10 * time.Second}
	var held sync.WaitGroup
	defer held.Wait()
	for range 15 { // 20 addresses, 10 workers: 3,000
		held.Go(func() {
			c, err := dialer.DialContext(ctx, "tcp", strings.TrimPrefix(f.order.Base, "https://"))
			if err != nil {
				return
			}
			defer c.Close()
			f.countDoorAnswer(0, nil)
			retry.Sleep(ctx, time.Second)
		})
	}
}

// sendDribble sends a dribble until the server ends the connection, and returns the reason.
func (f *doorFlooder) sendDribble(ctx context.Context, host int, kind dribble) error {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(host))}, Timeout: 10 * time.Second}
	c, err := dialer.DialContext(ctx, "tcp", strings.TrimPrefix(f.order.Base, "https://"))
	if err != nil {
		return err
	}
	defer c.Close()
	if kind.secure {
		text, err := os.ReadFile(f.order.Certificate)
		if err != nil {
			return err
		}
		secure := tls.Client(c, &tls.Config{RootCAs: adapter.NewTrust(text), ServerName: "localhost", MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}})
		if err := secure.HandshakeContext(ctx); err != nil {
			return err
		}
		c = secure
	}
	f.countDoorAnswer(0, nil) // it is under way
	if _, err := c.Write([]byte(kind.first)); err != nil {
		return err
	}
	for i := range len(kind.rest) {
		if _, err := c.Write([]byte{kind.rest[i]}); err != nil || !retry.Sleep(ctx, 100*time.Millisecond) {
			return err
		}
	}
	return nil
}

// TestWideIdentities: a user with 60 KB of groups, who reads ever new names through kube-apiserver, fills no memory with decisions about
// its access.
func TestWideIdentities(t *testing.T) {
	skipShare(t)
	kube := startShop(t, http.HandlerFunc(evilPage))
	a := startAdapter(t, kube)
	trust, err := a.NewTLSConfig(kube.Proxy.Client)
	if err != nil {
		t.Fatal(err)
	}
	proxy := adapter.NewClient(trust, 1)
	groups := make([]string, 600)
	for i := range groups {
		groups[i] = fmt.Sprintf("group-%03d-%s", i, strings.Repeat("x", 90))
	}
	answered, fault := reviewCodes{}, atomic.Value{}
	flood(t, 20_000, attackTime(40*time.Second), func(_ context.Context, i int) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // patient: a decision of each is remembered
		defer cancel()
		header := http.Header{"X-Remote-User": {"jane"}, "X-Remote-Group": groups}
		path := fmt.Sprintf("/apis/external.metrics.k8s.io/v1beta1/namespaces/evil/none-%d", i)
		code, err := askDoor(ctx, proxy, a.URL+path, header)
		answered.count(code)
		if code == http.StatusInternalServerError {
			fault.CompareAndSwap(nil, err.Error())
		}
	})
	t.Logf("reads by status: %s; %v", answered.describe(), fault.Load())
	a.judge()
}

// TestImpatientCallers: callers without a right, who give each request up within milliseconds, keep no reader from a decision about its
// access.
func TestImpatientCallers(t *testing.T) {
	joinShare(t)
	w := startDoorWorld(t)
	ctx, stop := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	defer func() { stop(); callers.Wait() }()
	for range 64 {
		callers.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
				_, _, _ = w.get(short, fmt.Sprintf("known-%d", n%500), fmt.Sprintf("/apis/external.metrics.k8s.io/v1beta1/namespaces/evil/none-%d", n))
				cancel()
			}
		})
	}
	retry.Sleep(ctx, attackTime(10*time.Second))
	var answered reviewCodes
	for i := range 50 {
		code, err := askDoor(ctx, w.client, fmt.Sprintf("%s/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/none-%d", w.URL, i), http.Header{"Authorization": {"Bearer reader-1"}})
		if answered.count(code); code == http.StatusInternalServerError {
			t.Errorf("a reader gets %v", err)
			break
		}
	}
	t.Logf("a reader's requests by status: %s", answered.describe())
	w.judge()
}
