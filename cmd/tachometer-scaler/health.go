package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tachometer-metrics/tachometer/pkg/filewatch"
	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// healthServer is what the probes and whoever scrapes are told.
type healthServer struct {
	lead          *leadership
	registry      *prometheus.Registry
	configMetrics *filewatch.Metrics

	mu               sync.Mutex          // guards what follows
	componentMetrics prometheus.Gatherer // of the crew at work; nil: none yet
	configError      error               // of the newest configuration, while the previous one stays active
	configLoadedAt   time.Time
}

func newHealthServer(lead *leadership) *healthServer {
	registry := prometheus.NewRegistry()
	h := &healthServer{lead: lead, registry: registry, configMetrics: filewatch.NewMetrics(registry, "scaler")}
	registry.MustRegister(newLeaderGauge(lead), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return h
}

// setComponentMetrics takes the metrics of the crew that is put to work.
func (h *healthServer) setComponentMetrics(g prometheus.Gatherer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.componentMetrics = g
}

// recordConfigLoad records that a configuration was applied, or, with an error, rejected.
func (h *healthServer) recordConfigLoad(err error, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.configError, h.configLoadedAt = err, now
	if err == nil {
		h.configMetrics.RecordApplied(now)
		return
	}
	var faults strict.Faults
	errors.As(err, &faults)
	h.configMetrics.RecordRejected(len(faults))
}

// checkReadiness tells why the replica is of no use: it has not heard of a leader, not even of itself.
func (h *healthServer) checkReadiness() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.componentMetrics == nil {
		return errors.New("not at work yet")
	}
	if _, leader, _ := h.lead.snapshotLeader(); leader == "" {
		return errors.New("no leader is known yet: is the API server away?")
	}
	return nil
}

// writeReadinessNotes are lines for people, on /readyz?verbose.
func (h *healthServer) writeReadinessNotes(w http.ResponseWriter) {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, leader, _ := h.lead.snapshotLeader()
	fmt.Fprintf(w, "leader: %s\n", leader)
	if h.configError != nil {
		fmt.Fprintf(w, "configuration: rejected at %s, keeping the previous one:\n%v\n", h.configLoadedAt.UTC().Format(time.RFC3339), h.configError)
	}
}

// combineGatherers is everything that is counted.
func (h *healthServer) combineGatherers() prometheus.Gatherer {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.componentMetrics == nil {
		return h.registry
	}
	return prometheus.Gatherers{h.registry, h.componentMetrics}
}

func (h *healthServer) newHealthHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := h.checkReadiness(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		if r.URL.Query().Has("verbose") {
			h.writeReadinessNotes(w)
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		promhttp.HandlerFor(h.combineGatherers(), promhttp.HandlerOpts{MaxRequestsInFlight: 4}).ServeHTTP(w, r)
	})
	return mux
}

// serveHealth answers on the address until ctx ends.
func (h *healthServer) serveHealth(ctx context.Context, address string) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listen for probes: %w", err)
	}
	server := &http.Server{Handler: h.newHealthHandler(), ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve probes: %w", err)
	}
	return nil
}
