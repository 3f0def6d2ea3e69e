// Package kafka reads events from a Kafka topic: connections to brokers, sessions, and batches with their decompression.
//
// The consumer reads all partitions, without a consumer group: the leading scaler reads everything, and recognises events that another
// replica handled by their ids. Reading begins Rewind before the start; no offset is committed. A new partition is found within
// seconds and read from the same time on.
//
// After a loss, reading resumes as follows. If a broker lost records that were read (an unclean election, a restored disk): Rewind before
// the last record read. If records were deleted before they were read: with the first remaining record. If the topic was deleted and
// created again: with the records of the new topic.
//
// Records of a partition are handled in their order; records of several partitions, in any order. So related events (the start and the
// end of a sale) must go to the same partition: give them the same record key.
package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/retry"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/event"
)

// MessageHandler handles a record, and must not keep its data. It may block: the consumer reads no further until it returns, which bounds
// the memory. The consumer ignores its error; the handler records the outcome of the event.
type MessageHandler func(ctx context.Context, m event.Message) error

// Options are the optional settings of a Consumer.
type Options struct {
	// Registerer takes the metrics; nil: no metrics.
	Registerer prometheus.Registerer
}

// Limits of the client.
const (
	dialTimeout = 5 * time.Second
	// maxWait is how long a broker may hold a fetch without records: the other brokers wait meanwhile. With records it responds at once.
	maxWait = 100 * time.Millisecond
	// maxBytes bounds a fetch, and maxPartitionBytes a partition in it, as the broker has them: tens of the largest events.
	maxBytes, maxPartitionBytes = 1 << 20, 512 << 10
	// maxFetches bounds fetches under way or not handled yet. maxReadBytes bounds a response, which has a whole batch however large: it is above
	// the largest batch of a topic by default. A byte of records that are not compressed takes up to thirty in memory, before the client shows
	// the first record. A larger batch is read alone (largebatch.go).
	maxFetches, maxReadBytes = 1, 5 << 18
	// metadataMaxAge is the time to find a new partition or a new topic; metadataMinAge, to find a moved leader.
	metadataMaxAge, metadataMinAge = 5 * time.Second, 250 * time.Millisecond
	// minBackoff and maxBackoff bound the pause between attempts to reach a broker, which doubles.
	minBackoff, maxBackoff = 100 * time.Millisecond, 2 * time.Second
	// topicCheckInterval is the time without records after which the consumer checks that the topic exists.
	topicCheckInterval = 5 * time.Second
	// sessionPause is the time between two clients, after the topic was deleted and created again.
	sessionPause = time.Second
	// maxPollRecords bounds the records of a poll.
	maxPollRecords = 500
)

// Consumer reads a topic.
type Consumer struct {
	cfg           event.KafkaConfig
	handleMessage MessageHandler
	metrics       *metrics
}

// New returns a consumer. It opens no connection before Run.
func New(cfg event.KafkaConfig, handle MessageHandler, opts Options) *Consumer {
	return &Consumer{cfg: cfg, handleMessage: handle, metrics: newMetrics(opts.Registerer)}
}

// Validate returns an error for a configuration that the Kafka client rejects: Run would return it.
func (c *Consumer) Validate() error {
	if err := kgo.ValidateOpts(c.kafkaClientOptions(time.Now())...); err != nil {
		return fmt.Errorf("make Kafka client: %w", err)
	}
	return nil
}

// CheckTopic asks the brokers for the topic. It returns an error if none answers, or if they do not know the topic.
func (c *Consumer) CheckTopic(ctx context.Context) error {
	client, err := kgo.NewClient(c.kafkaClientOptions(time.Now())...)
	if err != nil {
		return fmt.Errorf("make Kafka client: %w", err)
	}
	defer client.Close()
	if err := client.Ping(ctx); err != nil {
		return fmt.Errorf("reach a broker: %w", err)
	}
	return c.checkTopicExists(ctx, client)
}

// Run reads until ctx ends, and then returns nil. It retries while brokers are down, reject the connection, or do not know the topic. It
// returns an error only for a configuration that the Kafka client rejects.
func (c *Consumer) Run(ctx context.Context) error {
	t := newBrokerErrorLog(ctx, c.metrics)
	if c.cfg.SASL != nil && c.cfg.TLS == nil {
		klog.FromContext(ctx).Info("Reading without TLS: the events are not hidden, and the brokers are not proven", "mechanism", c.cfg.SASL.Mechanism)
	}
	klog.FromContext(ctx).Info("Reading events", "topic", c.cfg.Topic, "brokers", c.cfg.Brokers, "rewind", c.cfg.Rewind)
	for last := time.Now(); ; {
		unzip := &boundedDecompressor{panics: c.metrics.panics}
		from := last.Add(-c.cfg.Rewind)
		client, err := kgo.NewClient(append(c.kafkaClientOptions(from), kgo.WithHooks(t), kgo.WithDecompressor(unzip))...)
		if err != nil {
			return fmt.Errorf("make Kafka client: %w", err)
		}
		s := &kafkaSession{Consumer: c, client: client, unzip: unzip, errors: t, from: from, last: last, next: map[int32]int64{}}
		s.consumeKafkaRecords(ctx)
		last = s.last
		client.Close()
		if !retry.Sleep(ctx, sessionPause) {
			return nil
		}
	}
}

// kafkaSession reads with a client. It ends when the topic is replaced: a client does not recover from that.
type kafkaSession struct {
	*Consumer
	client *kgo.Client
	unzip  *boundedDecompressor
	errors *brokerErrorLog
	from   time.Time       // the client reads records from this time on
	last   time.Time       // of the last read, or as it was before the session
	next   map[int32]int64 // the offset behind the last handled record, by partition
}

// consumeKafkaRecords reads until ctx ends, or until the topic was replaced.
func (s *kafkaSession) consumeKafkaRecords(ctx context.Context) {
	for ctx.Err() == nil {
		polled := s.pollKafkaRecords(ctx, s.client, s.errors)
		topicReplaced := false
		var tooLarge error
		polled.EachError(func(_ string, partition int32, err error) {
			switch {
			case errors.Is(err, errBufferFull), s.skipLargeBatch(ctx, err):
			case isBrokerResponseTooLarge(err):
				tooLarge = err
			default:
				s.errors.reportPartitionError(partition, err)
				topicReplaced = topicReplaced || errors.Is(err, kerr.UnknownTopicID)
			}
		})
		for records := polled.RecordIter(); !records.Done() && ctx.Err() == nil; {
			s.handleKafkaRecord(ctx, records.Next())
		}
		if s.client.BufferedFetchRecords() == 0 {
			s.unzip.forgetHandledRecords()
		}
		if tooLarge != nil {
			s.readLargeBatches(ctx, tooLarge)
		}
		if topicReplaced {
			klog.FromContext(ctx).Info("Topic was deleted and made anew, reading the new one", "topic", s.cfg.Topic, "from", s.last.Add(-s.cfg.Rewind))
			return
		}
	}
}

func (s *kafkaSession) handleKafkaRecord(ctx context.Context, r *kgo.Record) {
	s.last = time.Now()
	s.metrics.records.Inc()
	s.metrics.lag.Observe(s.last.Sub(r.Timestamp).Seconds())
	s.next[r.Partition] = r.Offset + 1
	_ = s.handleMessageSafely(ctx, r) // the handler records the outcome of the event
}

// handleMessageSafely handles a record. A panic ends this record alone: it would come again after each restart.
func (s *kafkaSession) handleMessageSafely(ctx context.Context, r *kgo.Record) (err error) {
	defer s.metrics.panics.Catch(ctx, &err, func() []any { return []any{"partition", r.Partition, "offset", r.Offset} })
	return s.handleMessage(ctx, newKafkaMessage(r))
}

// skipLargeBatch continues behind a batch above the limits of a batch, or one that cannot be decompressed. Without it, the client stops reading the partition for good. The
// batch counts as a malformed event: the handler gets a message above the size limit. The result is false for any other error.
func (s *kafkaSession) skipLargeBatch(ctx context.Context, err error) bool {
	var large *kgo.ErrDecompressTooLarge
	if !errors.As(err, &large) {
		return false
	}
	s.continueKafkaPartition(large.Partition, large.NextOffset, large.Epoch)
	s.metrics.skippedBatches.Inc()
	klog.FromContext(ctx).Error(nil, "Batch skipped, because it is above a limit or cannot be decompressed; find its producer", "partition", large.Partition, "offset", large.Offset,
		"records", large.NextOffset-large.Offset, "limitBytes", maxBatchBytes, "limitRecords", maxBatchRecords, "limitHeaders", maxBatchHeaders)
	_ = s.handleMessage(ctx, newOversizedMessage())
	return true
}

// continueKafkaPartition makes the client read a partition from an offset on. It drops the records that the client has read of it before.
func (s *kafkaSession) continueKafkaPartition(partition int32, next int64, epoch int32) {
	s.next[partition] = next
	s.client.SetOffsets(map[string]map[int32]kgo.EpochOffset{s.cfg.Topic: {partition: {Epoch: epoch, Offset: next}}})
}

// newOversizedMessage returns a message above the limit of an event, which the handler counts as malformed.
func newOversizedMessage() event.Message {
	return event.Message{Source: event.SourceKafka, Data: make([]byte, event.MaxBytes+1)}
}

// isOversizedRecord reports whether the key and the headers of a record are above the limit of an event.
func isOversizedRecord(r *kgo.Record) bool {
	size := len(r.Key) + len(r.Headers)*headerBytes
	for _, h := range r.Headers {
		size += len(h.Key) + len(h.Value)
	}
	return size > event.MaxBytes
}

// newKafkaMessage returns a record as a message. Its position has the timestamp, because a topic that is created again has its offsets again.
func newKafkaMessage(r *kgo.Record) event.Message {
	if isOversizedRecord(r) {
		return newOversizedMessage()
	}
	m := event.Message{
		Source: event.SourceKafka, Data: r.Value, Key: string(r.Key), Time: r.Timestamp,
		Position: fmt.Sprintf("%s/%d/%d@%d", r.Topic, r.Partition, r.Offset, r.Timestamp.UnixMilli()),
	}
	if len(r.Headers) > 0 {
		m.Headers = make(map[string]string, len(r.Headers))
	}
	for _, h := range r.Headers {
		m.Headers[strings.ToLower(h.Key)] = string(h.Value)
	}
	return m
}

// pollKafkaRecords waits for records or errors. In between it checks every topicCheckInterval that the topic exists, because the client waits
// silently for a missing topic.
func (c *Consumer) pollKafkaRecords(ctx context.Context, client *kgo.Client, t *brokerErrorLog) kgo.Fetches {
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

// checkTopicExists returns the brokers' error about the topic, and nil if no broker responds: OnBrokerConnect reports that.
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

// kafkaClientOptions returns the options of a client that reads records from the time from on.
func (c *Consumer) kafkaClientOptions(from time.Time) []kgo.Opt {
	return c.withBrokerOptions(
		kgo.ConsumeTopics(c.cfg.Topic),
		kgo.ConsumeStartOffset(kgo.NewOffset().AfterMilli(from.UnixMilli())),
		kgo.ConsumeResetOffset(kgo.RewindOffset(c.cfg.Rewind)),
		kgo.FetchMinBytes(1), kgo.FetchMaxWait(maxWait), kgo.FetchMaxBytes(maxBytes), kgo.FetchMaxPartitionBytes(maxPartitionBytes),
		kgo.MaxConcurrentFetches(maxFetches), kgo.BrokerMaxReadBytes(maxReadBytes),
	)
}

// withBrokerOptions adds the options of each client.
func (c *Consumer) withBrokerOptions(opts ...kgo.Opt) []kgo.Opt {
	opts = append(opts,
		kgo.ClientID("tachometer-scaler"), kgo.DisableClientMetrics(),
		kgo.SeedBrokers(c.cfg.Brokers...),
		kgo.MetadataMaxAge(metadataMaxAge), kgo.MetadataMinAge(metadataMinAge),
		kgo.RetryBackoffFn(brokerBackoff),
		kgo.Dialer(c.dialBroker),
	)
	if c.cfg.SASL != nil {
		opts = append(opts, kgo.SASL(newSASLMechanism(c.cfg.SASL)))
	}
	return opts
}

// brokerBackoff returns the pause after failures, counted by the client from 0.
func brokerBackoff(failures int) time.Duration {
	return retry.Backoff{First: minBackoff, Max: maxBackoff}.Delay(failures + 1)
}
