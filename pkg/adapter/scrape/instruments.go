package scrape

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/exposition"
)

// instruments are the self-metrics of a Manager.
type instruments struct {
	requests map[string]prometheus.Counter // by outcome
	pages    *prometheus.CounterVec
	duration prometheus.Histogram
	lateness prometheus.Histogram
	bytes    prometheus.Histogram
	targets  prometheus.Gauge
	stored   prometheus.Counter
	refused  prometheus.Counter
	markers  prometheus.Counter
	missed   prometheus.Counter
}

func newInstruments(r prometheus.Registerer) *instruments {
	f := promauto.With(r)
	samples := f.NewCounterVec(prometheus.CounterOpts{
		Name: "tachometer_scrape_samples_total",
		Help: "Samples of demanded families that were read from targets, by whether the store took them.",
	}, []string{"outcome"})
	requests := f.NewCounterVec(prometheus.CounterOpts{
		Name: "tachometer_scrape_requests_total",
		Help: "Scrapes of targets that ended, by outcome.",
	}, []string{"outcome"})
	i := &instruments{
		requests: map[string]prometheus.Counter{},
		pages: f.NewCounterVec(prometheus.CounterOpts{
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
		bytes: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "tachometer_scrape_page_bytes",
			Help:    "Bytes read of the pages that were accepted.",
			Buckets: prometheus.ExponentialBuckets(256, 4, 9),
		}),
		targets: f.NewGauge(prometheus.GaugeOpts{
			Name: "tachometer_scrape_targets",
			Help: "Targets that are scraped.",
		}),
		stored:  samples.WithLabelValues("stored"),
		refused: samples.WithLabelValues("refused"),
		markers: f.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_scrape_staleness_markers_total",
			Help: "Series that ended because their target or the page had them no longer.",
		}),
		missed: f.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_scrape_missed_total",
			Help: "Scrapes that were left out because the one before had not ended when they were due.",
		}),
	}
	for _, o := range outcomes() {
		i.requests[o] = requests.WithLabelValues(o)
	}
	for _, k := range exposition.Kinds() {
		i.pages.WithLabelValues(string(k))
	}
	return i
}

// observe counts a scrape that ended.
func (i *instruments) observe(j *job, o outcome) {
	i.requests[o.cause(j.opts.Timeout).outcome].Inc()
	i.duration.Observe(o.end.Sub(o.start).Seconds())
	i.lateness.Observe(o.start.Sub(j.due).Seconds())
	if o.err == nil {
		i.bytes.Observe(float64(o.bytes))
		return
	}
	var page *exposition.Error
	if errors.As(o.err, &page) {
		i.pages.WithLabelValues(string(page.Kind)).Inc()
	}
}
