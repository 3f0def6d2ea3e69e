package kafka_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/event"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/event/kafka"
	"github.com/tachometer-metrics/tachometer/test/harness/memorygroup"
)

const (
	// otherHeap is above the heap of the scaler without a consumer.
	otherHeap = 15 << 20
	// largestBatch fills a response of the largest size that the consumer reads.
	largestBatch = 1_250_000
)

// brokersVariable makes TestLimitedConsumer the process under test.
const brokersVariable = "TACHOMETER_TEST_BROKERS"

// TestLimitedConsumer reads in a process of its own until the last event has come.
func TestLimitedConsumer(t *testing.T) {
	brokers := os.Getenv(brokersVariable)
	if brokers == "" {
		t.Skip("TestS11PlainBatchesAreBounded runs it")
	}
	other := make([]byte, otherHeap)
	for i := 0; i < len(other); i += os.Getpagesize() {
		other[i] = 1
	}
	ctx, cancel := context.WithTimeout(t.Context(), reactionTimeout)
	defer cancel()
	ends := 0
	err := kafka.New(event.KafkaConfig{Brokers: strings.Split(brokers, ","), Topic: topic, Rewind: time.Hour}, func(_ context.Context, m event.Message) error {
		if string(m.Data) == "END" {
			if ends++; ends == 3 {
				cancel()
			}
		}
		return nil
	}, kafka.Options{}).Run(ctx)
	if err != nil || ends != 3 {
		t.Errorf("%v; %d of 3 partitions read", err, ends)
	}
	t.Log(len(other), "bytes beside the consumer")
}

// TestS11PlainBatchesAreBounded: batches without compression, of the largest size that is read, do not end the scaler at its memory limit, with
// whatever they are full of. The event behind them is handled.
func TestS11PlainBatchesAreBounded(t *testing.T) {
	program := buildLimitedConsumer(t)
	for name, write := range map[string]func(produce func(*kgo.Record)){
		"empty records": func(produce func(*kgo.Record)) {
			for range 3 * largestBatch / 8 {
				produce(&kgo.Record{})
			}
		},
		"empty headers": func(produce func(*kgo.Record)) {
			for range 6 {
				produce(&kgo.Record{Headers: make([]kgo.RecordHeader, largestBatch/2-1000)})
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := cluster(t, kfake.NumBrokers(3), kfake.BrokerConfigs(map[string]string{"message.max.bytes": "10000000"}))
			client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()),
				kgo.ProducerBatchMaxBytes(largestBatch), kgo.MaxBufferedRecords(1<<20), kgo.ProducerBatchCompression(kgo.NoCompression()))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			for partition := range int32(3) {
				write(func(r *kgo.Record) {
					r.Partition = partition
					client.Produce(t.Context(), r, func(_ *kgo.Record, err error) {
						if err != nil {
							t.Error(err)
						}
					})
				})
				if err := client.ProduceSync(t.Context(), &kgo.Record{Partition: partition, Value: []byte("END")}).FirstErr(); err != nil {
					t.Fatal(err)
				}
			}
			readInMemoryGroup(t, program, c.ListenAddrs())
		})
	}
}

// TestS11LargeBatchesFitIntoMemory: batches of the largest size that is read alone do not end the scaler at its memory limit.
func TestS11LargeBatchesFitIntoMemory(t *testing.T) {
	program := buildLimitedConsumer(t)
	const size = 15 << 20
	for name, write := range map[string]func(batch func(...*kgo.Record)){
		"few large records": func(batch func(...*kgo.Record)) {
			value := noise(1 << 20)
			for range 3 {
				var records []*kgo.Record
				for range size >> 20 {
					records = append(records, &kgo.Record{Value: value})
				}
				batch(records...)
			}
		},
		"empty records": func(batch func(...*kgo.Record)) {
			records := make([]*kgo.Record, size/12)
			for i := range records {
				records[i] = &kgo.Record{}
			}
			batch(records...)
		},
		"empty headers": func(batch func(...*kgo.Record)) {
			for range 3 {
				batch(&kgo.Record{Headers: make([]kgo.RecordHeader, size/2-1000)})
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := largeCluster(t)
			batch, end := batchWriter(t, c.ListenAddrs(), kgo.NoCompression()), writer(t, c.ListenAddrs())
			for partition := range int32(3) {
				write(func(records ...*kgo.Record) { batch(partition, records...) })
				end(partition, time.Now(), "END")
			}
			readInMemoryGroup(t, program, c.ListenAddrs())
		})
	}
}

// buildLimitedConsumer builds this package's tests without the race detector, which takes many times the memory.
func buildLimitedConsumer(t *testing.T) (program string) {
	t.Helper()
	program = filepath.Join(t.TempDir(), "kafka.test")
	if out, err := exec.Command("go", "test", "-c", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	return program
}

// readInMemoryGroup runs TestLimitedConsumer of a program with the memory limit of the scaler.
func readInMemoryGroup(t *testing.T, program string, brokers []string) {
	t.Helper()
	limits, err := memorygroup.ReadLimits(t.Context(), memorygroup.ScalerManifest)
	if err != nil {
		t.Fatal(err)
	}
	command := memorygroup.Command(memoryGroup(t, limits.Memory), program, "-test.run=^TestLimitedConsumer$", "-test.v")
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), brokersVariable+"="+strings.Join(brokers, ","), "GOMEMLIMIT="+limits.GoMemory)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
}

// memoryGroup makes a memory cgroup with a limit in bytes. It skips the test where none can be made.
func memoryGroup(t *testing.T, limit int64) string {
	t.Helper()
	group := memorygroup.Make(limit)
	if group == "" {
		t.Skip("needs a memory cgroup: run it as root")
	}
	t.Cleanup(func() { _ = os.Remove(group) })
	return group
}
