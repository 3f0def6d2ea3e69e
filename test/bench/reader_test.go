package main

import (
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// TestRead: each connection keeps its share of the rate, and does not replace another connection.
func TestRead(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{http1, http2} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			from := map[string]int{} // guarded by mu
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				from[r.RemoteAddr]++
				mu.Unlock()
				_, _ = w.Write([]byte("\n\x03Pod"))
			}))
			server.EnableHTTP2 = true
			server.Config.ErrorLog = log.New(io.Discard, "", 0) // after a fault the reader closes the other connections
			server.StartTLS()
			t.Cleanup(server.Close)
			trust := server.Client().Transport.(*http.Transport).TLSClientConfig
			r := newAPIReader(server.URL, &tls.Config{RootCAs: trust.RootCAs}, protocol)
			defer r.closeAPIReader()
			q := question{path: func(int) string { return "/" }, status: http.StatusOK, values: 1}
			answers, err := r.readAPIAtRate(t.Context(), q, 500, 100*time.Millisecond)
			mu.Lock()
			over := len(from)
			mu.Unlock()
			if err != nil || len(answers) == 0 || len(answers) > 50 || over != connections {
				t.Errorf("%d answers over %d connections, %v; want up to 50 over %d", len(answers), over, err, connections)
			}
			q.values = 2
			if _, err := r.readAPIAtRate(t.Context(), q, 0, time.Second); err == nil {
				t.Error("an answer with too few values is taken")
			}
		})
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
