package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// pipeListener accepts the connections of its dial method, which take no network and so no time of a bubble.
type pipeListener struct {
	accepting chan net.Conn
	dialed    atomic.Int64
	closed    chan struct{}
	closing   sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{accepting: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.accepting:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.closing.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 443}
}

func (l *pipeListener) dialPipe(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case l.accepting <- numberedConn{far, fmt.Sprint(l.dialed.Add(1))}:
		return near, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// numberedConn has a number as its remote address.
type numberedConn struct {
	net.Conn
	number string
}

func (c numberedConn) RemoteAddr() net.Addr { return numberedAddr(c.number) }

type numberedAddr string

func (numberedAddr) Network() string  { return "pipe" }
func (a numberedAddr) String() string { return string(a) }

// TestRead: each connection keeps its share of the rate, and does not replace another connection.
func TestRead(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{http1, http2} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { checkReads(t, protocol) })
		})
	}
}

// checkReads reads in a bubble, where every read is in time.
func checkReads(t *testing.T, protocol string) {
	t.Helper()
	var mu sync.Mutex
	from := map[string]int{} // guarded by mu
	listener := newPipeListener()
	server := &httptest.Server{Listener: listener, EnableHTTP2: true, Config: &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			from[r.RemoteAddr]++
			mu.Unlock()
			_, _ = w.Write([]byte("\n\x03Pod"))
		}),
		ErrorLog: log.New(io.Discard, "", 0), // after a fault the reader closes the other connections
	}}
	server.StartTLS()
	defer server.Close()
	trust := server.Client().Transport.(*http.Transport).TLSClientConfig
	r := newAPIReader(server.URL, &tls.Config{RootCAs: trust.RootCAs}, protocol)
	defer r.closeAPIReader()
	for _, client := range r.clients {
		client.Transport.(*http.Transport).DialContext = listener.dialPipe
	}
	q := question{path: func(int) string { return "/" }, status: http.StatusOK, values: 1}
	answers, err := r.readAPIAtRate(t.Context(), q, 500, 100*time.Millisecond)
	mu.Lock()
	if want := map[string]int{"1": 10, "2": 10, "3": 10, "4": 10, "5": 10}; err != nil || len(answers) != 50 || !maps.Equal(from, want) {
		t.Errorf("%d answers, by connection %v, %v; want 50, %v", len(answers), from, err, want)
	}
	mu.Unlock()
	q.values = 2
	if _, err := r.readAPIAtRate(t.Context(), q, 0, time.Second); err == nil {
		t.Error("an answer with too few values is taken")
	}
}

func TestLatencies(t *testing.T) {
	t.Parallel()
	var l latencies
	if got := l.apiLatencyQuantile(0.99); got != 0 {
		t.Errorf("quantile of nothing = %v", got)
	}
	for i := range 100 {
		l = append(l, time.Duration(i))
	}
	if p50, p99 := l.apiLatencyQuantile(0.5), l.apiLatencyQuantile(0.99); p50 != 50 || p99 != 99 {
		t.Errorf("quantiles %d, %d, want 50, 99", p50, p99)
	}
}
