// This file has the routes, the HTTP servers and the writers of answers.

package sample

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// userRoute is a user endpoint. Its template is its `route` label.
type userRoute struct {
	method, template string
	// codes are the status codes with counters from the start, the most common first.
	codes   []int
	handler http.HandlerFunc
}

func (s *Service) listUserRoutes() []userRoute {
	const (
		ok, created          = http.StatusOK, http.StatusCreated
		bad, missing         = http.StatusBadRequest, http.StatusNotFound
		limited, unavailable = http.StatusTooManyRequests, http.StatusServiceUnavailable
	)
	return []userRoute{
		{http.MethodGet, "/", []int{ok, limited, unavailable}, s.serveIndexPage},
		{http.MethodGet, "/work", []int{ok, bad, limited, unavailable}, s.serveWorkRequest},
		{http.MethodPost, "/orders", []int{created, bad, limited, unavailable}, s.createOrder},
		{http.MethodGet, "/orders/{id}", []int{ok, missing, limited, unavailable}, s.serveOrder},
	}
}

// newServiceHandler returns the handler of all endpoints. Platform endpoints stand beside the user endpoints, so that
// probes and scrapes are neither counted nor limited with user requests.
func (s *Service) newServiceHandler(gatherer prometheus.Gatherer) http.Handler {
	users := http.NewServeMux()
	for _, r := range s.listUserRoutes() {
		path := r.template
		if path == "/" {
			path = "/{$}" // the root alone; "/" would match every path
		}
		users.Handle(r.method+" "+path, s.boundHTTPRequests(s.injectHandlerFault(r.handler)))
		s.metrics.initRouteCounters(r.method, r.template, r.codes...)
	}
	s.metrics.initRouteCounters(http.MethodGet, unmatchedRoute, http.StatusNotFound)

	all := http.NewServeMux()
	all.HandleFunc("GET /healthz", serveLiveness)
	all.Handle("GET /readyz", &s.ready)
	all.Handle("GET /metrics", promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{
		MaxRequestsInFlight: 8, // a few scrapers at once, not a crowd
	}))
	all.Handle("/", s.traceHTTPRequests(s.observeHTTPRequests(s.recoverHandlerPanic(users))))
	return all
}

// faultDelay is far above the normal duration of a request, and far below REQUEST_TIMEOUT.
const faultDelay = 500 * time.Millisecond

// injectHandlerFault wraps next with the configured fault, if any. Probes still succeed, while user requests are slow or fail.
func (s *Service) injectHandlerFault(next http.HandlerFunc) http.HandlerFunc {
	switch s.cfg.Fault {
	case FaultSlow:
		return func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(faultDelay):
				next(w, r)
			case <-r.Context().Done():
				writeUnfinishedRequest(w, r, r.Context().Err(), "the drill's delay took too long")
			}
		}
	case FaultError:
		return func(w http.ResponseWriter, r *http.Request) {
			writeResponseError(w, r, http.StatusInternalServerError, "a drill: FAULT=error")
		}
	}
	return next
}

// newPprofHandler returns a separate handler for the profiles.
func newPprofHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// httpRouteLabel returns the route label of a ServeMux pattern such as "GET /orders/{id}".
func httpRouteLabel(pattern string) string {
	_, path, ok := strings.Cut(pattern, " ")
	if !ok {
		return unmatchedRoute
	}
	return strings.TrimSuffix(path, "{$}")
}

func (s *Service) serveIndexPage(w http.ResponseWriter, _ *http.Request) {
	writeResponseJSON(w, http.StatusOK, s.indexBody)
}

// writeResponseJSON answers with an encoded document. It ignores write errors: they mean that the client is gone.
func writeResponseJSON(w http.ResponseWriter, code int, doc []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(doc)
}

// writeResponseError answers with {"error": message, "trace_id": …}. The message is for the client; causes go to the log.
func writeResponseError(w http.ResponseWriter, r *http.Request, code int, message string) {
	doc, err := json.Marshal(struct {
		Error string `json:"error"`
		Trace string `json:"trace_id,omitempty"`
	}{message, requestTraceID(r.Context())})
	if err != nil {
		panic(err) // two strings always marshal
	}
	writeResponseJSON(w, code, append(doc, '\n'))
}

// statusClientGone is nginx's code for a client that hung up before its answer: such a request is neither a failure of
// the service nor a success.
const statusClientGone = 499

// writeUnfinishedRequest answers a request after its work failed with err: 499 if the client hung up, 503 for a limit or a
// dependency.
func writeUnfinishedRequest(w http.ResponseWriter, r *http.Request, err error, message string) {
	code := http.StatusServiceUnavailable
	if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		code = statusClientGone
	} else {
		w.Header().Set("Retry-After", "1")
	}
	writeResponseError(w, r, code, message)
}

// newServiceServer returns an HTTP server with a timeout for every wait.
func (s *Service) newServiceServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ErrorLog:          s.stdLog,
		ReadHeaderTimeout: 5 * time.Second,          // a header is one packet; slower is an attack
		ReadTimeout:       s.cfg.RequestTimeout,     // a slower body could not be answered in time either
		WriteTimeout:      2 * s.cfg.RequestTimeout, // from the end of the header: the work, and then a slow reader
		IdleTimeout:       2 * time.Minute,          // longer than the 90 s of Go's own clients, so that they close first
		MaxHeaderBytes:    16 << 10,
	}
}
