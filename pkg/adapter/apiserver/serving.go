// Two HTTP servers on one port: one for the front proxy, and one for all others.

package apiserver

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/fieldlimit"
	"github.com/tachometer-metrics/tachometer/pkg/logging"
)

// lifecycleListener stands for the port in the generic server, which then decides when serving begins and ends while the
// secureServer does it. The generic server's own HTTP server has fixed limits that are too wide for an open port.
type lifecycleListener struct {
	address net.Addr
	began   chan struct{} // closed when the generic server would accept
	ended   chan struct{} // closed when the generic server stops to accept
	begin   sync.Once
	end     sync.Once
}

var _ net.Listener = (*lifecycleListener)(nil)

func newLifecycleListener(address net.Addr) *lifecycleListener {
	return &lifecycleListener{address: address, began: make(chan struct{}), ended: make(chan struct{})}
}

// Accept returns net.ErrClosed after Close, and never a connection.
func (l *lifecycleListener) Accept() (net.Conn, error) {
	l.begin.Do(func() { close(l.began) })
	<-l.ended
	return nil, net.ErrClosed
}

// Close ends Accept.
func (l *lifecycleListener) Close() error {
	l.end.Do(func() { close(l.ended) })
	return nil
}

// Addr returns the address of the port.
func (l *lifecycleListener) Addr() net.Addr { return l.address }

// secureServer serves HTTPS on the port: one HTTP server for the connections of the front proxy and another, with narrower
// limits, for all others.
type secureServer struct {
	info      *genericapiserver.SecureServingInfo
	lifecycle *lifecycleListener
	verifier  frontProxyVerifier
	limits    serverLimits
	load      *processorLoad
	metrics   *metrics
	// requestTimeout bounds a request. The write of its response may take drainTimeout longer, so that a client that does
	// not read holds no place for ever.
	requestTimeout time.Duration
}

// drainTimeout is the time for a response to reach its client.
const drainTimeout = 10 * time.Second

// replaceServerListener takes the port out of config and leaves a lifecycleListener there. It must run after the options of
// authentication, which add the client authorities.
func replaceServerListener(config *genericapiserver.Config, limits serverLimits, load *processorLoad, m *metrics) *secureServer {
	s := &secureServer{
		info:      config.SecureServing,
		lifecycle: newLifecycleListener(config.SecureServing.Listener.Addr()),
		verifier:  newFrontProxyVerifier(config.Authentication.RequestHeaderConfig),
		limits:    limits, load: load, metrics: m, requestTimeout: config.RequestTimeout,
	}
	// Certificates stay with s: two controllers for them would do everything twice.
	config.SecureServing = &genericapiserver.SecureServingInfo{Listener: s.lifecycle, DisableHTTP2: true}
	return s
}

// Run serves handler from the time at which the generic server would, and returns after the last response.
func (s *secureServer) Run(ctx context.Context, handler http.Handler) error {
	select {
	case <-s.lifecycle.began:
	case <-s.lifecycle.ended: // the generic server did not start
		return s.info.Listener.Close()
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // the lifecycle's end is the signal to stop
	defer cancel()
	table := newConnectionTable(s.limits, s.metrics.evictions.Inc)
	s.metrics.observeClientConnections(table.countClientConnections)
	acceptor := &connectionAcceptor{
		listener: s.info.Listener, tls: s.startServingCertificates(ctx), table: table, verifier: s.verifier,
		timeout: s.limits.handshake, gate: newHandshakeGate(s.load), metrics: s.metrics,
		proxied: newConnectionListener(s.lifecycle.address), direct: newConnectionListener(s.lifecycle.address),
	}
	proxied, direct := s.newFrontProxyServer(handler), s.newDirectServer(handler)
	var running sync.WaitGroup
	running.Go(func() {
		s.verifier.awaitFrontProxyAuthority(ctx)
		acceptor.acceptTLSConnections(ctx)
	})
	// The error is always ErrServerClosed: Accept fails only after Shutdown.
	running.Go(func() { _ = proxied.Serve(acceptor.proxied) })
	running.Go(func() { _ = fieldlimit.Serve(direct, acceptor.direct) })
	<-s.lifecycle.ended
	cancel()
	err := shutdownHTTPServers(context.WithoutCancel(ctx), s.requestTimeout, proxied, direct)
	running.Wait()
	return err
}

// shutdownHTTPServers ends all servers at the same time, with a timeout for requests in flight.
func shutdownHTTPServers(ctx context.Context, timeout time.Duration, servers ...*http.Server) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	results := make(chan error, len(servers))
	for _, server := range servers {
		go func() { results <- errors.Join(server.Shutdown(ctx), server.Close()) }()
	}
	var errs []error
	for range servers {
		errs = append(errs, <-results)
	}
	return errors.Join(errs...)
}

// startServingCertificates returns the TLS configuration, which follows the serving certificate and the client authorities until
// ctx ends.
func (s *secureServer) startServingCertificates(ctx context.Context) *tls.Config {
	base := &tls.Config{
		MinVersion: max(s.info.MinTLSVersion, tls.VersionTLS12), CipherSuites: s.info.CipherSuites,
		CurvePreferences: s.info.CurvePreferences, NextProtos: []string{"h2", "http/1.1"},
	}
	if s.info.DisableHTTP2 {
		base.NextProtos = []string{"http/1.1"}
	}
	if s.info.ClientCA != nil {
		base.ClientAuth = tls.RequestClientCert // the authenticators verify it; without one, a token remains
	}
	controller := dynamiccertificates.NewDynamicServingCertificateController(base, s.info.ClientCA, s.info.Cert, s.info.SNICerts, nil)
	served := base.Clone() // the controller reads base from a goroutine of its own
	served.GetConfigForClient = controller.GetConfigForClient
	if s.info.ClientCA != nil {
		s.info.ClientCA.AddListener(controller)
		startCertificateSource(ctx, s.info.ClientCA)
	}
	if s.info.Cert != nil {
		s.info.Cert.AddListener(controller)
		startCertificateSource(ctx, s.info.Cert)
	}
	for _, c := range s.info.SNICerts {
		c.AddListener(controller)
		startCertificateSource(ctx, c)
	}
	if err := controller.RunOnce(); err != nil {
		klog.FromContext(ctx).Info("No certificate to serve yet", "err", err)
	}
	go controller.Run(1, ctx.Done())
	return served
}

// startCertificateSource reads a source of certificates once and follows it from then on, if it changes at all.
func startCertificateSource(ctx context.Context, source any) {
	controller, ok := source.(dynamiccertificates.ControllerRunner)
	if !ok {
		return
	}
	if err := controller.RunOnce(ctx); err != nil {
		klog.FromContext(ctx).Error(err, "Certificates not read yet")
	}
	go controller.Run(ctx, 1)
}

// newFrontProxyServer returns the server for the front proxy, which is kube-apiserver: it keeps its connections open.
func (s *secureServer) newFrontProxyServer(handler http.Handler) *http.Server {
	server := s.newSecureHTTPServer(handler, s.limits.proxyHeaderBytes, s.limits.proxyStreams)
	server.IdleTimeout = 90 * time.Second // as http.DefaultTransport, which leaves first
	server.BaseContext = func(net.Listener) context.Context { return withFrontProxyMark(context.Background()) }
	return server
}

// newDirectServer returns the server for all others: monitoring, probes, and any pod in the network.
func (s *secureServer) newDirectServer(handler http.Handler) *http.Server {
	server := s.newSecureHTTPServer(handler, s.limits.headerBytes, s.limits.streams)
	// A Prometheus server that scrapes every 30 s keeps its connection; an abandoned connection ends soon.
	server.IdleTimeout = 35 * time.Second
	server.ReadTimeout = s.requestTimeout + drainTimeout
	server.ConnContext = withRequestConnection
	return server
}

func (s *secureServer) newSecureHTTPServer(handler http.Handler, headerBytes, streams int) *http.Server {
	if configured := s.info.HTTP2MaxStreamsPerConnection; configured > 0 {
		streams = min(streams, configured)
	}
	// Requests have no body worth mentioning: small buffers bound the memory of a stream.
	const bufferBytes = 64 << 10
	return &http.Server{
		Handler:           handler,
		MaxHeaderBytes:    headerBytes,
		ReadHeaderTimeout: 10 * time.Second,
		WriteTimeout:      s.requestTimeout + drainTimeout,
		ErrorLog:          logging.NewServerLog(),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          streams,
			MaxReceiveBufferPerStream:     bufferBytes,
			MaxReceiveBufferPerConnection: max(bufferBytes, 65535+1),
			SendPingTimeout:               30 * time.Second, // finds dead peers
			WriteByteTimeout:              drainTimeout,     // finds clients that do not read
		},
	}
}

type frontProxyKey struct{}

func withFrontProxyMark(ctx context.Context) context.Context {
	return context.WithValue(ctx, frontProxyKey{}, true)
}

// isFromFrontProxy reports whether the request came over a connection of the front proxy.
func isFromFrontProxy(ctx context.Context) bool { return ctx.Value(frontProxyKey{}) != nil }
