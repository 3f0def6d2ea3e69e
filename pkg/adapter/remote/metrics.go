package remote

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics are the self-metrics of all backends, which the label backend tells apart. They outlive a backend that a
// reload replaces by another of the same name.
type Metrics struct {
	requests         *prometheus.CounterVec
	requestDuration  *prometheus.HistogramVec
	refreshedQueries *prometheus.GaugeVec
	up               *prometheus.GaugeVec
	lastSuccess      *prometheus.GaugeVec
	partialResponses *prometheus.CounterVec
	infos            *prometheus.CounterVec

	mu      sync.Mutex     // guards running
	running map[string]int // backends that run, by name
}

// NewMetrics registers the self-metrics; with nil they are counted only.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	by := []string{"backend"}
	return &Metrics{
		running: map[string]int{},
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tachometer_backend_requests_total",
			Help: "Requests to the servers of a backend that ended, by outcome.",
		}, []string{"backend", "outcome"}),
		requestDuration: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "tachometer_backend_request_duration_seconds",
			Help:    "Time that a request to a server of a backend took, whatever its outcome.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, by),
		refreshedQueries: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tachometer_backend_questions",
			Help: "Questions that are refreshed because somebody asks them: one query to the backend each, every refresh interval.",
		}, by),
		up: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tachometer_backend_up",
			Help: "Whether the backend answers (1) or fails (0).",
		}, by),
		lastSuccess: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tachometer_backend_last_success_timestamp_seconds",
			Help: "When the backend answered a query last.",
		}, by),
		partialResponses: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tachometer_backend_partial_responses_total",
			Help: "Answers that the backend called incomplete or warned of, whether they were accepted or not.",
		}, by),
		infos: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tachometer_backend_infos_total",
			Help: "Answers with which the backend sent remarks about the query.",
		}, by),
	}
}

// addBackendSeries makes the series of a backend that begins to run.
func (m *Metrics) addBackendSeries(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.running[name]++
	for _, o := range countedOutcomes() {
		m.requests.WithLabelValues(name, string(o))
	}
	m.requestDuration.WithLabelValues(name)
	m.refreshedQueries.WithLabelValues(name)
	m.partialResponses.WithLabelValues(name)
	m.infos.WithLabelValues(name)
}

// removeBackendSeries removes them after the last backend of the name: one that is configured no more is not down.
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
	m.partialResponses.DeletePartialMatch(own)
	m.infos.DeletePartialMatch(own)
}

// observeServerRequest counts a request that ended; nobody is to blame for one that was given up.
func (m *Metrics) observeServerRequest(name string, f *requestFailure, took time.Duration) {
	o := outcomeOK
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
