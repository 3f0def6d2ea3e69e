package kafka_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/event"
)

// batchWriter appends records as one batch, however large.
func batchWriter(t *testing.T, addrs []string, codec kgo.CompressionCodec) func(partition int32, records ...*kgo.Record) {
	t.Helper()
	client, err := kgo.NewClient(
		kgo.SeedBrokers(addrs...), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ManualFlushing(),
		kgo.MaxBufferedRecords(1<<22), kgo.ProducerBatchMaxBytes(64<<20), kgo.BrokerMaxWriteBytes(100<<20), kgo.ProducerBatchCompression(codec),
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return func(partition int32, records ...*kgo.Record) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), reactionTimeout)
		defer cancel()
		for _, r := range records {
			r.Partition = partition
			client.Produce(ctx, r, func(_ *kgo.Record, err error) {
				if err != nil {
					t.Error(err)
				}
			})
		}
		if err := client.Flush(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// largeCluster starts brokers that take batches of any size.
func largeCluster(t *testing.T) *kfake.Cluster {
	t.Helper()
	return cluster(t, kfake.BrokerConfigs(map[string]string{"message.max.bytes": "100000000"}))
}

// noise returns a value that does not become smaller.
func noise(size int) []byte {
	value := make([]byte, size)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range value {
		value[i] = byte(random.Uint32())
	}
	return value
}

// TestLargeBatchIsReadAlone: batches above the size of a usual response are read, whatever their codec, wherever they are, each record once and in
// its order. Other partitions go on.
func TestLargeBatchIsReadAlone(t *testing.T) {
	t.Parallel()
	for name, codec := range map[string]kgo.CompressionCodec{"plain": kgo.NoCompression(), "zstd": kgo.ZstdCompression(), "snappy": kgo.SnappyCompression()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := largeCluster(t)
			write, batch := writer(t, c.ListenAddrs()), batchWriter(t, c.ListenAddrs(), codec)
			value := noise(30_000)
			large := func(name string) (records []*kgo.Record) {
				for i := range 100 {
					records = append(records, &kgo.Record{Value: value, Key: fmt.Append(nil, name, i)})
				}
				return records
			}
			batch(0, large("first")...)
			batch(0, large("second")...)
			write(0, time.Now(), "last of 0")
			write(1, time.Now(), "before")
			batch(1, large("third")...)
			write(1, time.Now(), "last of 1")
			write(2, time.Now(), "last of 2")

			messages := handle(t, event.KafkaConfig{Brokers: c.ListenAddrs()}, nil, nil)
			got := map[string][]string{}
			for range 300 + 4 {
				m := next(t, messages)
				text := m.Key
				if len(m.Data) < 100 {
					text = string(m.Data)
				}
				got[m.Position[:len(topic)+2]] = append(got[m.Position[:len(topic)+2]], text)
			}
			var want [3][]string
			for i := range 100 {
				want[0] = append(want[0], fmt.Sprint("first", i))
			}
			for i := range 100 {
				want[0] = append(want[0], fmt.Sprint("second", i))
			}
			want[0], want[1] = append(want[0], "last of 0"), append(want[1], "before")
			for i := range 100 {
				want[1] = append(want[1], fmt.Sprint("third", i))
			}
			want[1], want[2] = append(want[1], "last of 1"), append(want[2], "last of 2")
			for partition := range want {
				if records := got[fmt.Sprintf("%s/%d", topic, partition)]; !slices.Equal(records, want[partition]) {
					t.Errorf("partition %d: %d records, %q; want %d", partition, len(records), records, len(want[partition]))
				}
			}
		})
	}
}

// TestS11LargeBatchesAreBounded: a large batch of too many records or headers is skipped and counted, and the event behind it is read. One that is
// larger than all memory stops its partition, and no other.
func TestS11LargeBatchesAreBounded(t *testing.T) {
	t.Parallel()
	c := largeCluster(t)
	write, batch := writer(t, c.ListenAddrs()), batchWriter(t, c.ListenAddrs(), kgo.NoCompression())
	records := make([]*kgo.Record, 300_000)
	for i := range records {
		records[i] = &kgo.Record{}
	}
	batch(0, records...)
	batch(0, &kgo.Record{Headers: make([]kgo.RecordHeader, 1_000_000)})
	write(0, time.Now(), "END")
	batch(1, &kgo.Record{Value: noise(20 << 20)})
	write(1, time.Now(), "NEVER")
	write(2, time.Now(), "START")

	reg := prometheus.NewRegistry()
	messages := handle(t, event.KafkaConfig{Brokers: c.ListenAddrs()}, nil, reg)
	oversized, seen := 0, map[string]bool{}
	for !seen["END"] || !seen["START"] {
		m := next(t, messages)
		if len(m.Data) > event.MaxBytes {
			oversized++
		}
		seen[string(m.Data[:min(len(m.Data), 9)])] = true
	}
	if oversized != 2 || seen["NEVER"] {
		t.Errorf("%d oversized messages; want 2 for the skipped batches", oversized)
	}
	until(t, "the batch larger than all memory is a failure", func() bool { return counter(t, reg, "tachometer_scaler_kafka_failures_total") > 0 })
	if got := counter(t, reg, "tachometer_scaler_kafka_skipped_batches_total"); got != 2 {
		t.Errorf("%v batches are counted as skipped; want 2", got)
	}
}

// counter returns the value of a metric without labels.
func counter(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}
