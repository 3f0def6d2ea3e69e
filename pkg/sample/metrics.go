// This file has the service's metrics.

package sample

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/tachometer-metrics/tachometer/pkg/version"
)

// unmatchedRoute is the route label of every request without a matching route template: it bounds the label's values.
const unmatchedRoute = "unmatched"

// metrics are the service's own metrics. They count user requests only. They leave out /metrics, /healthz and /readyz:
// otherwise a service without users would show the traffic of its probes and scrapers.
type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	inFlight prometheus.Gauge
	panics   prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	labels := []string{"method", "route", "code"}
	m := &metrics{
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "http_requests_total",
			Help: "User requests answered, by method, route template and status code; probes and scrapes are not counted.",
		}, labels),
		duration: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "http_request_duration_seconds",
			Help: "Time from the request's header to the end of the answer, by method, route template and status code.",
			// From a cheap answer (under 1 ms) to the request timeout, dense enough for a p95 within a third.
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, labels),
		inFlight: f.NewGauge(prometheus.GaugeOpts{
			Name: "http_requests_in_flight",
			Help: "User requests in progress.",
		}),
		panics: f.NewCounter(prometheus.CounterOpts{
			Name: "sample_http_panics_total",
			Help: "Requests whose handler panicked; each got 500 or was cut off.",
		}),
	}
	build := f.NewGauge(prometheus.GaugeOpts{
		Name: "sample_build_info", Help: "Always 1; the label is the version.",
		ConstLabels: prometheus.Labels{"version": version.String()},
	})
	build.Set(1)
	return m
}

// initRouteCounters creates the counters of a route at 0 before its first request. A counter that appears with its first
// increment has no earlier sample, so that a rate over it misses the increment. This would hurt at the start of a step
// of load, when a new pod matters most.
func (m *metrics) initRouteCounters(method, route string, codes ...int) {
	for _, code := range codes {
		m.requests.WithLabelValues(method, route, strconv.Itoa(code))
	}
	m.duration.WithLabelValues(method, route, strconv.Itoa(codes[0]))
}

// countHTTPRequest records one answered request.
func (m *metrics) countHTTPRequest(r *http.Request, code int, took time.Duration) {
	method, route, status := httpMethodLabel(r.Method), httpRouteLabel(r.Pattern), strconv.Itoa(code)
	m.requests.WithLabelValues(method, route, status).Inc()
	m.duration.WithLabelValues(method, route, status).Observe(took.Seconds())
}

// httpMethodLabel returns method if HTTP defines it, else "other": a client may send any token, and each would be a new
// series.
func httpMethodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodConnect, http.MethodOptions, http.MethodTrace:
		return method
	}
	return "other"
}
