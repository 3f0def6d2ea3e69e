// The roles of a child: the targets' server, the scraper of the adapter, and the bare reading of pages with net/http.

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/query"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/scrape"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/store"
	"github.com/tachometer-metrics/tachometer/test/harness/loopback"
)

// The roles of a child.
const (
	rolePages      = "pages"
	roleTachometer = "tachometer"
	roleBare       = "bare"
)

// task has the flags of a child.
type task struct {
	mode     string
	port     string
	targets  int
	interval time.Duration
}

func (t task) playBenchRole(ctx context.Context, role string) error {
	switch role {
	case rolePages:
		return t.serveBenchPages(ctx)
	case roleTachometer:
		return t.scrapeAsAdapter(ctx)
	case roleBare:
		return t.scrapeBarePages(ctx)
	}
	return fmt.Errorf("no role %q", role)
}

// benchTargetAddress returns the address of a target. All sixteen million loopback addresses lead to the same page server.
func benchTargetAddress(target int, port string) string {
	return fmt.Sprintf("127.1.%d.%d:%s", target/250, 1+target%250, port)
}

// serveBenchUntilDone serves until ctx ends, and prints the port for the parent.
func serveBenchUntilDone(ctx context.Context, listener net.Listener, handler http.Handler) error {
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: processTimeout}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	fmt.Println(port)
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (t task) serveBenchPages(ctx context.Context) error {
	listener, err := net.Listen("tcp4", ":0")
	if err != nil {
		return err
	}
	p := newBenchPages(t.mode)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", p)
	mux.HandleFunc("GET /served", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, p.served.Load()) })
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return serveBenchUntilDone(ctx, loopback.Listener{Listener: listener}, mux) })
	group.Go(func() error {
		for sleepInBench(ctx, time.Second) == nil {
			p.refreshBenchPages()
		}
		return nil
	})
	return group.Wait()
}

// serveBenchProfiles serves the self-metrics and profiles of a measured child.
func serveBenchProfiles(ctx context.Context, metrics prometheus.Gatherer) error {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	return serveBenchUntilDone(ctx, listener, mux)
}

// settle is the factor of the interval at the start. New targets are all scraped within an eighth of the interval, and then move to
// their own offsets by a 32nd each time; when the interval becomes shorter, they move at once.
const settle = 8

// benchStoreBytes has room for the series of all targets: a rejected page would cost less than a kept one.
const benchStoreBytes = 4 << 30

// scrapeAsAdapter runs the write side of the adapter, wired as in the adapter.
func (t task) scrapeAsAdapter(ctx context.Context) error {
	metrics := prometheus.NewRegistry()
	kept := store.New(store.Options{
		Retention: query.Retention(time.Minute, t.interval), MaxSeries: 1_000_000, MaxBytes: benchStoreBytes, Registerer: metrics,
	})
	scraper := scrape.New(kept, scrape.Options{Interval: settle * t.interval, Registerer: metrics})
	targets := make([]metric.Target, t.targets)
	for i := range targets {
		name := fmt.Sprintf("web-%05d", i)
		targets[i] = metric.Target{
			Namespace: "shop", Pod: name, Node: fmt.Sprintf("node-%03d", i/100), UID: name,
			URL: "http://" + benchTargetAddress(i, t.port) + "/metrics", Families: []string{family},
		}
	}
	scraper.SetTargets(targets) //nolint:contextcheck // a panic over an object is logged without a context
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return scraper.Run(ctx) })
	group.Go(func() error {
		if sleepInBench(ctx, t.interval) == nil {
			scraper.Reconfigure(scrape.Options{Interval: t.interval})
		}
		return nil
	})
	group.Go(func() error { return kept.Run(ctx) })
	group.Go(func() error { return serveBenchProfiles(ctx, metrics) })
	return group.Wait()
}

// scrapeBarePages reads the pages with net/http and walks their lines, the minimum cost of any scraper in Go.
func (t task) scrapeBarePages(ctx context.Context) error {
	transport := &http.Transport{MaxIdleConnsPerHost: 1, DisableCompression: true}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: t.interval}
	buffers := sync.Pool{New: func() any { return new(bytes.Buffer) }}
	group, ctx := errgroup.WithContext(ctx)
	for i := range t.targets {
		group.Go(func() error {
			wait := t.interval * time.Duration(i) / time.Duration(t.targets)
			for sleepInBench(ctx, wait) == nil {
				begin := time.Now()
				buffer := buffers.Get().(*bytes.Buffer)
				readBarePage(ctx, client, "http://"+benchTargetAddress(i, t.port)+"/metrics", buffer)
				buffers.Put(buffer)
				wait = t.interval - time.Since(begin)
			}
			return nil
		})
	}
	group.Go(func() error { return serveBenchProfiles(ctx, prometheus.NewRegistry()) })
	return group.Wait()
}

// readBarePage returns the number of demanded lines of a page; 0 for an unreadable page, which the number of served pages shows.
func readBarePage(ctx context.Context, client *http.Client, url string, buffer *bytes.Buffer) (lines int) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0
	}
	response, err := client.Do(request)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	buffer.Reset()
	if _, err := io.Copy(buffer, response.Body); err != nil {
		return 0
	}
	for page := buffer.Bytes(); len(page) > 0; {
		end := bytes.IndexByte(page, '\n')
		if end < 0 {
			break
		}
		if bytes.HasPrefix(page, []byte(family)) {
			lines++
		}
		page = page[end+1:]
	}
	return lines
}
