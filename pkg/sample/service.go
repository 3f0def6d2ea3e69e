// This file has the service's life: start, serve, drain, stop.

// Package sample is a small service that takes orders: settings from the environment, HTTP handlers, Redis, limits on clients, health,
// readiness, and faults on purpose. It keeps the contract of an autoscaled service: stateless, configured by its environment, measured,
// bounded in everything, and able to come and go under load without losing a request.
package sample

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sync/errgroup"

	"github.com/tachometer-metrics/tachometer/pkg/retry"
	"github.com/tachometer-metrics/tachometer/pkg/version"
)

// serviceName is the value of the log's service key.
const serviceName = "sample"

// Options configures a Service beyond its Config. With the zero value the service does not log.
type Options struct {
	// Log is the service's logger; nil switches logging off.
	Log *zap.Logger
	// Listener replaces a listener on Config.ListenAddr. Run closes it.
	Listener net.Listener
	// Jitter returns the start-up wait for an upper bound; nil means uniform from 0 to the bound.
	Jitter func(most time.Duration) time.Duration
}

// Service is one instance of the sample service.
type Service struct {
	cfg           Config
	opts          Options
	log           *zap.Logger
	stdLog        *log.Logger
	registry      *prometheus.Registry
	metrics       *metrics
	ready         readinessHandler
	slots         *requestSlots
	clientLimiter *clientLimiter
	requestLog    retry.Throttle // by class of status code
	cpus          chan struct{}
	buffers       *bufferPool
	orders        orderStore // nil: not configured
	redis         *redisOrderStore
	indexBody     []byte
}

// New returns a service that Run starts. cfg comes from LoadConfig.
func New(cfg Config, opts Options) *Service {
	if opts.Log == nil {
		opts.Log = zap.NewNop()
	}
	if opts.Jitter == nil {
		opts.Jitter = rand.N[time.Duration]
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	s := &Service{
		cfg: cfg, opts: opts, log: opts.Log, registry: registry,
		stdLog:        newHTTPStdLogger(opts.Log),
		metrics:       newMetrics(registry),
		slots:         &requestSlots{limit: int64(cfg.MaxInFlight)},
		clientLimiter: newClientLimiter(cfg.RateLimit),
		cpus:          make(chan struct{}, runtime.GOMAXPROCS(0)),
		buffers:       newOrderBufferPool(),
		requestLog:    retry.Throttle{Interval: time.Second, Lines: requestLinesPerSecond},
	}
	if cfg.RedisAddr != "" {
		s.redis = newRedisOrderStore(&s.cfg)
		s.orders = s.redis
		s.ready.checks = []*dependencyCheck{{name: "redis", timeout: cfg.RedisTimeout, ping: s.redis.pingOrderRedis}}
	}
	s.indexBody = encodeIndexPage()
	return s
}

func encodeIndexPage() []byte {
	doc, err := json.Marshal(map[string]string{"service": serviceName, "version": version.String()})
	if err != nil {
		panic(err) // a map of strings always marshals
	}
	return append(doc, '\n')
}

// newHTTPStdLogger returns a logger for the messages of net/http. They concern single connections.
func newHTTPStdLogger(to *zap.Logger) *log.Logger {
	std, err := zap.NewStdLogAt(to.Named("http"), zapcore.WarnLevel)
	if err != nil {
		panic(err) // only an unknown level is an error
	}
	return std
}

// Run serves until ctx ends, drains, and returns nil after it has answered every accepted request. It returns an error
// if it cannot listen or serve, or if Config.GracePeriod ends before the last answer. Call it once.
func (s *Service) Run(ctx context.Context) error {
	listener, pprofListener, err := s.openHTTPListeners(ctx)
	if err != nil {
		return err
	}
	if s.redis != nil {
		defer s.closeOrderStore()
	}
	main, profiles := s.newServiceServer(s.newServiceHandler(s.registry)), s.newServiceServer(newPprofHandler())
	profiles.WriteTimeout = 0 // the client chooses the duration of a profile or a trace
	group, serveCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return serveHTTPRequests(main, listener) })
	if pprofListener != nil {
		group.Go(func() error { return serveHTTPRequests(profiles, pprofListener) })
	}
	group.Go(func() error {
		s.runServicePhases(serveCtx, listener.Addr())
		err := s.drainHTTPServer(ctx, main)
		return errors.Join(err, profiles.Close()) // last, so that a hanging drain can be profiled
	})
	return group.Wait()
}

// openHTTPListeners opens both listeners, or neither. The listener for pprof is nil if pprof is off.
func (s *Service) openHTTPListeners(ctx context.Context) (main, profiles net.Listener, err error) {
	var lc net.ListenConfig
	main = s.opts.Listener
	if main == nil {
		if main, err = lc.Listen(ctx, "tcp", s.cfg.ListenAddr); err != nil {
			return nil, nil, fmt.Errorf("listen for requests: %w", err)
		}
	}
	if s.cfg.PprofAddr == "" {
		return main, nil, nil
	}
	if profiles, err = lc.Listen(ctx, "tcp", s.cfg.PprofAddr); err != nil {
		main.Close()
		return nil, nil, fmt.Errorf("listen for pprof: %w", err)
	}
	s.log.Warn("Serving pprof", zap.Stringer("address", profiles.Addr()))
	return main, profiles, nil
}

func serveHTTPRequests(server *http.Server, listener net.Listener) error {
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %v: %w", listener.Addr(), err)
	}
	return nil
}

// runServicePhases waits for the start-up jitter, enters phaseServing, and returns when ctx ends.
func (s *Service) runServicePhases(ctx context.Context, addr net.Addr) {
	if most := s.cfg.StartJitter; most > 0 {
		wait := s.opts.Jitter(most)
		s.log.Info("Waiting for the start-up jitter", zap.Duration("wait", wait))
		if !retry.Sleep(ctx, wait) {
			return
		}
	}
	if err := s.ready.pingDependencies(ctx, time.Now(), &healthReport{Checks: map[string]string{}}); err != nil { // connects now, so that the jitter also spreads the connections
		s.log.Warn("Dependency is not ready", zap.NamedError("err", err))
	}
	s.ready.enterServicePhase(phaseServing)
	s.log.Info("Serving", zap.Stringer("address", addr), zap.Bool("redis", s.redis != nil))
	<-ctx.Done()
}

// drainHTTPServer ends the service. Watchers of /readyz learn of the drain at once, but clients with this pod's address learn
// later. The listener therefore stays open for DrainDelay. ctx is Run's: if it has not ended, the listener is already
// lost and the delay is skipped.
func (s *Service) drainHTTPServer(ctx context.Context, server *http.Server) error {
	announced := s.ready.isInServicePhase(phaseServing) && ctx.Err() != nil
	s.ready.enterServicePhase(phaseDraining)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.GracePeriod)
	defer cancel()
	if announced {
		s.log.Info("Draining", zap.Duration("delay", s.cfg.DrainDelay))
		retry.Sleep(ctx, s.cfg.DrainDelay)
	}
	if err := server.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("shut down with %d requests unanswered: %w", s.slots.used.Load(), err), server.Close())
	}
	if omitted := s.requestLog.TakeSuppressed(); omitted > 0 {
		s.log.Info("Requests not logged", zap.Int("omitted", omitted))
	}
	s.log.Info("Stopped")
	return nil
}

func (s *Service) closeOrderStore() {
	if err := s.redis.closeOrderRedis(); err != nil {
		s.log.Warn("Closing the Redis client failed", zap.NamedError("err", err))
	}
}
