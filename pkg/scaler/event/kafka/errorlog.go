package kafka

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/twmb/franz-go/pkg/kgo"
	"k8s.io/klog/v2"
)

// metrics are the self-metrics of a Consumer.
type metrics struct {
	records, failures, losses prometheus.Counter
	lag                       prometheus.Histogram
}

func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	return &metrics{
		records: f.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_scaler_kafka_records_total",
			Help: "Records that were read from the topic of events.",
		}),
		failures: f.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_scaler_kafka_failures_total",
			Help: "Failures to connect to a broker or to read from it; they are tried again.",
		}),
		losses: f.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_scaler_kafka_losses_total",
			Help: "Times that a broker had lost records that had been read, and reading went on further back.",
		}),
		lag: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "tachometer_scaler_kafka_lag_seconds",
			Help:    "Time from a record's timestamp until it was read, also of those that are older than the start.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}),
	}
}

// errorLogInterval is the time between two lines about the same trouble.
const errorLogInterval = 30 * time.Second

// brokerErrorLog counts what goes wrong with the brokers, and says it, though not each time: the client tries all of it again.
type brokerErrorLog struct {
	ctx     context.Context // of Run, for the log: the client's hooks have none
	metrics *metrics

	mu       sync.Mutex // guards said
	loggedAt map[string]time.Time
}

var _ kgo.HookBrokerConnect = (*brokerErrorLog)(nil)

// OnBrokerConnect implements kgo.HookBrokerConnect; the error is that of the connection, of TLS or of SASL.
func (t *brokerErrorLog) OnBrokerConnect(broker kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	if err == nil || t.ctx.Err() != nil {
		return
	}
	t.metrics.failures.Inc()
	t.logThrottled("broker not reached, trying again", err, "broker", broker.Host, "port", broker.Port)
}

// reportReadError takes an error of reading a partition.
func (t *brokerErrorLog) reportReadError(partition int32, err error) {
	var loss *kgo.ErrDataLoss
	switch {
	case t.ctx.Err() != nil:
	case errors.As(err, &loss):
		t.metrics.losses.Inc()
		t.logThrottled("records lost by the broker, reading again from further back", err, "partition", partition)
	default:
		t.metrics.failures.Inc()
		t.logThrottled("events not read, trying again", err, "partition", partition)
	}
}

// reportTopicError takes the brokers' error for the topic itself.
func (t *brokerErrorLog) reportTopicError(err error) {
	t.metrics.failures.Inc()
	t.logThrottled("topic not there, waiting for it", err)
}

func (t *brokerErrorLog) logThrottled(message string, err error, keys ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := time.Now(); now.Sub(t.loggedAt[message]) >= errorLogInterval {
		t.loggedAt[message] = now
		klog.FromContext(t.ctx).Error(err, message, keys...)
	}
}
