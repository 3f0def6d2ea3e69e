// Batches that are larger than a response of the usual client may be. They are read one at a time, and their records counted before they are
// decoded. A topic has such batches if its max.message.bytes is above the default.

package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/panics"
)

const (
	// maxLargeReadBytes bounds a response with one large batch. It is above max.message.bytes of 10 MiB, and a small part of the pod's memory.
	maxLargeReadBytes = 16 << 20
	// largeReadTimeout bounds the search for large batches.
	largeReadTimeout = 10 * time.Second
)

// isBrokerResponseTooLarge reports whether an error is about a response above BrokerMaxReadBytes, which the client does not export.
func isBrokerResponseTooLarge(err error) bool {
	return strings.Contains(err.Error(), "BrokerMaxReadBytes")
}

// readLargeBatches reads the large batches that stop partitions, and continues behind them. It reports cause if it finds none.
func (s *kafkaSession) readLargeBatches(ctx context.Context, cause error) {
	// FetchMaxBytes is for the client's check of its options: it fetches nothing by itself.
	client, err := kgo.NewClient(s.withBrokerOptions(kgo.FetchMaxBytes(1), kgo.BrokerMaxReadBytes(maxLargeReadBytes))...)
	if err != nil {
		s.errors.reportPartitionError(-1, err)
		return
	}
	defer client.Close()
	r := &largeBatchReader{kafkaSession: s, own: client}
	found, err := r.readEachPartition(ctx)
	if err == nil && !found {
		err = fmt.Errorf("%w, and no batch of up to %d bytes is the reason", cause, maxLargeReadBytes)
	}
	if err != nil {
		s.errors.reportPartitionError(-1, err)
	}
}

// largeBatchReader reads single batches with a client of its own.
type largeBatchReader struct {
	*kafkaSession
	own   *kgo.Client
	topic kmsg.MetadataResponseTopic
}

// readEachPartition reads the large batch at the position of each partition that has one. It returns the first error, after
// all partitions.
func (r *largeBatchReader) readEachPartition(ctx context.Context) (found bool, err error) {
	searching, cancel := context.WithTimeout(ctx, largeReadTimeout)
	defer cancel()
	if err := r.loadKafkaPartitions(searching); err != nil {
		return false, err
	}
	var first error
	for _, p := range r.topic.Partitions {
		batch, err := r.findLargeBatch(searching, p)
		if err != nil && first == nil {
			first = fmt.Errorf("read a large batch of partition %d: %w", p.Partition, err)
		}
		if batch != nil {
			found = true
			r.handleLargeBatch(ctx, batch)
		}
	}
	return found, first
}

// loadKafkaPartitions asks the brokers for the topic's partitions.
func (r *largeBatchReader) loadKafkaPartitions(ctx context.Context) error {
	of := kmsg.NewMetadataRequestTopic()
	of.Topic = kmsg.StringPtr(r.cfg.Topic)
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = append(req.Topics, of)
	res, err := req.RequestWith(ctx, r.own)
	switch {
	case err != nil:
		return fmt.Errorf("list partitions: %w", err)
	case len(res.Topics) != 1:
		return errors.New("list partitions: the brokers do not name the topic")
	}
	r.topic = res.Topics[0]
	return kerr.ErrorForCode(r.topic.ErrorCode)
}

// largeBatch is a batch as the broker sent it.
type largeBatch struct {
	kmsg.RecordBatch
	partition int32
	from      int64                             // the offset to read from
	response  *kmsg.FetchResponseTopicPartition // with this batch alone
}

// findLargeBatch returns the batch at the partition's position if it is large, and nil if it is not: the session's client reads a smaller
// batch. It passes over batches without a record to handle, such as the marks of transactions.
func (r *largeBatchReader) findLargeBatch(ctx context.Context, p kmsg.MetadataResponseTopicPartition) (*largeBatch, error) {
	offset, known := r.next[p.Partition]
	if !known {
		var err error
		if offset, err = r.findFirstOffset(ctx, p); err != nil {
			return nil, err
		}
	}
	for {
		batch, err := r.fetchBatch(ctx, p, offset)
		if err != nil || batch == nil {
			return nil, err
		}
		if len(batch.response.RecordBatches) > maxBytes {
			return batch, nil
		}
		records, next, err := batch.decodeBatchRecords(r.cfg.Topic, r.metrics.panics)
		if err != nil || len(records) > 0 || next <= offset { // the session's client gets the same
			return nil, nil
		}
		offset = next
	}
}

// findFirstOffset returns the offset at which the session began to read a partition. It is -1 if the partition had no record since then.
func (r *largeBatchReader) findFirstOffset(ctx context.Context, p kmsg.MetadataResponseTopicPartition) (int64, error) {
	of := kmsg.NewListOffsetsRequestTopicPartition()
	of.Partition, of.Timestamp = p.Partition, r.from.UnixMilli()
	topic := kmsg.NewListOffsetsRequestTopic()
	topic.Topic, topic.Partitions = r.cfg.Topic, append(topic.Partitions, of)
	req := kmsg.NewPtrListOffsetsRequest()
	req.Topics = append(req.Topics, topic)
	res, err := r.own.Broker(int(p.Leader)).Request(ctx, req)
	if err != nil {
		return -1, err
	}
	listed, ok := res.(*kmsg.ListOffsetsResponse)
	if !ok || len(listed.Topics) != 1 || len(listed.Topics[0].Partitions) != 1 {
		return -1, errors.New("the broker does not name the partition")
	}
	found := listed.Topics[0].Partitions[0]
	return found.Offset, kerr.ErrorForCode(found.ErrorCode)
}

// fetchBatch returns the batch with the offset, and nil if there is none: a broker sends one batch, of any size, for a limit of one
// byte.
func (r *largeBatchReader) fetchBatch(ctx context.Context, p kmsg.MetadataResponseTopicPartition, offset int64) (*largeBatch, error) {
	if offset < 0 {
		return nil, nil
	}
	of := kmsg.NewFetchRequestTopicPartition()
	of.Partition, of.FetchOffset, of.PartitionMaxBytes = p.Partition, offset, 1
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic, topic.TopicID, topic.Partitions = r.cfg.Topic, r.topic.TopicID, append(topic.Partitions, of)
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.Topics = 1, append(req.Topics, topic)
	res, err := r.own.Broker(int(p.Leader)).Request(ctx, req)
	if err != nil {
		return nil, err
	}
	fetched, ok := res.(*kmsg.FetchResponse)
	if !ok || len(fetched.Topics) != 1 || len(fetched.Topics[0].Partitions) != 1 {
		return nil, errors.New("the broker does not name the partition")
	}
	response := fetched.Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(response.ErrorCode); err != nil {
		return nil, err
	}
	return newLargeBatch(&response, offset), nil
}

// newLargeBatch returns the first batch of a response; nil if there is none, or none in today's format.
func newLargeBatch(response *kmsg.FetchResponseTopicPartition, offset int64) *largeBatch {
	const magic, lengthEnd = 2, 12 // the format, and the bytes that Length does not count
	b := &largeBatch{partition: response.Partition, from: offset, response: response}
	if err := b.ReadFrom(response.RecordBatches); err != nil || b.Magic != magic {
		return nil
	}
	response.RecordBatches = response.RecordBatches[:lengthEnd+int(b.Length)]
	return b
}

// nextPartitionOffset returns the offset behind the last record.
func (b *largeBatch) nextPartitionOffset() int64 { return b.FirstOffset + int64(b.LastOffsetDelta) + 1 }

// decodeBatchRecords returns the records from the offset on, and the offset behind the batch. The error is a kgo.ErrDecompressTooLarge for a batch
// above the limits.
func (b *largeBatch) decodeBatchRecords(topic string, guard *panics.Guard) (records []*kgo.Record, next int64, err error) {
	const compression = 7
	if b.Attributes&compression == 0 {
		if count, headers := countBatchRecords(b.Records); count > maxBatchRecords || headers > maxBatchHeaders {
			next = b.nextPartitionOffset()
			return nil, next, &kgo.ErrDecompressTooLarge{Topic: topic, Partition: b.partition, Offset: b.FirstOffset, Epoch: b.PartitionLeaderEpoch, NextOffset: next}
		}
	}
	opts := kgo.ProcessFetchPartitionOpts{Topic: topic, Partition: b.partition, Offset: b.from}
	decoded, next := kgo.ProcessFetchPartition(opts, b.response, &boundedDecompressor{panics: guard}, nil)
	return decoded.Records, next, decoded.Err
}

// handleLargeBatch handles the records of a batch, or skips it if it is above the limits, and continues behind it.
func (r *largeBatchReader) handleLargeBatch(ctx context.Context, b *largeBatch) {
	records, _, err := b.decodeBatchRecords(r.cfg.Topic, r.metrics.panics)
	switch {
	case r.skipLargeBatch(ctx, err):
		return
	case err != nil:
		r.errors.reportPartitionError(b.partition, err)
		return
	}
	klog.FromContext(ctx).Info("Large batch read alone", "partition", b.partition, "offset", b.FirstOffset, "records", len(records), "bytes", len(b.response.RecordBatches))
	for _, record := range records {
		if ctx.Err() != nil {
			return
		}
		r.handleKafkaRecord(ctx, record)
	}
	r.continueKafkaPartition(b.partition, b.nextPartitionOffset(), b.PartitionLeaderEpoch)
}
