package httpevent

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/event"
)

// runReceiver runs a receiver until the test ends, and returns its address.
func runReceiver(t *testing.T, deliver MessageFunc, opts Options) string {
	t.Helper()
	if opts.Listener == nil {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		opts.Listener = l
	}
	r := New(event.HTTPConfig{SecretFiles: []string{writeSecretFile(t, testSecret)}}, deliver, opts)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return opts.Listener.Addr().String()
}

// openConnection opens a connection from an address of this machine, and writes to it.
func openConnection(t *testing.T, from, to, text string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.DialContext(t.Context(), "tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := c.Write([]byte(text)); err != nil && text != "" {
		t.Logf("closed already: %v", err)
	}
	return c
}

// TestFieldsEndTheirConnection: a header of thousands of fields, of which each takes 120 bytes of memory, is not read to its end.
func TestFieldsEndTheirConnection(t *testing.T) {
	t.Parallel()
	to := runReceiver(t, func(context.Context, event.Message) error { return nil }, Options{})
	c := openConnection(t, "127.0.0.1", to, "POST "+Path+" HTTP/1.1\r\nHost: x\r\n"+strings.Repeat("a:\r\n", 300))
	if got, _ := io.ReadAll(c); !strings.HasPrefix(string(got), "HTTP/1.1 400 ") { // without the bound it is 408 or nothing, after the timeout
		t.Errorf("answer %q", got)
	}
}

// TestS10UnsignedRequestsKeepNobodyOut: bodies that do not come, and connections without a request, from the sender's own address and from
// others. A signed event is delivered all the same.
func TestS10UnsignedRequestsKeepNobodyOut(t *testing.T) {
	t.Parallel()
	timestamp, mac := Sign([]byte("another secret, long enough"), nil, nil, time.Now())
	slow := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n%s: %s\r\n%s: %s\r\n\r\nbegin", Path, TimestampHeader, timestamp, SignatureHeader, mac)
	for name, c := range map[string]struct {
		text  string
		from  string
		count int
	}{
		"70 bodies of one address":        {slow, "127.0.0.2", 70},
		"70 bodies of the sender's":       {slow, "127.0.0.1", 70},
		"70 bodies in chunks":             {strings.Replace(slow, "Content-Length: 60000", "Transfer-Encoding: chunked", 1) + "5\r\nbegin\r\n", "127.0.0.1", 70},
		"70 bodies that wait to be asked": {strings.Replace(slow, "\r\n\r\nbegin", "\r\nExpect: 100-continue\r\n\r\n", 1), "127.0.0.1", 70},
		"300 idle connections of one":     {"", "127.0.0.1", 300},
		"600 connections of ten":          {"", "127.0.1.%d", 600},
		"600 bodies of a hundred":         {slow, "127.0.2.%d", 600},
		"600 requests that have a start":  {"POST ", "127.0.3.%d", 600},
		"600 requests of fields":          {"POST / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("a:\r\n", 4000), "127.0.4.%d", 600},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			to := runReceiver(t, func(context.Context, event.Message) error { return nil }, Options{})
			for i := range c.count {
				from := c.from
				if strings.Contains(from, "%d") {
					from = fmt.Sprintf(from, 1+i%100)
				}
				openConnection(t, from, to, c.text)
			}
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			for range 20 {
				res, err := (&http.Client{Transport: transport}).Do(newSignedRequest(t, "http://"+to, testSecret, testBody, time.Now()))
				if err != nil {
					t.Fatal(err)
				}
				res.Body.Close()
				if res.StatusCode != http.StatusAccepted {
					t.Fatalf("%s; want 202", res.Status)
				}
			}
		})
	}
}

// TestS10SignedRequestIsNotClosed: a connection whose signed event is being delivered is not closed for newer connections.
func TestS10SignedRequestIsNotClosed(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan struct{}), make(chan struct{})
	to := runReceiver(t, func(context.Context, event.Message) error { close(entered); <-leave; return nil }, Options{})
	ended := make(chan error, 1)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	req := newSignedRequest(t, "http://"+to, testSecret, testBody, time.Now())
	go func() {
		res, err := (&http.Client{Transport: transport}).Do(req)
		if err == nil {
			res.Body.Close()
		}
		ended <- err
	}()
	<-entered
	for range 2 * maxAddressConnections {
		openConnection(t, "127.0.0.1", to, "")
	}
	close(leave)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// crowdedListener lets the first write of its first connection wait until the server knows so many newer connections.
type crowdedListener struct {
	net.Listener
	newer   int
	open    func()
	known   chan struct{} // closed once the server asks for a connection after the newer ones
	asked   int           // of Accept, which only the server calls
	written sync.Once
}

func (l *crowdedListener) Accept() (net.Conn, error) {
	l.asked++
	if l.asked == l.newer+2 {
		close(l.known)
	}
	c, err := l.Listener.Accept()
	if err == nil && l.asked == 1 {
		return &crowdedConn{c, l}, nil
	}
	return c, err
}

type crowdedConn struct {
	net.Conn
	listener *crowdedListener
}

func (c *crowdedConn) Write(text []byte) (int, error) {
	c.listener.written.Do(func() {
		c.listener.open()
		<-c.listener.known
	})
	return c.Conn.Write(text)
}

// TestSignedRequestGetsItsResponse: newer connections do not close a connection before the response to its signed event is written.
func TestSignedRequestGetsItsResponse(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	to := l.Addr().String()
	crowded := &crowdedListener{Listener: l, newer: 2 * maxAddressConnections, known: make(chan struct{})}
	crowded.open = func() {
		for range crowded.newer {
			c, err := net.Dial("tcp", to)
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(func() { c.Close() })
		}
	}
	runReceiver(t, func(context.Context, event.Message) error { return nil }, Options{Listener: crowded})
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	res, err := (&http.Client{Transport: transport}).Do(newSignedRequest(t, "http://"+to, testSecret, testBody, time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusAccepted {
		t.Errorf("%s; want 202", res.Status)
	}
}

// TestPlacesAreGivenBack: interrupted and ended requests leave nothing behind.
func TestPlacesAreGivenBack(t *testing.T) {
	t.Parallel()
	p := newReadPlaces(3, 2)
	var interrupted []string
	var back []func()
	for i, a := range []string{"10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.2", "10.0.0.3"} {
		back = append(back, p.takeReadPlace(netip.MustParseAddr(a), func() { interrupted = append(interrupted, fmt.Sprint(i)) }))
	}
	if diff := cmp.Diff([]string{"0", "1"}, interrupted); diff != "" || p.taken != 3 {
		t.Errorf("%d places are taken; interrupted (-want +got):\n%s", p.taken, diff)
	}
	for _, f := range back {
		f()
		f()
	}
	if p.taken != 0 || len(p.byAddress) != 0 {
		t.Errorf("%d places are taken in the end, of %d addresses", p.taken, len(p.byAddress))
	}
}

// TestD23CloudEventsAreSigned: a CloudEvent in binary mode reaches the handler with its headers, if the headers are signed.
func TestD23CloudEventsAreSigned(t *testing.T) {
	t.Parallel()
	got := make(chan event.Message, 10)
	to := runReceiver(t, func(_ context.Context, m event.Message) error { got <- m; return nil }, Options{})
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	now := time.Now()
	for name, c := range map[string]struct {
		sign   func(h http.Header) (string, string)
		change string
		want   int
	}{
		"signed": {func(h http.Header) (string, string) {
			return Sign([]byte(testSecret), h, []byte(testBody), now)
		}, "", http.StatusAccepted},
		"body alone": {func(http.Header) (string, string) { return Sign([]byte(testSecret), nil, []byte(testBody), now) }, "", http.StatusUnauthorized},
		"changed later": {func(h http.Header) (string, string) {
			return Sign([]byte(testSecret), h, []byte(testBody), now)
		}, "END", http.StatusUnauthorized},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+to+Path, strings.NewReader(testBody))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = http.Header{"Ce-Specversion": {"1.0"}, "Ce-Id": {"1%202"}, "Ce-Type": {"START"}, "X-Other": {"x"}, "Content-Type": {"application/json"}}
		timestamp, mac := c.sign(req.Header)
		req.Header.Set(TimestampHeader, timestamp)
		req.Header.Set(SignatureHeader, mac)
		if c.change != "" {
			req.Header.Set("Ce-Type", c.change)
		}
		res, err := (&http.Client{Transport: transport}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != c.want {
			t.Errorf("%s: %s; want %d", name, res.Status, c.want)
		}
	}
	m := <-got
	want := map[string]string{"ce-specversion": "1.0", "ce-id": "1 2", "ce-type": "START"} // no signature covers the content type
	if diff := cmp.Diff(want, m.Headers); diff != "" || m.Time.Unix() != now.Unix() || !strings.HasPrefix(m.Position, "http/") || m.Source != event.SourceHTTP {
		t.Errorf("%+v, headers (-want +got):\n%s", m, diff)
	}
}

// TestFailedHandshakesAreNotLogged: a stranger whose handshake fails writes no line into the log. It changes the output of the standard log, so it
// is not parallel.
func TestFailedHandshakesAreNotLogged(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var lines bytes.Buffer
	log.SetOutput(&lines)
	defer log.SetOutput(os.Stderr)
	r := New(event.HTTPConfig{CertFile: "/no/such", KeyFile: "/no/such"}, nil, Options{Listener: listener})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: \x1b[2J\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(conn); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if lines.Len() > 0 {
		t.Errorf("logged: %s", &lines)
	}
}
