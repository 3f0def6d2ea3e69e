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
)

// health is what the probes and whoever scrapes are told.
type health struct {
	lead     *leadership
	registry *prometheus.Registry
	bad      *prometheus.GaugeVec

	mu     sync.Mutex          // guards what follows
	byCrew prometheus.Gatherer // of the crew at work; nil: none yet
	fault  error               // of the newest configuration, if the one in force is older
	since  time.Time
}

func newHealth(lead *leadership) *health {
	h := &health{lead: lead, registry: prometheus.NewRegistry(), bad: prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "tachometer_scaler_config_bad", Help: "1 where the newest configuration is bad and an older one in force, else 0.",
	}, nil)}
	h.bad.WithLabelValues().Set(0)
	leads := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tachometer_scaler_leader", Help: "1 where this replica leads, else 0.",
	}, func() float64 {
		if ctx, _, _ := lead.state(); ctx != nil {
			return 1
		}
		return 0
	})
	h.registry.MustRegister(h.bad, leads, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return h
}

// crew takes the metrics of the crew that is put to work.
func (h *health) crew(g prometheus.Gatherer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.byCrew = g
}

// configured takes note of a configuration; err: that it is bad.
func (h *health) configured(err error, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fault, h.since = err, now
	h.bad.WithLabelValues().Set(0)
	if err != nil {
		h.bad.WithLabelValues().Set(1)
	}
}

// ready tells why the replica is of no use: it has not heard of a leader, not even of itself.
func (h *health) ready() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.byCrew == nil {
		return errors.New("not at work yet")
	}
	if _, leader, _ := h.lead.state(); leader == "" {
		return errors.New("no leader is known yet: is the API server away?")
	}
	return nil
}

// notes are lines for people, on /readyz?verbose.
func (h *health) notes(w http.ResponseWriter) {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, leader, _ := h.lead.state()
	fmt.Fprintf(w, "leader: %s\n", leader)
	if h.fault != nil {
		fmt.Fprintf(w, "configuration: the one in force is older than %s, because the new one is bad:\n%v\n", h.since.UTC().Format(time.RFC3339), h.fault)
	}
}

// gather is everything that is counted.
func (h *health) gather() prometheus.Gatherer {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.byCrew == nil {
		return h.registry
	}
	return prometheus.Gatherers{h.registry, h.byCrew}
}

func (h *health) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := h.ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		if r.URL.Query().Has("verbose") {
			h.notes(w)
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		promhttp.HandlerFor(h.gather(), promhttp.HandlerOpts{MaxRequestsInFlight: 4}).ServeHTTP(w, r)
	})
	return mux
}

// serve answers on the address until ctx ends.
func (h *health) serve(ctx context.Context, address string) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listen for probes: %w", err)
	}
	server := &http.Server{Handler: h.handler(), ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve probes: %w", err)
	}
	return nil
}
