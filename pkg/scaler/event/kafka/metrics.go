// The self-metrics of the consumer.

package kafka

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/tachometer-metrics/tachometer/pkg/panics"
)

// metrics are the self-metrics of a Consumer.
type metrics struct {
	records, failures, losses, skippedBatches prometheus.Counter
	lag                                       prometheus.Histogram
	panics                                    *panics.Guard
}

func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	return &metrics{
		records: f.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_scaler_kafka_records_total",
			Help: "Records read from the topic of events.",
		}),
		failures: f.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_scaler_kafka_failures_total",
			Help: "Failures to connect to a broker or to read from it. Each is retried.",
		}),
		losses: f.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_scaler_kafka_losses_total",
			Help: "Times that a broker lost records after they were read, and reading resumed further back.",
		}),
		skippedBatches: f.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_scaler_kafka_skipped_batches_total",
			Help: "Batches that were skipped because they cannot be decompressed, or have more than 8 MiB decompressed, 20,000 records or 200,000 headers. Each counts as one malformed event.",
		}),
		panics: panics.NewGuard("work on a record", f.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_scaler_kafka_panics_total",
			Help: "Records whose handling, and batches whose decompression panicked: each a bug in this program. The panic ends that of this one alone.",
		})),
		lag: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "tachometer_scaler_kafka_lag_seconds",
			Help:    "Time from a record's timestamp until it was read, including records older than the start.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}),
	}
}
