// Package kafka reads events from a topic.
//
// All partitions are read, without a consumer group: the scaler that leads reads everything, and what another one read is
// known by the ids of events. Reading begins Rewind before the start; nothing is committed. A partition that is added later is
// found within seconds and read from the same time on. Where a broker lost records that were read already (an unclean
// election, a restored disk), reading goes on Rewind before the last record read; where records were deleted before they
// were read, with the first that is left; where the topic was deleted and made anew, with what the new one has.
//
// Records of one partition are handled in their order; of several partitions, in any. Events that belong together (the start and
// the end of one sale) therefore go to one partition: give them the same record key.
package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/event"
)

// RecordHandler takes the value of a record, which it must not keep. It may wait, and nothing more is read until it returns: that
// bounds what is in memory. Its error ends the consumer where it is ctx's, and is otherwise the event's own affair.
type RecordHandler func(ctx context.Context, value []byte) error

// Options are what a Consumer does without.
type Options struct {
	// Registerer takes the metrics; nil: none.
	Registerer prometheus.Registerer
	// ClientOptions goes to the client last, for tests.
	ClientOptions []kgo.Opt
}

// The limits of the client.
const (
	dialTimeout = 5 * time.Second
	// maxWait is how long a broker holds a request that it has no records for. One that has some answers at once.
	maxWait = 500 * time.Millisecond
	// maxBytes of one answer, maxPartitionBytes of one partition in it: hundreds of the largest events.
	maxBytes, maxPartitionBytes = 8 << 20, 1 << 20
	// maxFetches at the same time, each of up to maxBytes; readBytes is more than a sane broker answers with.
	maxFetches, maxReadBytes = 2, 16 << 20
	// metadataMaxAge is how soon a new partition, or the topic itself, is found; metadataMin, after a leader moved.
	metadataMaxAge, metadataMinAge = 5 * time.Second, 250 * time.Millisecond
	// minBackoff doubles up to maxPause between attempts to reach a broker.
	minBackoff, maxBackoff = 100 * time.Millisecond, 2 * time.Second
	// topicCheckInterval is how long nothing comes until it is looked whether there is such a topic.
	topicCheckInterval = 5 * time.Second
	// sessionPause is the time between two clients, where the topic was deleted and made anew.
	sessionPause = time.Second
	// maxPollRecords records are handled before the next are asked for.
	maxPollRecords = 500
)

// Consumer reads one topic.
type Consumer struct {
	cfg          event.KafkaConfig
	handleRecord RecordHandler
	opts         Options
	metrics      *metrics
}

// New returns a consumer. It connects to nothing before Run.
func New(cfg event.KafkaConfig, handle RecordHandler, opts Options) *Consumer {
	return &Consumer{cfg: cfg, handleRecord: handle, opts: opts, metrics: newMetrics(opts.Registerer)}
}

// Run reads until ctx ends, and returns nil then. Brokers that are away, refuse, or do not know the topic are asked again and
// again; an error is for a configuration that no client can be made of.
func (c *Consumer) Run(ctx context.Context) error {
	t := &brokerErrorLog{ctx: ctx, metrics: c.metrics, loggedAt: map[string]time.Time{}}
	klog.FromContext(ctx).Info("reading events", "topic", c.cfg.Topic, "brokers", c.cfg.Brokers, "rewind", c.cfg.Rewind)
	for last := time.Now(); ; {
		client, err := kgo.NewClient(append(c.clientOptions(last.Add(-c.cfg.Rewind)), kgo.WithHooks(t))...)
		if err != nil {
			return fmt.Errorf("make Kafka client: %w", err)
		}
		last = c.runSession(ctx, client, t, last)
		client.Close()
		if !waitBetweenSessions(ctx, sessionPause) {
			return nil
		}
	}
}

// runSession reads until ctx ends or the topic is another than it was, which a client does not get over. It returns when
// records were read last, or last.
func (c *Consumer) runSession(ctx context.Context, client *kgo.Client, t *brokerErrorLog, last time.Time) time.Time {
	for ctx.Err() == nil {
		polled := c.pollRecords(ctx, client, t)
		another := false
		polled.EachError(func(_ string, partition int32, err error) {
			t.reportReadError(partition, err)
			another = another || errors.Is(err, kerr.UnknownTopicID)
		})
		now := time.Now()
		for records := polled.RecordIter(); !records.Done() && ctx.Err() == nil; {
			r := records.Next()
			last = now
			c.metrics.records.Inc()
			c.metrics.lag.Observe(now.Sub(r.Timestamp).Seconds())
			_ = c.handleRecord(ctx, r.Value) // what became of the event is noted by who handles it
		}
		if another {
			break
		}
	}
	return last
}

// pollRecords waits for records or errors. While there are none it looks now and then whether there is such a topic: the client
// waits for it without a word.
func (c *Consumer) pollRecords(ctx context.Context, client *kgo.Client, t *brokerErrorLog) kgo.Fetches {
	for {
		waiting, cancel := context.WithTimeout(ctx, topicCheckInterval)
		polled := client.PollRecords(waiting, maxPollRecords)
		cancel()
		if ctx.Err() != nil || polled.NumRecords() > 0 || !errors.Is(polled.Err0(), context.DeadlineExceeded) {
			return polled
		}
		if err := c.checkTopicExists(ctx, client); err != nil {
			t.reportTopicError(err)
		}
	}
}

// checkTopicExists is the error that brokers have for the topic. That they do not answer is known elsewhere.
func (c *Consumer) checkTopicExists(ctx context.Context, client *kgo.Client) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	of := kmsg.NewMetadataRequestTopic()
	of.Topic = kmsg.StringPtr(c.cfg.Topic)
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = append(req.Topics, of)
	res, err := req.RequestWith(ctx, client)
	if err != nil || len(res.Topics) != 1 {
		return nil
	}
	return kerr.ErrorForCode(res.Topics[0].ErrorCode)
}

func waitBetweenSessions(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// clientOptions are those of the client.
func (c *Consumer) clientOptions(from time.Time) []kgo.Opt {
	opts := []kgo.Opt{
		kgo.ClientID("tachometer-scaler"), kgo.DisableClientMetrics(),
		kgo.SeedBrokers(c.cfg.Brokers...),
		kgo.ConsumeTopics(c.cfg.Topic),
		kgo.ConsumeStartOffset(kgo.NewOffset().AfterMilli(from.UnixMilli())),
		kgo.ConsumeResetOffset(kgo.RewindOffset(c.cfg.Rewind)),
		kgo.FetchMinBytes(1), kgo.FetchMaxWait(maxWait), kgo.FetchMaxBytes(maxBytes), kgo.FetchMaxPartitionBytes(maxPartitionBytes),
		kgo.MaxConcurrentFetches(maxFetches), kgo.BrokerMaxReadBytes(maxReadBytes),
		kgo.MetadataMaxAge(metadataMaxAge), kgo.MetadataMinAge(metadataMinAge),
		kgo.RetryBackoffFn(brokerBackoff),
		kgo.Dialer(c.dialBroker),
	}
	if c.cfg.SASL != nil {
		opts = append(opts, kgo.SASL(newSASLMechanism(c.cfg.SASL)))
	}
	return append(opts, c.opts.ClientOptions...)
}

func brokerBackoff(failures int) time.Duration {
	return min(minBackoff<<min(failures, 10), maxBackoff)
}
