// The server of the metrics pages of all pods without a node.

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/tachometer-metrics/tachometer/test/harness/loopback"
)

// rolePages is the role of the process that serves the pages of all pods.
const rolePages = "pages"

// pageRate is the request rate on each page, in requests per second.
const pageRate = 50

// groupAddress returns the address of a pod. All sixteen million loopback addresses lead to the same server.
func groupAddress(pod int) string { return fmt.Sprintf("127.1.%d.%d", pod/250, 1+pod%250) }

// serveGroupPages serves until ctx ends, and prints the port.
func serveGroupPages(ctx context.Context) error {
	listener, err := net.Listen("tcp4", ":0")
	if err != nil {
		return err
	}
	began := time.Now()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		fmt.Fprintf(w, "# HELP http_requests_total Requests served, by status code.\n# TYPE http_requests_total counter\n"+
			"http_requests_total{code=\"200\"} %d\n", int64(pageRate*time.Since(began).Seconds()))
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	if err := server.Serve(loopback.Listener{Listener: listener}); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
