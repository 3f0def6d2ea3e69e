// Errors of the brokers: counted, and some of them logged.

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

// errorLogInterval is the time between two lines about the same kind of error.
const errorLogInterval = 30 * time.Second

// brokerErrorLog counts all errors of the brokers, and logs some of them. The client retries each.
type brokerErrorLog struct {
	ctx      context.Context // of Run, for the log: the client's hooks have no context
	metrics  *metrics
	throttle retry.Throttle // by kind of error
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
	if t.allowErrorKind("broker") {
		klog.FromContext(t.ctx).Error(err, "Broker not reached, retrying", "broker", broker.Host, "port", broker.Port)
	}
}

// reportPartitionError counts and logs an error of reading a partition.
func (t *brokerErrorLog) reportPartitionError(partition int32, err error) {
	var loss *kgo.ErrDataLoss
	switch {
	case t.ctx.Err() != nil:
	case errors.As(err, &loss):
		t.metrics.losses.Inc()
		if t.allowErrorKind("loss") {
			klog.FromContext(t.ctx).Error(err, "Records lost by the broker, reading again from further back", "partition", partition)
		}
	default:
		t.metrics.failures.Inc()
		if t.allowErrorKind("read") {
			klog.FromContext(t.ctx).Error(err, "Events not read, retrying", "partition", partition)
		}
	}
}

// reportTopicError counts and logs the brokers' error about the topic itself.
func (t *brokerErrorLog) reportTopicError(err error) {
	t.metrics.failures.Inc()
	if t.allowErrorKind("topic") {
		klog.FromContext(t.ctx).Error(err, "Topic not found, waiting for it")
	}
}

// allowErrorKind reports whether a line about a kind of error may be written now.
func (t *brokerErrorLog) allowErrorKind(kind string) bool {
	return t.throttle.Allow(kind, time.Now())
}
