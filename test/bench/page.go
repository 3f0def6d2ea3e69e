// The pages of targets, and the server of the pages: a Go service's metrics, rendered ahead or for each request.

package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// family is the family that scrapers keep, with 24 series. Autoscalers also use the orders, a single series.
const (
	family = "http_requests_total"
	orders = "orders_total"
)

// service is a target's page: a Go service with eight routes, some 600 series in 50 KB.
type service struct {
	registry *prometheus.Registry
	orders   prometheus.Counter
	requests []prometheus.Counter
	duration []prometheus.Observer
	pool     []prometheus.Gauge
	steps    int
}

func newBenchService() *service {
	s := &service{registry: prometheus.NewRegistry()}
	s.orders = prometheus.NewCounter(prometheus.CounterOpts{Name: orders, Help: "Orders placed."})
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: family, Help: "Requests served, by method, route and status code.",
	}, []string{"method", "route", "code"})
	duration := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "http_request_duration_seconds", Help: "Time to serve a request, by method and route.", Buckets: prometheus.DefBuckets,
	}, []string{"method", "route"})
	pool := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "db_pool_connections", Help: "Connections to the database, by shard, role and state.",
	}, []string{"shard", "role", "state"})
	s.registry.MustRegister(s.orders, requests, duration, pool, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for route := range 8 {
		path := fmt.Sprintf("/v1/orders/%d/{id}", route)
		for _, method := range []string{"GET", "POST", "DELETE"} {
			s.duration = append(s.duration, duration.WithLabelValues(method, path))
			s.requests = append(s.requests, requests.WithLabelValues(method, path, "200"))
		}
	}
	for shard := range 50 {
		for _, role := range []string{"primary", "replica"} {
			for _, state := range []string{"idle", "busy"} {
				s.pool = append(s.pool, pool.WithLabelValues(fmt.Sprintf("shard-%02d", shard), role, state))
			}
		}
	}
	return s
}

// advanceBenchSeries changes every series.
func (s *service) advanceBenchSeries() {
	s.steps++
	s.orders.Add(7)
	for i, c := range s.requests {
		c.Add(float64(10 + i))
	}
	for i, o := range s.duration {
		o.Observe(0.001 * float64(1+(s.steps*7+i)%2000))
	}
	for i, g := range s.pool {
		g.Set(float64((s.steps + i) % 50))
	}
}

// metricsHandler returns promhttp's handler, which honours name[].
func (s *service) metricsHandler() http.Handler {
	return promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{})
}

// renderBenchPage returns the response to a query.
func (s *service) renderBenchPage(query string) []byte {
	answer := httptest.NewRecorder()
	s.metricsHandler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics?"+query, http.NoBody))
	return answer.Body.Bytes()
}

func countPageSeries(page []byte) int {
	return bytes.Count(page, []byte("\n")) - bytes.Count(page, []byte("\n#")) - 1 // the page begins with a comment
}

// The modes of targets.
const (
	wholePages = "whole" // ignores name[]; renders the page once a second, so that serving it costs little
	namedPages = "named" // honours name[]; renders likewise
	livePages  = "live"  // gathers and renders with promhttp for each request, like a real service
)

// pages serves the same page for all targets.
type pages struct {
	mode    string
	service *service
	live    http.Handler
	served  atomic.Int64

	mu       sync.RWMutex
	rendered map[string][]byte // by query, empty for the whole page; guarded by mu
}

func newBenchPages(mode string) *pages {
	p := &pages{mode: mode, service: newBenchService(), rendered: map[string][]byte{}}
	p.live = p.service.metricsHandler()
	p.service.advanceBenchSeries()
	return p
}

// refreshBenchPages advances the service and renders the known pages.
func (p *pages) refreshBenchPages() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.service.advanceBenchSeries()
	clear(p.rendered)
}

// cachedBenchPage returns the response to a query. It renders only the first response after a refresh with a new query.
func (p *pages) cachedBenchPage(query string) []byte {
	if p.mode == wholePages {
		query = ""
	}
	p.mu.RLock()
	page := p.rendered[query]
	p.mu.RUnlock()
	if page != nil {
		return page
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rendered[query] = p.service.renderBenchPage(query)
	return p.rendered[query]
}

func (p *pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.served.Add(1)
	if p.mode == livePages {
		p.live.ServeHTTP(w, r)
		return
	}
	page := p.cachedBenchPage(r.URL.RawQuery)
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8; escaping=underscores")
	w.Header().Set("Content-Length", strconv.Itoa(len(page)))
	_, _ = w.Write(page) // an error means that the client is gone
}
