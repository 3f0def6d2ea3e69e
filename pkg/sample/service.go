// Package sample is a small Go service that keeps the contract of an autoscaled service: stateless, configured by its
// environment, measured, bounded in everything, and able to come and go under load without losing a request.
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

	"github.com/tachometer-metrics/tachometer/pkg/version"
)

// serviceName is the value of the log's service key.
const serviceName = "sample"

// Options are what a Service takes from outside beside its configuration; the zero value is a service that logs nowhere.
type Options struct {
	// Log takes what happens; nil: nothing is logged.
	Log *zap.Logger
	// Listener is served instead of one on Config.ListenAddr. Run closes it.
	Listener net.Listener
	// Jitter returns the start-up wait for its upper bound; nil: uniform from 0 to it.
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
	ready         readiness
	slots         *requestSlots
	clientLimiter *clientLimiter
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
		stdLog:        newStdLogger(opts.Log),
		metrics:       newMetrics(registry),
		slots:         &requestSlots{limit: int64(cfg.MaxInFlight)},
		clientLimiter: newClientLimiter(cfg.RateLimit),
		cpus:          make(chan struct{}, runtime.GOMAXPROCS(0)),
		buffers:       newBufferPool(),
	}
	if cfg.RedisAddr != "" {
		s.redis = newRedisOrderStore(&s.cfg)
		s.orders = s.redis
		s.ready.checks = []*dependencyCheck{{name: "redis", timeout: cfg.RedisTimeout, ping: s.redis.pingRedis}}
	}
	s.indexBody = encodeIndex()
	return s
}

func encodeIndex() []byte {
	doc, err := json.Marshal(map[string]string{"service": serviceName, "version": version.String()})
	if err != nil {
		panic(err) // a map of strings always marshals
	}
	return append(doc, '\n')
}

// newStdLogger takes what net/http has to say, which is about single connections.
func newStdLogger(to *zap.Logger) *log.Logger {
	std, err := zap.NewStdLogAt(to.Named("http"), zapcore.WarnLevel)
	if err != nil {
		panic(err) // only an unknown level is an error
	}
	return std
}

// Run serves until ctx ends, drains, and returns nil when every request taken has been answered. It returns an error
// if it could not listen or serve, or if requests were cut off at the end of Config.GracePeriod. Call it once.
func (s *Service) Run(ctx context.Context) error {
	listener, pprofListener, err := s.openListeners(ctx)
	if err != nil {
		return err
	}
	if s.redis != nil {
		defer s.closeRedis()
	}
	main, profiles := s.newHTTPServer(s.newServiceHandler(s.registry)), s.newHTTPServer(newPprofHandler())
	profiles.WriteTimeout = 0 // a profile or a trace takes as long as it was asked to
	group, serveCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return serveListener(main, listener) })
	if pprofListener != nil {
		group.Go(func() error { return serveListener(profiles, pprofListener) })
	}
	group.Go(func() error {
		s.runReadiness(serveCtx, listener.Addr())
		err := s.drainServer(ctx, main)
		return errors.Join(err, profiles.Close()) // last: a drain that hangs is worth a look
	})
	return group.Wait()
}

// openListeners opens both listeners, or neither; the one for pprof is nil if it is switched off.
func (s *Service) openListeners(ctx context.Context) (main, profiles net.Listener, err error) {
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
	s.log.Warn("pprof is on", zap.Stringer("address", profiles.Addr()))
	return main, profiles, nil
}

func serveListener(server *http.Server, listener net.Listener) error {
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %v: %w", listener.Addr(), err)
	}
	return nil
}

// runReadiness waits for the start-up jitter, says that the service is ready, and returns when ctx ends.
func (s *Service) runReadiness(ctx context.Context, addr net.Addr) {
	if most := s.cfg.StartJitter; most > 0 {
		wait := s.opts.Jitter(most)
		s.log.Info("waiting before the first readiness", zap.Duration("wait", wait))
		if !sleepFor(ctx, wait) {
			return
		}
	}
	if err := s.ready.checkDependencies(ctx, time.Now()); err != nil { // connects, so that the jitter spreads the connections too
		s.log.Warn("dependency is not ready", zap.Error(err))
	}
	s.ready.enterPhase(phaseServing)
	s.log.Info("serving", zap.Stringer("address", addr), zap.Bool("redis", s.redis != nil))
	<-ctx.Done()
}

// drainServer ends the service. What watches /readyz learns at once; who was told to use this pod learns later, so requests
// are served for DrainDelay more before the listener closes. ctx is Run's: if it has not ended, the listener is
// already lost and there is nothing to wait for.
func (s *Service) drainServer(ctx context.Context, server *http.Server) error {
	told := s.ready.isInPhase(phaseServing) && ctx.Err() != nil
	s.ready.enterPhase(phaseDraining)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.GracePeriod)
	defer cancel()
	if told {
		s.log.Info("draining", zap.Duration("delay", s.cfg.DrainDelay))
		sleepFor(ctx, s.cfg.DrainDelay)
	}
	if err := server.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("shut down with %d requests unanswered: %w", s.slots.used.Load(), err), server.Close())
	}
	s.log.Info("stopped")
	return nil
}

func (s *Service) closeRedis() {
	if err := s.redis.closeClient(); err != nil {
		s.log.Warn("closing redis client failed", zap.Error(err))
	}
}

// sleepFor waits for d and reports whether ctx lasted as long.
func sleepFor(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
