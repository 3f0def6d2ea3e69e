package scrape

// This file has the self-metrics of a Manager: scrapes, pages, samples and their outcomes.

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/exposition"
)

// metrics are the self-metrics of a Manager.
type metrics struct {
	requests        map[string]prometheus.Counter // by outcome
	rejectedPages   *prometheus.CounterVec
	duration        prometheus.Histogram
	lateness        prometheus.Histogram
	pageBytes       prometheus.Histogram
	targets         prometheus.Gauge
	storedSamples   prometheus.Counter
	rejectedSamples prometheus.Counter
	staleMarkers    prometheus.Counter
	missedScrapes   prometheus.Counter
	panics          prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	samples := f.NewCounterVec(prometheus.CounterOpts{
		Name: "tachometer_scrape_samples_total",
		Help: "Samples of demanded families, by outcome in the store.",
	}, []string{"outcome"})
	requests := f.NewCounterVec(prometheus.CounterOpts{
		Name: "tachometer_scrape_requests_total",
		Help: "Finished scrapes of targets.",
	}, []string{"outcome"})
	m := &metrics{
		requests: map[string]prometheus.Counter{},
		rejectedPages: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tachometer_scrape_pages_rejected_total",
			Help: "Rejected pages, and families of accepted pages.",
		}, []string{"reason"}),
		duration: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "tachometer_scrape_duration_seconds",
			Help:    "Duration of a scrape, failed or not.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
		lateness: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "tachometer_scrape_lateness_seconds",
			Help:    "Delay of a scrape's start.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
		pageBytes: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "tachometer_scrape_page_bytes",
			Help:    "Size of accepted pages, in bytes.",
			Buckets: prometheus.ExponentialBuckets(256, 4, 9),
		}),
		targets: f.NewGauge(prometheus.GaugeOpts{
			Name: "tachometer_scrape_targets",
			Help: "Current targets.",
		}),
		storedSamples:   samples.WithLabelValues(outcomeSuccess),
		rejectedSamples: samples.WithLabelValues("rejected"),
		staleMarkers: f.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_scrape_staleness_markers_total",
			Help: "Series that ended with their target or left its page.",
		}),
		missedScrapes: f.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_scrape_missed_total",
			Help: "Scrapes skipped because the previous one still ran.",
		}),
		panics: f.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_scrape_panics_total",
			Help: "Panics in scrapes, each a bug.",
		}),
	}
	for _, o := range listScrapeOutcomes() {
		m.requests[o] = requests.WithLabelValues(o)
	}
	for _, k := range exposition.ErrorKinds() {
		m.rejectedPages.WithLabelValues(string(k))
	}
	return m
}

// observeScrape counts a finished scrape.
func (m *metrics) observeScrape(j *scrapeJob, o scrapeOutcome) {
	m.requests[o.classifyScrapeOutcome(j.opts.Timeout).outcome].Inc()
	m.duration.Observe(o.end.Sub(o.start).Seconds())
	m.lateness.Observe(o.start.Sub(j.due).Seconds())
	if o.err == nil {
		m.pageBytes.Observe(float64(o.bytes))
	}
	for _, err := range append(o.rejected, o.err) {
		var page *exposition.Error
		if errors.As(err, &page) {
			m.rejectedPages.WithLabelValues(string(page.Kind)).Inc()
		}
	}
}
