// Package apiserver is the adapter's HTTPS server: connections, handshakes, authentication, authorization, health endpoints, and the
// limits on callers and on requests in flight.
package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	apimetrics "k8s.io/apiserver/pkg/endpoints/metrics"
	"k8s.io/apiserver/pkg/endpoints/request"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/component-base/metrics/legacyregistry"
	"k8s.io/klog/v2"
	openapi "k8s.io/kube-openapi/pkg/common"
	metricsapiserver "sigs.k8s.io/custom-metrics-apiserver/pkg/apiserver"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/tachometer-metrics/tachometer/pkg/retry"
)

// Dependencies are the parts that a Server serves.
type Dependencies struct {
	// Provider answers the requests to both APIs.
	Provider provider.MetricsProvider
	// Certificate is the serving certificate; handshakes fail until it has one. Files in the options replace
	// it.
	Certificate dynamiccertificates.CertKeyContentProvider
	// Metrics adds to the API server library's own metrics on /metrics.
	Metrics prometheus.Gatherer
	// Registerer takes the Server's self-metrics; nil for none.
	Registerer prometheus.Registerer
	// Health are the checks and notes of the health endpoints.
	Health Health
	// Groups are API groups beside custom and external metrics; usually none.
	Groups []Group
	// Replica is the name of this replica, which responses carry; empty for none.
	Replica string
	// Forwarder reaches the other replicas; nil for none.
	Forwarder ReadForwarder
}

// Group is an API group with storage of its own.
type Group struct {
	// Info belongs to the Server.
	Info *genericapiserver.APIGroupInfo
	// Definitions describe the group's types for OpenAPI.
	Definitions openapi.GetOpenAPIDefinitions
}

// Server is the aggregated API server.
type Server struct {
	opts    *Options
	deps    Dependencies
	load    *processorLoad
	metrics *metrics
}

// New returns a Server that listens from Run on and owns opts.
func New(opts *Options, deps Dependencies) *Server {
	return &Server{opts: opts, deps: deps, load: newProcessorLoad(), metrics: newMetrics(deps.Registerer)}
}

// Listen opens the port, unless the options have a listener, and returns the address. Run calls it too; a test calls it
// before Run to learn the address.
func (s *Server) Listen() (addr string, err error) {
	var info *genericapiserver.SecureServingInfo
	if err := s.opts.Serving.SecureServingOptions.ApplyTo(&info); err != nil {
		return "", fmt.Errorf("listen: %w", err)
	}
	if info == nil {
		return "", errors.New("listen: --secure-port is 0")
	}
	return info.Listener.Addr().String(), nil
}

// Run serves until ctx ends. Then /readyz fails, Run serves for the shutdown delay, and returns after the last response.
// At the start Run waits until kube-apiserver, its delegate for authentication, is reachable.
func (s *Server) Run(ctx context.Context) error {
	if _, err := s.Listen(); err != nil {
		return err
	}
	server, secure, err := s.buildServerWithRetry(ctx)
	if err != nil {
		return errors.Join(err, s.opts.Serving.Listener.Close())
	}
	if server == nil { // ctx ended first
		return s.opts.Serving.Listener.Close()
	}
	prepared := server.PrepareRun()
	stopped := make(chan error, 1)
	go func() { stopped <- secure.Run(ctx, server.Handler) }()
	err = prepared.RunWithContext(ctx)
	return errors.Join(err, secure.lifecycle.Close(), <-stopped)
}

// buildServerWithRetry returns nil without an error if ctx ended before the server could be built.
func (s *Server) buildServerWithRetry(ctx context.Context) (*genericapiserver.GenericAPIServer, *secureServer, error) {
	for {
		config, err := s.buildServerConfig() //nolint:contextcheck // the paths' authorizer takes the request's own context
		if err == nil {
			secure := replaceServerListener(config, s.opts.limits, s.load, s.metrics)
			server, err := s.buildGenericServer(config)
			return server, secure, err
		}
		klog.FromContext(ctx).Error(err, "Waiting for kube-apiserver")
		if !retry.Sleep(ctx, 2*time.Second) {
			return nil, nil, nil
		}
	}
}

// buildServerConfig applies the options. It fails while kube-apiserver cannot tell how it authenticates itself.
func (s *Server) buildServerConfig() (*genericapiserver.Config, error) {
	config := genericapiserver.NewConfig(metricsapiserver.Codecs)
	if err := s.opts.Serving.ApplyToConfig(config); err != nil {
		return nil, err
	}
	if !s.opts.OwnCertificate() {
		config.SecureServing.Cert = s.deps.Certificate
	}
	if err := s.opts.Authentication.ApplyTo(&config.Authentication, config.SecureServing, nil); err != nil {
		return nil, err
	}
	if err := s.opts.Audit.ApplyTo(config); err != nil {
		return nil, err
	}
	if err := s.opts.Features.ApplyTo(config, nil, nil); err != nil {
		return nil, err
	}
	config.OpenAPIConfig, config.OpenAPIV3Config = describeMetricOpenAPI(s.deps.Groups)
	config.LongRunningFunc = func(*http.Request, *request.RequestInfo) bool { return false } // no API here has watches: all end in time
	config.EnableMetrics = false                                                             // see installMetricsHandler: together with the adapter's own
	config.ShutdownDelayDuration = s.opts.ShutdownDelay
	config.RequestTimeout = s.opts.RequestTimeout
	config.MaxRequestBodyBytes = maxRequestBodyBytes
	config.AddLivezChecks(toHealthCheckers(s.deps.Health.Live)...)
	config.AddReadyzChecks(toHealthCheckers(s.deps.Health.Ready)...)
	return config, s.buildHandlerChain(config)
}

// buildHandlerChain puts limits, lanes and the explanation of health around the handler chain of the library.
func (s *Server) buildHandlerChain(config *genericapiserver.Config) error {
	open, err := newOpenPathMatcher(s.opts.Authorization.AlwaysAllowPaths)
	if err != nil {
		return err
	}
	lanes := newRequestLanes(s.opts.Autoscalers, open, s.opts.limits, s.metrics)
	authorizers, err := s.opts.buildAuthorizers()
	if err != nil {
		return err
	}
	byLane := &laneAuthorizer{lanes: lanes, autoscaling: authorizers.autoscaling, others: authorizers.others, wide: authorizers.wide}
	config.Authorization.Authorizer = authorizer.AuthorizerFunc(byLane.authorizeInLane)
	config.FlowControl = lanes
	proven := newProvenFrontProxyCredentials()
	config.Authentication.Authenticator = proven.recordProvenCredentials(config.Authentication.Authenticator)
	verifier := newFrontProxyVerifier(config.Authentication.RequestHeaderConfig)
	explainer := newHealthExplainer(s.deps.Health, authorizers.details, authorizers.wide)
	gate := newProcessorGate(lanes, s.load, s.opts.limits)
	config.BuildHandlerChainFunc = func(api http.Handler, c *genericapiserver.Config) http.Handler {
		health := newProbeHandler(explainer.explainHealthResponse(api))
		api = s.answerByOtherReplica(rejectBadMetricSelector(withPlainDiscovery(api), s.metrics))
		chain := genericapiserver.DefaultBuildHandlerChain(explainer.explainHealthResponse(gate.gateRequestHandler(api)), c)
		admission := newRequestAdmission(chain, s.opts.limits, open, proven, verifier, s.metrics)
		admission.health = health
		return admission
	}
	return nil
}

func (s *Server) buildGenericServer(config *genericapiserver.Config) (*genericapiserver.GenericAPIServer, error) {
	complete := (&metricsapiserver.Config{GenericConfig: config}).Complete(nil)
	server, err := complete.New("tachometer", s.deps.Provider, s.deps.Provider)
	if err != nil {
		return nil, fmt.Errorf("build API server: %w", err)
	}
	for _, g := range s.deps.Groups {
		if err := server.GenericAPIServer.InstallAPIGroup(g.Info); err != nil {
			return nil, fmt.Errorf("install API group %s: %w", g.Info.PrioritizedVersions[0].Group, err)
		}
	}
	s.installMetricsHandler(server.GenericAPIServer)
	return server.GenericAPIServer, nil
}

func (s *Server) installMetricsHandler(server *genericapiserver.GenericAPIServer) {
	apimetrics.Register()
	all := prometheus.Gatherers{legacyregistry.DefaultGatherer}
	if s.deps.Metrics != nil {
		all = append(all, s.deps.Metrics)
	}
	server.Handler.NonGoRestfulMux.Handle("/metrics", promhttp.HandlerFor(all, promhttp.HandlerOpts{
		// A failing collector must not hide the others when they are needed most.
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: 4, // a page has a few hundred KB, and one or two Prometheus servers scrape it
	}))
}
