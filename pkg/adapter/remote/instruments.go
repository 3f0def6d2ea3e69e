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
	requests    *prometheus.CounterVec
	duration    *prometheus.HistogramVec
	questions   *prometheus.GaugeVec
	up          *prometheus.GaugeVec
	lastSuccess *prometheus.GaugeVec
	partial     *prometheus.CounterVec
	infos       *prometheus.CounterVec

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
		duration: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "tachometer_backend_request_duration_seconds",
			Help:    "Time that a request to a server of a backend took, whatever its outcome.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, by),
		questions: f.NewGaugeVec(prometheus.GaugeOpts{
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
		partial: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tachometer_backend_partial_responses_total",
			Help: "Answers that the backend called incomplete or warned of, whether they were accepted or not.",
		}, by),
		infos: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tachometer_backend_infos_total",
			Help: "Answers with which the backend sent remarks about the query.",
		}, by),
	}
}

// attach makes the series of a backend that begins to run.
func (m *Metrics) attach(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.running[name]++
	for _, o := range outcomes() {
		m.requests.WithLabelValues(name, string(o))
	}
	m.duration.WithLabelValues(name)
	m.questions.WithLabelValues(name)
	m.partial.WithLabelValues(name)
	m.infos.WithLabelValues(name)
}

// detach removes them after the last backend of the name: one that is configured no more is not down.
func (m *Metrics) detach(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.running[name]--; m.running[name] > 0 {
		return
	}
	delete(m.running, name)
	own := prometheus.Labels{"backend": name}
	m.requests.DeletePartialMatch(own)
	m.duration.DeletePartialMatch(own)
	for _, v := range []*prometheus.GaugeVec{m.questions, m.up, m.lastSuccess} {
		v.DeletePartialMatch(own)
	}
	m.partial.DeletePartialMatch(own)
	m.infos.DeletePartialMatch(own)
}

// asked counts a request that ended; nobody is to blame for one that was given up.
func (m *Metrics) asked(name string, f *fault, took time.Duration) {
	o := succeeded
	if f != nil {
		o = f.outcome
	}
	if o == cancelled {
		return
	}
	m.requests.WithLabelValues(name, string(o)).Inc()
	m.duration.WithLabelValues(name).Observe(took.Seconds())
}

func (m *Metrics) health(name string, up bool, now time.Time) {
	if !up {
		m.up.WithLabelValues(name).Set(0)
		return
	}
	m.up.WithLabelValues(name).Set(1)
	m.lastSuccess.WithLabelValues(name).Set(float64(now.UnixMilli()) / 1000)
}
