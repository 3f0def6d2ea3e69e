// Probes and metrics of tachometer-scaler run.

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
	dto "github.com/prometheus/client_model/go"

	"github.com/tachometer-metrics/tachometer/pkg/fieldlimit"
	"github.com/tachometer-metrics/tachometer/pkg/filewatch"
	"github.com/tachometer-metrics/tachometer/pkg/logging"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/connlimit"
	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// healthServer serves the probes and the metrics.
type healthServer struct {
	lead          *leadership
	registry      *prometheus.Registry
	configMetrics *filewatch.Metrics

	mu               sync.Mutex          // guards the fields below
	componentMetrics prometheus.Gatherer // of the running components; nil: not started yet
	configError      error               // error of the newest configuration; nil: the newest is active
	configLoadedAt   time.Time
}

func newHealthServer(lead *leadership) *healthServer {
	registry := prometheus.NewRegistry()
	h := &healthServer{lead: lead, registry: registry, configMetrics: filewatch.NewMetrics(registry, "scaler")}
	registry.MustRegister(newLeaderGauge(lead), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return h
}

// setComponentMetrics replaces the metrics of the previous components.
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

// checkReadyToLead returns an error until the components run and a leader, this replica or another, is known.
func (h *healthServer) checkReadyToLead() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.componentMetrics == nil {
		return errors.New("components have not started yet")
	}
	if _, leader, _ := h.lead.getLeaderSnapshot(); leader == "" {
		return errors.New("no leader is known yet; check the connection to the API server")
	}
	return nil
}

// writeReadinessReport writes leader and configuration for people, on /readyz?verbose. Without reasons: the port is open to strangers.
func (h *healthServer) writeReadinessReport(w http.ResponseWriter) {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, leader, _ := h.lead.getLeaderSnapshot()
	fmt.Fprintf(w, "leader: %s\n", leader)
	if h.configError != nil {
		fmt.Fprintf(w, "configuration: rejected at %s, keeping the previous one; the log has the reason\n", h.configLoadedAt.UTC().Format(time.RFC3339))
	}
}

// gatherComponentMetrics returns the metrics of the process and of the running components.
func (h *healthServer) gatherComponentMetrics() ([]*dto.MetricFamily, error) {
	h.mu.Lock()
	all := prometheus.Gatherers{h.registry}
	if h.componentMetrics != nil {
		all = append(all, h.componentMetrics)
	}
	h.mu.Unlock()
	return all.Gather()
}

// newProbeHandler returns the handler of /livez, /readyz and /metrics.
func (h *healthServer) newProbeHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		if err := h.lead.checkElectionAlive(time.Now()); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := h.checkReadyToLead(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		if r.URL.Query().Has("verbose") {
			h.writeReadinessReport(w)
		}
		fmt.Fprintln(w, "ok")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(prometheus.GathererFunc(h.gatherComponentMetrics), promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	return mux
}

// serveProbesOnAddress serves on the address until ctx ends.
func (h *healthServer) serveProbesOnAddress(ctx context.Context, address string) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listen for probes: %w", err)
	}
	return h.serveProbesOnListener(ctx, listener)
}

// serveProbesOnListener serves on the listener until ctx ends.
func (h *healthServer) serveProbesOnListener(ctx context.Context, listener net.Listener) error {
	server := h.newProbeServer()
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := fieldlimit.Serve(server, listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve probes: %w", err)
	}
	return nil
}

// The connections of the kubelet and of monitoring are few. The port is open to strangers.
const maxHealthConnections, maxAddressHealthConnections = 128, 32

// newProbeServer returns the server of the handler.
func (h *healthServer) newProbeServer() *http.Server {
	server := &http.Server{
		Handler: h.newProbeHandler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second,
		IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10, ErrorLog: logging.NewServerLog(),
	}
	connlimit.New(maxHealthConnections, maxAddressHealthConnections).Apply(server)
	return server
}
