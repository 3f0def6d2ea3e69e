// The targets of the memory measurement: pages of two families, of any number of series.

package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tachometer-metrics/tachometer/test/harness/loopback"
)

// roleFamilies is the role of a process with targets that serve only the two families that autoscalers need.
const roleFamilies = "families"

// serveFamilies serves that many series in each family until ctx ends.
func serveFamilies(ctx context.Context, series int) error {
	listener, err := net.Listen("tcp4", ":0")
	if err != nil {
		return err
	}
	var page atomic.Pointer[[]byte] // rendered once a second, so that serving it costs little
	began := time.Now()
	render := func() { text := familiesPage(series, time.Since(began)); page.Store(&text) }
	render()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8; escaping=underscores")
		_, _ = w.Write(*page.Load()) // an error means that the client is gone
	})
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return serveBenchUntilDone(ctx, loopback.Listener{Listener: listener}, mux) })
	group.Go(func() error {
		for sleepInBench(ctx, time.Second) == nil {
			render()
		}
		return nil
	})
	return group.Wait()
}

// familiesPage returns a page of counters that all rise by fifty a second.
func familiesPage(series int, since time.Duration) []byte {
	var w bytes.Buffer
	for _, name := range []string{family, orders} {
		fmt.Fprintf(&w, "# HELP %s Requests served, by route and status code.\n# TYPE %s counter\n", name, name)
		for i := range series {
			fmt.Fprintf(&w, "%s{code=\"200\",route=\"/v1/orders/%d/{id}\"} %d\n", name, i, int64(50*since.Seconds())+int64(i))
		}
	}
	return w.Bytes()
}
