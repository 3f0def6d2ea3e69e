package scrape

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
}

func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	samples := f.NewCounterVec(prometheus.CounterOpts{
		Name: "tachometer_scrape_samples_total",
		Help: "Samples of demanded families that were read from targets, by whether the store took them.",
	}, []string{"outcome"})
	requests := f.NewCounterVec(prometheus.CounterOpts{
		Name: "tachometer_scrape_requests_total",
		Help: "Scrapes of targets that ended, by outcome.",
	}, []string{"outcome"})
	i := &metrics{
		requests: map[string]prometheus.Counter{},
		rejectedPages: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tachometer_scrape_pages_refused_total",
			Help: "Pages of targets that were refused as a whole, by reason.",
		}, []string{"reason"}),
		duration: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "tachometer_scrape_duration_seconds",
			Help:    "Time from the start of a scrape until its samples were stored, or it failed.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
		lateness: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "tachometer_scrape_lateness_seconds",
			Help:    "Time from when a scrape was due until it started.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
		pageBytes: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "tachometer_scrape_page_bytes",
			Help:    "Bytes read of the pages that were accepted.",
			Buckets: prometheus.ExponentialBuckets(256, 4, 9),
		}),
		targets: f.NewGauge(prometheus.GaugeOpts{
			Name: "tachometer_scrape_targets",
			Help: "Targets that are scraped.",
		}),
		storedSamples:   samples.WithLabelValues("stored"),
		rejectedSamples: samples.WithLabelValues("refused"),
		staleMarkers: f.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_scrape_staleness_markers_total",
			Help: "Series that ended because their target or the page had them no longer.",
		}),
		missedScrapes: f.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_scrape_missed_total",
			Help: "Scrapes that were left out because the one before had not ended when they were due.",
		}),
	}
	for _, o := range outcomeLabels() {
		i.requests[o] = requests.WithLabelValues(o)
	}
	for _, k := range exposition.ErrorKinds() {
		i.rejectedPages.WithLabelValues(string(k))
	}
	return i
}

// observeScrape counts a scrape that ended.
func (i *metrics) observeScrape(j *scrapeJob, o scrapeOutcome) {
	i.requests[o.classifyOutcome(j.opts.Timeout).outcome].Inc()
	i.duration.Observe(o.end.Sub(o.start).Seconds())
	i.lateness.Observe(o.start.Sub(j.due).Seconds())
	if o.err == nil {
		i.pageBytes.Observe(float64(o.bytes))
		return
	}
	var page *exposition.Error
	if errors.As(o.err, &page) {
		i.rejectedPages.WithLabelValues(string(page.Kind)).Inc()
	}
}
