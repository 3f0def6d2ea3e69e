package kafka

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/retry"
)

// errorLogInterval is the time between two lines with the same message.
const errorLogInterval = 30 * time.Second

// brokerErrorLog counts all errors of the brokers, and logs some of them. The client retries each.
type brokerErrorLog struct {
	ctx      context.Context // of Run, for the log: the client's hooks have no context
	metrics  *metrics
	throttle retry.Throttle // by message
}

var _ kgo.HookBrokerConnect = (*brokerErrorLog)(nil)

func newBrokerErrorLog(ctx context.Context, m *metrics) *brokerErrorLog {
	return &brokerErrorLog{ctx: ctx, metrics: m, throttle: retry.Throttle{Interval: errorLogInterval}}
}

// OnBrokerConnect implements kgo.HookBrokerConnect. The error comes from the connection, from TLS or from SASL.
func (t *brokerErrorLog) OnBrokerConnect(broker kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	if err == nil || t.ctx.Err() != nil {
		return
	}
	t.metrics.failures.Inc()
	t.logThrottled("Broker not reached, retrying", err, "broker", broker.Host, "port", broker.Port)
}

// reportReadError counts and logs an error of reading a partition.
func (t *brokerErrorLog) reportReadError(partition int32, err error) {
	var loss *kgo.ErrDataLoss
	switch {
	case t.ctx.Err() != nil:
	case errors.As(err, &loss):
		t.metrics.losses.Inc()
		t.logThrottled("Records lost by the broker, reading again from further back", err, "partition", partition)
	default:
		t.metrics.failures.Inc()
		t.logThrottled("Events not read, retrying", err, "partition", partition)
	}
}

// reportTopicError counts and logs the brokers' error about the topic itself.
func (t *brokerErrorLog) reportTopicError(err error) {
	t.metrics.failures.Inc()
	t.logThrottled("Topic not found, waiting for it", err)
}

func (t *brokerErrorLog) logThrottled(message string, err error, keys ...any) {
	if t.throttle.Allow(message, time.Now()) {
		klog.FromContext(t.ctx).Error(err, message, keys...)
	}
}
