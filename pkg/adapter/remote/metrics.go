// The self-metrics of all backends: requests, repeated queries, and notices in responses.

package remote

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics are the self-metrics of all backends, with the label backend. They outlive a backend that a reload replaces by
// another of the same name.
type Metrics struct {
	requests         *prometheus.CounterVec
	requestDuration  *prometheus.HistogramVec
	refreshedQueries *prometheus.GaugeVec
	droppedQueries   *prometheus.CounterVec
	up               *prometheus.GaugeVec
	lastSuccess      *prometheus.GaugeVec
	partialResponses *prometheus.CounterVec
	infos            *prometheus.CounterVec
	panics           *prometheus.CounterVec

	mu      sync.Mutex     // guards running
	running map[string]int // number of running backends, by name
}

// NewMetrics registers the self-metrics; with nil it only counts.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	by := []string{"backend"}
	return &Metrics{
		running: map[string]int{},
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tachometer_backend_requests_total",
			Help: "Requests to the backend's servers.",
		}, []string{"backend", "outcome"}),
		requestDuration: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "tachometer_backend_request_duration_seconds",
			Help:    "Duration of a request to a server.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, by),
		refreshedQueries: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tachometer_backend_refreshed_queries",
			Help: "Queries repeated every refresh interval.",
		}, by),
		droppedQueries: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tachometer_backend_dropped_queries_total",
			Help: "Repeated queries dropped for newer ones at a bound.",
		}, by),
		up: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tachometer_backend_up",
			Help: "Whether the backend responds (1) or fails (0).",
		}, by),
		lastSuccess: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tachometer_backend_last_success_timestamp_seconds",
			Help: "Time of the backend's last response.",
		}, by),
		partialResponses: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tachometer_backend_partial_responses_total",
			Help: "Responses marked as incomplete, accepted or not.",
		}, by),
		infos: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tachometer_backend_infos_total",
			Help: "Responses with a notice about the query.",
		}, by),
		panics: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tachometer_backend_panics_total",
			Help: "Panics in queries, each a bug.",
		}, by),
	}
}

// addBackendSeries creates the series of a backend that starts to run.
func (m *Metrics) addBackendSeries(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.running[name]++
	for _, o := range listRequestOutcomes() {
		m.requests.WithLabelValues(name, string(o))
	}
	m.requestDuration.WithLabelValues(name)
	m.refreshedQueries.WithLabelValues(name)
	m.droppedQueries.WithLabelValues(name)
	m.partialResponses.WithLabelValues(name)
	m.infos.WithLabelValues(name)
	m.panics.WithLabelValues(name)
}

// removeBackendSeries removes the series with the last running backend of the name: a backend without configuration is not down.
func (m *Metrics) removeBackendSeries(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.running[name]--; m.running[name] > 0 {
		return
	}
	delete(m.running, name)
	own := prometheus.Labels{"backend": name}
	m.requests.DeletePartialMatch(own)
	m.requestDuration.DeletePartialMatch(own)
	for _, v := range []*prometheus.GaugeVec{m.refreshedQueries, m.up, m.lastSuccess} {
		v.DeletePartialMatch(own)
	}
	m.droppedQueries.DeletePartialMatch(own)
	m.partialResponses.DeletePartialMatch(own)
	m.infos.DeletePartialMatch(own)
	m.panics.DeletePartialMatch(own)
}

// observeServerRequest counts a finished request. It skips a cancelled request: its outcome is not the server's.
func (m *Metrics) observeServerRequest(name string, f *backendRequestFailure, took time.Duration) {
	o := outcomeSuccess
	if f != nil {
		o = f.outcome
	}
	if o == outcomeCancelled {
		return
	}
	m.requests.WithLabelValues(name, string(o)).Inc()
	m.requestDuration.WithLabelValues(name).Observe(took.Seconds())
}

func (m *Metrics) setBackendUp(name string, up bool, now time.Time) {
	if !up {
		m.up.WithLabelValues(name).Set(0)
		return
	}
	m.up.WithLabelValues(name).Set(1)
	m.lastSuccess.WithLabelValues(name).Set(float64(now.UnixMilli()) / 1000)
}
